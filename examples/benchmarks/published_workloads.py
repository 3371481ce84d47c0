"""Traces the networks whose Core ML latencies were published, into latency/devices/published.

python examples/benchmarks/published_workloads.py [--out FILE]

A development script: it needs timm, diffusers and transformers beside the toolkit (pip install
--no-deps timm diffusers transformers; then huggingface_hub, httpx2, regex, tokenizers,
importlib_metadata). Nothing is downloaded: configurations are given here, weights are on the meta
device. Each network has the form that was measured: branches merged, batch norms folded into
convolutions, float16.

Left out: DeepLabV3 (no such network in timm), FaceParsing and CenterNet (input shapes unknown),
rows on CPU or GPU (SDXL at 1024 px), video decoders (no public implementation of known size),
BERT-SQuAD and NDT1 (the row's own notes call them unfit), MobileNetV3-small (0.13 ms whatever its
weights' size: a launch takes as long, so it ran on the CPU).
"""

import argparse
import importlib.abc
import importlib.machinery
import json
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import latency
from latency import Workload
from search_spaces.files.document import write_atomically

HERE = Path(__file__).resolve().parents[2] / "latency" / "devices" / "published"
FORMAT = "temporal-nas/published-workloads"
Built = tuple[nn.Module, tuple[Tensor, ...]]


class _AnyName(type):
    """A class whose attributes are their own names: enough for a module that is only imported."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers `import torchvision...` while timm loads: no build of it goes with a CPU torch.

    timm names classes of it for data sets and checkpoints, which no network here has.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)

        def named(name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return _AnyName(name, (), {})

        module.__dict__["__getattr__"] = named
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def import_timm() -> None:
    """Import timm without torchvision; afterwards torchvision is as absent as before."""
    stand_in = _StandIn()
    sys.meta_path.insert(0, stand_in)
    try:
        import timm  # noqa: F401
    finally:
        sys.meta_path.remove(stand_in)
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


def fold_norms(module: nn.Module) -> nn.Module:
    """Batch norms become part of the convolutions before them, as Core ML's converter does."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
            kept = getattr(child, "act", None)  # timm's norms may carry their activation
            setattr(module, name, kept if kept is not None else nn.Identity())
        else:
            fold_norms(child)
    return module


def timm_network(name: str, size: int, classes: int = 1000) -> Callable[[], Built]:
    """A network of timm in its inference form, on one image of `size` pixels square."""

    def build() -> Built:
        import timm
        from timm.utils.model import reparameterize_model

        network = reparameterize_model(timm.create_model(name, num_classes=classes).eval())
        return fold_norms(network), (torch.empty(1, 3, size, size),)

    return build


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
        return self.projection(self.norm(x_BTC)[:, -1])


def text_encoder(layers: int, *, mixers: bool = False) -> Callable[[], Built]:
    def build() -> Built:
        return TextEncoder(layers, mixers=mixers), (torch.zeros(1, 77, dtype=torch.int64),)

    return build


class SdUnet(nn.Module):
    """A U-Net of diffusers that gives a tensor and takes SDXL's conditions where it has them."""

    def __init__(self, **config: object) -> None:
        super().__init__()
        from diffusers import UNet2DConditionModel

        self.unet = UNet2DConditionModel(in_channels=4, out_channels=4, **config)

    def forward(
        self, x_BCHW: Tensor, time_B: Tensor, text_BTC: Tensor, *pooled_and_sizes: Tensor
    ) -> Tensor:
        names = ("text_embeds", "time_ids")
        added = dict(zip(names, pooled_and_sizes, strict=True)) if pooled_and_sizes else None
        result: Tensor = self.unet(x_BCHW, time_B, text_BTC, None, None, None, None, added).sample
        return result


def sd21() -> Built:
    """Stable Diffusion 2.1 base (its published unet/config.json) at 512 px, with guidance."""
    unet = SdUnet(
        sample_size=64,
        cross_attention_dim=1024,
        attention_head_dim=[5, 10, 20, 20],
        use_linear_projection=True,
    )
    return unet, (torch.empty(2, 4, 64, 64), torch.empty(2), torch.empty(2, 77, 1024))


def sdxl() -> Built:
    """Stable Diffusion XL base (its published unet/config.json) at 768 px, with guidance."""
    unet = SdUnet(
        sample_size=96,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        block_out_channels=[320, 640, 1280],
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[5, 10, 20],
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    image = (torch.empty(2, 4, 96, 96), torch.empty(2), torch.empty(2, 77, 2048))
    return unet, (*image, torch.empty(2, 1280), torch.empty(2, 6))


class FirstOutput(nn.Module):
    """A network of transformers with its first output alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.network(x)[0]
        return first


def whisper_tiny() -> Built:
    """Whisper tiny's encoder on 30 seconds of sound."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=384,
        encoder_layers=4,
        encoder_attention_heads=6,
        encoder_ffn_dim=1536,
        attn_implementation="sdpa",
    )
    return FirstOutput(WhisperEncoder(config)), (torch.empty(1, 80, 3000),)


NETWORKS: dict[str, Callable[[], Built]] = {
    **{
        f"FastViT-{size.upper()}": timm_network(f"fastvit_{size}", 256)
        for size in ("t8", "t12", "s12", "sa12", "sa24", "sa36", "ma36")
    },
    **{f"MobileOne-S{n}": timm_network(f"mobileone_s{n}", 224) for n in range(5)},
    **{
        f"EfficientFormerV2-{size.upper()}": timm_network(f"efficientformerv2_{size}", 224)
        for size in ("s0", "s1", "s2", "l")
    },
    **{
        f"EfficientFormer-{size.upper()}": timm_network(f"efficientformer_{size}", 224)
        for size in ("l1", "l3", "l7")
    },
    **{
        f"RepViT-M{size}": timm_network(f"repvit_m{size.replace('.', '_')}", 224)
        for size in ("0.9", "1.0", "1.1", "1.5", "2.3")
    },
    **{
        f"SwiftFormer-{size.upper()}": timm_network(f"swiftformer_{size}", 224)
        for size in ("xs", "s", "l1", "l3")
    },
    **{
        f"MobileCLIP-S{n}:image_encoder": timm_network(f"fastvit_mci{n}", 256, 512)
        for n in range(3)
    },
    "MobileCLIP-B:image_encoder": timm_network("vit_base_mci_224", 224, 512),
    "MobileCLIP-S0:text_encoder": text_encoder(4, mixers=True),
    **{f"MobileCLIP-{n}:text_encoder": text_encoder(12) for n in ("S1", "S2", "B")},
    "MobileNetv2-1.0": timm_network("mobilenetv2_100", 224),
    "ResNet50": timm_network("resnet50", 224),
    "MobileViTv2-1.0": timm_network("mobilevitv2_100", 256),
    "efficientnet_lite0": timm_network("efficientnet_lite0", 224),
    "whisper_tiny_encoder": whisper_tiny,
    "SD 2.1-base UNet": sd21,
    "SDXL-base-ios UNet": sdxl,
}


def traced(name: str) -> Workload:
    """The workload of a published network in float16, equal operations counted once."""
    with torch.device("meta"):
        network, inputs = NETWORKS[name]()
    halved = tuple(x.half() if x.is_floating_point() else x for x in inputs)
    return latency.trace(network.half(), *halved, name=name).compact()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "workloads.json")
    path = parser.parse_args().out
    try:
        import_timm()
        import diffusers  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        sys.exit(f"published_workloads.py needs timm, diffusers and transformers: {error}")
    workloads = []
    for name in NETWORKS:
        workload = traced(name)
        workloads.append(workload)
        print(
            f"{name}: {workload.flops / 1e9:.2f} GFLOP, {workload.weight_bytes / 1e6:.1f} MB of "
            f"weights, {len(workload.operations)} operations",
            flush=True,
        )
    rows = ",\n".join(json.dumps(w.to_json(), separators=(",", ":")) for w in workloads)
    write_atomically(path, f'{{"format":"{FORMAT}","version":"1.0","workloads":[\n{rows}\n]}}\n')
    print(f"{path}: {len(workloads)} networks, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
