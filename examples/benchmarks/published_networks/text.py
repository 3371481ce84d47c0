"""Networks of text: the encoders of MobileCLIP and UForm, and GPT-2 with its cache.

B sequences, T tokens, C channels, S keys.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from published_networks.blocks import SelfAttention
from published_networks.building import Build, Built

GPT2_KEYS = 512  # the context that more-ane-transformers converts for


class TextLayer(nn.Module):
    """A pre-norm transformer layer of MobileCLIP's text encoder."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x_BTC: Tensor) -> Tensor:
        batch, tokens, width = x_BTC.shape
        qkv = self.qkv(self.norm_attention(x_BTC)).view(batch, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        x_BTC = x_BTC + self.out(mixed.reshape(batch, tokens, width))
        return x_BTC + self.mlp(self.norm_mlp(x_BTC))


class RepMixerLayer(nn.Module):
    """The convolutional layer of MobileCLIP-S0's text encoder, its branches merged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mixer = nn.Conv2d(width, width, (1, 11), padding=(0, 5), groups=width)
        self.conv = nn.Conv2d(width, width, (1, 11), padding=(0, 5), groups=width)
        self.mlp = nn.Sequential(
            nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1)
        )
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x_BTC: Tensor) -> Tensor:
        x_BC1T = self.mixer(x_BTC.permute(0, 2, 1).unsqueeze(2))
        x_BC1T = x_BC1T + self.scale * self.mlp(self.conv(x_BC1T))
        return x_BC1T.squeeze(2).permute(0, 2, 1)


class TextEncoder(nn.Module):
    """MobileCLIP's text encoder (ml-mobileclip, mobileclip/configs): 77 tokens, width 512."""

    def __init__(self, layers: int, *, mixers: bool = False, width: int = 512) -> None:
        super().__init__()
        self.embedding = nn.Embedding(49408, width)
        self.position = nn.Parameter(torch.empty(1, 77, width))
        transformer: list[nn.Module] = [TextLayer(width, 8) for _ in range(layers)]
        ends = [RepMixerLayer(width), RepMixerLayer(width)] if mixers else []
        self.layers = nn.Sequential(*ends[:1], *transformer, *ends[1:])
        self.norm, self.projection = nn.LayerNorm(width), nn.Linear(width, 512, bias=False)

    def forward(self, token_BT: Tensor) -> Tensor:
        x_BTC = self.layers(self.embedding(token_BT) + self.position)
        result: Tensor = self.projection(self.norm(x_BTC)[:, -1])
        return result


def mobileclip_text(layers: int, *, mixers: bool = False) -> Build:
    """A text encoder of MobileCLIP."""

    def build() -> Built:
        return TextEncoder(layers, mixers=mixers), (torch.zeros(1, 77, dtype=torch.int64),)

    return build


class BertLayer(nn.Module):
    """A post-norm transformer layer, as BERT's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x_BTC: Tensor, mask: Tensor) -> Tensor:
        x_BTC = self.norm_attention(x_BTC + self.attention(x_BTC, mask))
        result: Tensor = self.norm_mlp(x_BTC + self.mlp(x_BTC))
        return result


class UFormText(nn.Module):
    """UForm's English text encoder: of BERT's first four layers, those without an image.

    The other two attend to an image's features and do not run for an embedding
    (uform/torch_encoders.py). With their cross-attention the text encoder has 57M weights: what
    the 79M of `small` and the 143M of `base` leave beside a ViT-S/16 and a ViT-B/16.
    """

    def __init__(
        self, layers: int = 2, width: int = 768, heads: int = 12, tokens: int = 64
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(30522, width)
        self.position = nn.Parameter(torch.empty(1, tokens, width))
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList([BertLayer(width, heads) for _ in range(layers)])
        self.projection = nn.Linear(width, 256, bias=False)

    def forward(self, token_BT: Tensor, mask_BT: Tensor) -> Tensor:
        x_BTC = self.norm(self.words(token_BT) + self.position)
        hidden = (1 - mask_BT.to(x_BTC.dtype)) * -1e4
        for layer in self.layers:
            x_BTC = layer(x_BTC, hidden[:, None, None])
        result: Tensor = self.projection(x_BTC[:, 0])
        return result


def uform_text() -> Built:
    """UForm's text encoder on 64 tokens, the most that it takes."""
    tokens = torch.zeros(1, 64, dtype=torch.int64)
    return UFormText(), (tokens, torch.ones(1, 64, dtype=torch.int64))


class Gpt2Layer(nn.Module):
    """A layer of GPT-2 that attends to cached keys and values before its own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x_BTC: Tensor, mask: Tensor, cached: Tensor) -> tuple[Tensor, Tensor]:
        batch, tokens, width = x_BTC.shape
        query, own = self.qkv(self.norm_attention(x_BTC)).split((width, 2 * width), dim=2)
        known_BSC = torch.cat((cached, own), dim=1)  # keys beside values

        def split(x: Tensor) -> Tensor:
            return x.view(batch, x.shape[1], self.heads, -1).transpose(1, 2)

        keys, values = (split(x) for x in known_BSC.chunk(2, dim=2))
        mixed = F.scaled_dot_product_attention(split(query), keys, values, mask).transpose(1, 2)
        x_BTC = x_BTC + self.out(mixed.reshape(batch, tokens, width))
        return x_BTC + self.mlp(self.norm_mlp(x_BTC)), known_BSC[:, -cached.shape[1] :]


class Gpt2(nn.Module):
    """GPT-2 as more-ane-transformers converts it: a fixed context, logits of the last token."""

    def __init__(self, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(50257, width), nn.Embedding(1024, width)
        self.layers = nn.ModuleList([Gpt2Layer(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 50257, bias=False)
        self.head.weight = self.words.weight

    def forward(
        self, token_BT: Tensor, position_T: Tensor, mask: Tensor, last: Tensor, *caches: Tensor
    ) -> tuple[Tensor, ...]:
        x_BTC = self.words(token_BT) + self.positions(position_T)
        made = []
        for layer, cached in zip(self.layers, caches, strict=True):
            x_BTC, known = layer(x_BTC, mask, cached)
            made.append(known)
        return self.head(self.norm(x_BTC.index_select(1, last))), *made


def gpt2(layers: int, width: int, heads: int, queries: int) -> Build:
    """GPT-2 on `queries` new tokens, the rest of 512 keys in its cache."""

    def build() -> Built:
        cached = GPT2_KEYS - queries
        inputs = (
            torch.zeros(1, queries, dtype=torch.int64),
            torch.zeros(queries, dtype=torch.int64),
            torch.empty(1, 1, queries, GPT2_KEYS),
            torch.zeros(1, dtype=torch.int64),
            *(torch.empty(1, cached, 2 * width) for _ in range(layers)),
        )
        return Gpt2(layers, width, heads), inputs

    return build


TEXTS: dict[str, Build] = {
    "MobileCLIP-S0:text_encoder": mobileclip_text(4, mixers=True),
    **{f"MobileCLIP-{n}:text_encoder": mobileclip_text(12) for n in ("S1", "S2", "B")},
    "UForm3-english:text_encoder": uform_text,
    **{f"GPT-2, {n} of 512 tokens": gpt2(12, 768, 12, n) for n in (256, 192, 96, 64, 32, 16)},
    "GPT-2 medium, 64 of 512 tokens": gpt2(24, 1024, 16, 64),
    **{f"GPT-2 large, {n} of 512 tokens": gpt2(36, 1280, 20, n) for n in (192, 96, 64, 32, 16)},
}
