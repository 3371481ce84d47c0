"""Attention, transformer blocks and encoders alone, as ANEForge's benchmarks state them.

B sequences, T tokens, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from published_networks.building import Build, Built

WIDTH, HEADS, INNER = 768, 12, 3072


class SelfAttention(nn.Module):
    """Self-attention with four projections; `flat` ones see the tokens of all sequences as rows."""

    def __init__(self, width: int, heads: int, *, flat: bool = False) -> None:
        super().__init__()
        self.heads, self.flat = heads, flat
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x_BTC: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, tokens, width = x_BTC.shape
        rows = x_BTC.flatten(0, 1) if self.flat else x_BTC

        def split(projected: Tensor) -> Tensor:
            return projected.view(batch, tokens, self.heads, -1).transpose(1, 2)

        queries, keys = split(self.query(rows)), split(self.key(rows))
        mixed = F.scaled_dot_product_attention(queries, keys, split(self.value(rows)), mask)
        merged = mixed.transpose(1, 2).reshape(*rows.shape[:-1], width)
        result: Tensor = self.out(merged).view(batch, tokens, width)
        return result


class TransformerBlock(nn.Module):
    """A pre-norm transformer block; `flat`: its linear layers see all tokens as rows."""

    def __init__(self, width: int, heads: int, inner: int, *, flat: bool = False) -> None:
        super().__init__()
        self.flat = flat
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, flat=flat)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x_BTC: Tensor) -> Tensor:
        x_BTC = x_BTC + self.attention(self.norm_attention(x_BTC))
        normed = self.norm_mlp(x_BTC)
        made = self.mlp(normed.flatten(0, 1)).view_as(x_BTC) if self.flat else self.mlp(normed)
        return x_BTC + made


class BareAttention(nn.Module):
    """Scaled dot-product attention of given queries, keys and values."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value)


def attention_block(batch: int, tokens: int) -> Build:
    """A self-attention block of BERT's width."""

    def build() -> Built:
        return SelfAttention(WIDTH, HEADS), (torch.empty(batch, tokens, WIDTH),)

    return build


def transformer_block(batch: int, tokens: int, *, flat: bool = False) -> Build:
    """A transformer block of BERT's width."""

    def build() -> Built:
        block = TransformerBlock(WIDTH, HEADS, INNER, flat=flat)
        return block, (torch.empty(batch, tokens, WIDTH),)

    return build


def bare_attention(heads: int, tokens: int, width: int) -> Build:
    """Attention alone, of `heads` heads of `width` channels."""

    def build() -> Built:
        query, key, value = (torch.empty(1, heads, tokens, width) for _ in range(3))
        return BareAttention(), (query, key, value)

    return build


BLOCKS: dict[str, Build] = {
    "Attention block, 197 tokens": attention_block(1, 197),
    **{f"Attention block, {n} x 128 tokens": attention_block(n, 128) for n in (1, 4, 16)},
    **{f"Transformer block, {n} x 128 tokens": transformer_block(n, 128) for n in (1, 4, 16)},
    **{
        f"Transformer block in rows, {n} x 128 tokens": transformer_block(n, 128, flat=True)
        for n in (1, 8, 16, 32)
    },
    **{
        f"Bare attention, {heads} heads, {tokens} tokens, width {width}": bare_attention(
            heads, tokens, width
        )
        for heads, tokens, width in ((4, 32, 64), (8, 64, 64), (8, 128, 64), (16, 128, 128))
    },
}
