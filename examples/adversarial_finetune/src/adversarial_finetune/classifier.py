"""The judge of generated clips: a small video classifier, trained on the same data, then frozen.

It learns two things: what a clip shows (where labels or contexts say so), and whether its
frames were left as they are, shuffled, frozen, or each nudged to and fro; so that its features see
contents and motion alike.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversarial_finetune import checkpoint
from adversarial_finetune.data import ClipFiles
from adversarial_finetune.errors import InputError
from adversarial_finetune.learner import rate
from adversarial_finetune.stream import Stream

WIDTH, FEATURES = 16, 64
CLIPS_PER_STEP, CHANGED_PER_STEP, LEARNING_RATE = 48, 12, 4e-3
BUFFER_MB = 256.0  # of clips that are shuffled together
SHOWN_WEIGHT = 8.0  # of what is shown, beside how it is played
PLAYED = 4  # as it is, shuffled, frozen, nudged


class Classifier(nn.Module):
    """Convolutions over space, then over time; `features` are what distances are taken on."""

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        w = WIDTH
        self.layers = nn.Sequential(
            nn.Conv3d(channels, w, (1, 3, 3), padding=(0, 1, 1)),
            nn.SiLU(),
            nn.Conv3d(w, 2 * w, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            _Residual(2 * w, over_frames=False),
            nn.Conv3d(2 * w, 4 * w, 3, stride=(2, 2, 2), padding=1),
            _Residual(4 * w, over_frames=True),
            nn.GroupNorm(8, 4 * w),
            nn.SiLU(),
        )
        self.feature = nn.Linear(8 * w, FEATURES)
        self.shown = nn.Linear(FEATURES, labels) if labels else None
        self.played = nn.Linear(FEATURES, PLAYED)

    def features(self, x_BCTHW: Tensor) -> Tensor:
        """What the classifier sees in each clip (B, FEATURES)."""
        h = self.layers(x_BCTHW)
        pooled = torch.cat([h.mean(dim=(2, 3, 4)), h.amax(dim=(2, 3, 4))], dim=1)
        found: Tensor = self.feature(pooled)
        return found

    def scores(self, x_BCTHW: Tensor) -> Tensor:
        """How sure it is that each clip shows each label, as logits (B, K)."""
        assert self.shown is not None
        found: Tensor = self.shown(F.silu(self.features(x_BCTHW)))
        return found

    def loss(self, x_BCTHW: Tensor, labels_BK: Tensor | None, generator: torch.Generator) -> Tensor:
        """Cross-entropy of what clips show and of how they are played; the last are changed."""
        count = min(CHANGED_PER_STEP, len(x_BCTHW))
        plain, others = x_BCTHW[:-count], x_BCTHW[-count:]
        kind = torch.randint(1, PLAYED, (count,), generator=generator)
        changed = [_play(x, int(k), generator) for x, k in zip(others, kind, strict=True)]
        h = F.silu(self.features(torch.cat([plain, torch.stack(changed)])))
        kinds = torch.cat([torch.zeros(len(plain), dtype=torch.long), kind])
        loss = F.cross_entropy(self.played(h), kinds)
        if self.shown is not None and labels_BK is not None:
            shown, wanted = self.shown(h[:-count]), labels_BK[:-count]
            loss = loss + SHOWN_WEIGHT * F.binary_cross_entropy_with_logits(shown, wanted)
        return loss


class _Residual(nn.Module):
    def __init__(self, width: int, over_frames: bool) -> None:
        super().__init__()
        over = 3 if over_frames else 1
        self.norm = nn.GroupNorm(8, width)
        self.conv = nn.Conv3d(width, width, (over, 3, 3), padding=(over // 2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.conv(F.silu(self.norm(x)))
        return found


def _play(x_CTHW: Tensor, kind: int, generator: torch.Generator) -> Tensor:
    frames = x_CTHW.shape[1]
    if kind == 1:
        return x_CTHW[:, torch.randperm(frames, generator=generator)]
    if kind == 2:
        frame = int(torch.randint(frames, (), generator=generator))
        return x_CTHW[:, frame : frame + 1].expand_as(x_CTHW)
    moves = torch.randint(-1, 2, (frames, 2), generator=generator).tolist()
    rolled = [x_CTHW[:, t].roll((y, x), dims=(1, 2)) for t, (y, x) in enumerate(moves)]
    return torch.stack(rolled, dim=1)


def train_classifier(
    data: ClipFiles, steps: int, seed: int, advance: Callable[[int], None] = lambda _: None
) -> Classifier:
    """The classifier of a dataset; nothing of it is chosen on generated clips."""
    torch.manual_seed(seed)
    model = Classifier(data.clip_shape[0], data.label_count)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    generator, stream = torch.Generator().manual_seed(seed), Stream(data, seed, BUFFER_MB)
    for step in range(steps):
        index_B = stream.take(CLIPS_PER_STEP)
        loss = model.loss(data.at(index_B)[0], data.labels_at(index_B), generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        advance(step + 1)
    return model.eval().requires_grad_(False)


def save_classifier(model: Classifier, path: Path, clips: str, steps: int) -> None:
    """As safetensors; sizes are read off the tensors.

    Args:
        model: to keep.
        path: to write.
        clips: sha256 of what it was trained on.
        steps: for how long.
    """
    checkpoint.save(path, model.state_dict(), {"clips": clips, "steps": steps})


def load_classifier(path: Path, clips: str, steps: int | None = None) -> Classifier:
    """A classifier of `save_classifier`.

    Raises:
        InputError: none of this package, or trained on other clips, or for longer or shorter.
    """
    weights, notes = checkpoint.load(path)
    if notes.get("clips") != clips:
        raise InputError(f"{path}: was trained on other clips; give another --classifier")
    if steps is not None and notes.get("steps") != steps:
        raise InputError(
            f"{path}: was trained for {notes.get('steps')} steps, not {steps}; "
            "give another --classifier"
        )
    try:
        labels = weights["shown.weight"].shape[0] if "shown.weight" in weights else 0
        model = Classifier(weights["layers.0.weight"].shape[1], labels)
        model.load_state_dict(weights)
    except (KeyError, IndexError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: no classifier of this package: {said}") from None
    return model.eval().requires_grad_(False)
