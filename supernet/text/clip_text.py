"""CLIP's text transformer (Radford et al. 2021, arXiv:2103.00020), as SD 1.x and 2.x use it.

Plain torch, so that it starts at once and traces; tensors have the names of transformers'
CLIPTextModel, whose outputs it gives: the last hidden states after the final layer norm.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import InputError
from search_spaces.files.document import positive
from search_spaces.files.git_lfs import refuse_pointer
from supernet import checkpoint
from supernet.backbones.diffusers_io import mapped_weights, weight_files

CONFIG, STEM = "config.json", "model"
TEXT, BOTH = "clip_text_model", "clip"  # kinds of models: the text part alone, and beside images
PREFIX = "text_model."
OLD_END = 2  # what CLIP's own files and those of OpenCLIP say, whatever it is
ACTIVATIONS = ("quick_gelu", "gelu")
LARGEST = 1 << 20  # of any size: a slip, or somebody's joke


@dataclass(frozen=True)
class ClipTextConfig:
    """Sizes of a text transformer, by default as transformers has them."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    layer_norm_eps: float = 1e-5
    hidden_act: str = "quick_gelu"
    end: int | None = None  # the number of the token that ends a text, where the file says it


class ClipText(nn.Module):
    """Ids of tokens (N, L) to states (N, L, C); a token sees those before it."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, ids_NL: Tensor) -> Tensor:
        """States after the last layer and its norm."""
        found: Tensor = self.final_layer_norm(self.encoder(self.embeddings(ids_NL)))
        return found


class _Embeddings(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, width)

    def forward(self, ids_NL: Tensor) -> Tensor:
        found: Tensor = self.token_embedding(ids_NL)
        return found + self.position_embedding.weight[: ids_NL.shape[1]]


class _Encoder(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x_NLC: Tensor) -> Tensor:
        for layer in self.layers:
            x_NLC = layer(x_NLC)
        return x_NLC


class _Layer(nn.Module):
    """Causal self-attention and a two-layer network, each after a norm and beside the identity."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        width, epsilon = config.hidden_size, config.layer_norm_eps
        self.self_attn = _Attention(width, config.num_attention_heads)
        self.layer_norm1 = nn.LayerNorm(width, epsilon)
        self.layer_norm2 = nn.LayerNorm(width, epsilon)
        self.mlp = _MLP(config)

    def forward(self, x_NLC: Tensor) -> Tensor:
        x_NLC = x_NLC + self.self_attn(self.layer_norm1(x_NLC))
        changed: Tensor = self.mlp(self.layer_norm2(x_NLC))
        return x_NLC + changed


class _MLP(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.quick = config.hidden_act == "quick_gelu"

    def forward(self, x_NLC: Tensor) -> Tensor:
        inner: Tensor = self.fc1(x_NLC)
        inner = inner * torch.sigmoid(1.702 * inner) if self.quick else F.gelu(inner)
        changed: Tensor = self.fc2(inner)
        return changed


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x_NLC: Tensor) -> Tensor:
        q, k, v = (
            project(x_NLC).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        found: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return found


def open_clip_text(folder: Path) -> ClipText:
    """The text transformer in a folder of diffusers or transformers, in float32.

    Raises:
        InputError: no CLIP text model, or weights that are missing, damaged or pickled.
    """
    config, partly = _config(folder)
    with torch.device("meta"):  # no memory, and no weights at random
        model = ClipText(config)
    weights = {
        name.removeprefix(PREFIX): _finite(name, tensor, folder)
        for name, tensor in mapped_weights(folder, STEM)
        if _is_text(name, among_others=partly)
    }
    checkpoint.check_weights(model, weights, folder)
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(requires_grad=False)


def clip_text_files(folder: Path) -> list[Path]:
    """The files that decide what the transformer computes; InputError where weights are missing."""
    _config(folder)
    return [folder / CONFIG, *(path for path, _ in weight_files(folder, STEM))]


def _is_text(name: str, *, among_others: bool) -> bool:
    """Whether a tensor is the transformer's own: neither of images, nor what follows it."""
    if name.endswith("embeddings.position_ids") or name == "text_projection.weight":
        return False
    return name.startswith(PREFIX) or not among_others


def _config(folder: Path) -> tuple[ClipTextConfig, bool]:
    """The sizes, and whether the folder's weights hold an image model, too."""
    path = folder / CONFIG
    refuse_pointer(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no text encoder ({CONFIG} is missing); give a folder of diffusers with "
            "text_encoder and tokenizer, or a CLIP text model of transformers with its tokenizer"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    kind = found.get("model_type") if isinstance(found, dict) else None
    if kind not in {TEXT, BOTH}:
        raise InputError(f"{path}: is a model of type {kind!r}; a {TEXT} is needed")
    text = found.get("text_config") if kind == BOTH else found
    if not isinstance(text, dict):
        raise InputError(f"{path}: text_config must be an object")
    return _sizes(text, path), kind == BOTH


def _sizes(text: dict[str, Any], path: Path) -> ClipTextConfig:
    usual = ClipTextConfig()
    sizes: dict[str, Any] = {}
    for name, value in vars(usual).items():
        if isinstance(value, int):
            sizes[name] = _size(text.get(name, value), f"{path}: {name}")
    sizes["layer_norm_eps"] = positive(
        text.get("layer_norm_eps", usual.layer_norm_eps), f"{path}: layer_norm_eps"
    )
    sizes["hidden_act"] = text.get("hidden_act", usual.hidden_act)
    end = text.get("eos_token_id")
    if type(end) is int and end > OLD_END and end < sizes["vocab_size"]:
        sizes["end"] = end
    if sizes["hidden_act"] not in ACTIVATIONS:
        raise InputError(f"{path}: hidden_act must be one of {', '.join(ACTIVATIONS)}")
    config = ClipTextConfig(**sizes)
    if config.hidden_size % config.num_attention_heads:
        raise InputError(
            f"{path}: hidden_size {config.hidden_size} does not divide by "
            f"{config.num_attention_heads} heads"
        )
    return config


def _size(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise InputError(f"{where}: expected a whole number from 1, found {repr(value)[:40]}")
    return value


def _finite(name: str, tensor: Tensor, folder: Path) -> Tensor:
    wide = tensor.to(torch.float32)
    if not torch.isfinite(wide).all():
        raise InputError(f"{folder}: tensor {name!r} holds NaN or infinity; take other weights")
    return wide
