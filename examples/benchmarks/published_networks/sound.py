"""Encoders of speech: Whisper's, and the conformer of Parakeet."""

import torch
from torch import nn

from published_networks.building import Build, Built, FirstOutput, fold_norms


def whisper(width: int, layers: int) -> Build:
    """An encoder of Whisper on 30 seconds of sound: 1500 tokens, heads of width 64."""

    def build() -> Built:
        from transformers import WhisperConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        config = WhisperConfig(
            d_model=width,
            encoder_layers=layers,
            encoder_attention_heads=width // 64,
            encoder_ffn_dim=4 * width,
            attn_implementation="sdpa",
        )
        return FirstOutput(WhisperEncoder(config)), (torch.empty(1, 80, 3000),)

    return build


def parakeet(frames: int) -> Build:
    """The encoder of Parakeet 0.6B (FastConformer-XL), an eighth as many tokens as frames.

    Attention is relative, as the published package has it. The sines of the positions are known
    when it is loaded.
    """

    def build() -> Built:
        from transformers import ParakeetEncoderConfig
        from transformers.models.parakeet.modeling_parakeet import ParakeetEncoder

        config = ParakeetEncoderConfig(
            num_mel_bins=128,
            attention_bias=False,
            convolution_bias=False,
            scale_input=False,
            attn_implementation="sdpa",
        )
        encoder = ParakeetEncoder(config)
        tokens = frames
        for _ in range(3):
            tokens = (tokens - 1) // 2 + 1
        encoder.encode_positions = Positions(2 * tokens - 1, config.hidden_size)
        return FirstOutput(fold_norms(encoder)), (torch.empty(1, frames, 128),)

    return build


class Positions(nn.Module):
    """Sines of relative positions, computed when a network is loaded."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.sines = nn.Buffer(torch.empty(1, positions, width))

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.sines


SOUNDS: dict[str, Build] = {
    "whisper_tiny_encoder": whisper(384, 4),
    "whisper_base_encoder": whisper(512, 6),
    "whisper_small_encoder": whisper(768, 12),
    "Parakeet-0.6B encoder, 63 tokens": parakeet(500),
    "Parakeet-0.6B encoder, 188 tokens": parakeet(1501),
}
