"""The trainings and measurements behind ranking.py: each leaves a file, none is done twice."""

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from latency.sources.contract import Protocol
from latency.sources.torch_host import TorchSource
from latency.sources.visits import gather, visits
from nas.calibration.profiling import network_id, plan_networks
from nas.progress import Progress
from search_spaces import Architecture, TemporalSpace, load
from supernet import (
    TrainingPlan,
    Validation,
    VideoUNet,
    load_backbone,
    load_supernet,
    train_backbone,
    train_supernet,
)
from supernet.data.loading import load_clips
from supernet.data.splits import Split
from supernet.flow_matching import Denoiser
from supernet.operators import build
from supernet.training.batches import draw_batch, squared_error
from supernet.training.recipes import load_recipe
from supernet.training.training import Randomness, Schedule, Trainer


@dataclass(frozen=True)
class Exam:
    """What everybody is judged by: frozen before any supernet is trained."""

    folder: Path
    space_name: str
    data: str
    clips: int  # of a training batch
    image_passes: int
    alone_passes: int
    supernet_passes: int
    judged_clips: int  # of a network that was trained alone
    scored_clips: int  # of a path: the first of the same clips

    @property
    def space(self) -> TemporalSpace:
        found = load(self.space_name)
        assert isinstance(found, TemporalSpace)
        return found

    @property
    def backbone(self) -> Path:
        return self.folder / "backbone.safetensors"

    @property
    def drawn(self) -> Path:
        return self.folder / "architectures.csv"

    @property
    def latency(self) -> Path:
        return self.folder / "latency.npy"

    def network(self, index: int, seed: int) -> Path:
        return self.folder / f"alone-{index}-{seed}.safetensors"

    def supernet(self, recipe: str, seed: int) -> Path:
        return self.folder / f"{recipe}-{seed}.safetensors"

    def losses(self, trained: Path) -> Path:
        """The loss of each clip: (clips,) of a network, (architectures, clips) of a supernet."""
        return trained.with_suffix(".npy")

    def architectures(self) -> list[Architecture]:
        with self.drawn.open() as file:
            rows = list(csv.DictReader(file))
        names = [choice.name for choice in self.space.choices]
        return [
            self.space.architecture({name: row[name] for name in names if row[name]})
            for row in rows
        ]

    def plan(self, seed: int) -> TrainingPlan:
        return TrainingPlan(
            image_steps=self.image_passes,
            image_clips=8,
            video_steps=self.supernet_passes,
            video_clips=self.clips,
            freeze_backbone=True,
            optimizer="adamw",  # as the reference networks beside it, and the table that is kept
            learning_rate=2e-3,
            data=self.data,
            seed=seed,
        )


def draw(exam: Exam, count: int, seed: int) -> None:
    """Architectures spread evenly over the latency range, with every operator about as often."""
    space, rng = exam.space, np.random.default_rng(seed)
    times_ms = block_times_ms(space)
    pool = sorted({space.sample(rng) for _ in range(100 * count)}, key=str)
    total_ms = np.array(
        [sum(times_ms[s.name, str(space.block(a, s))] for s in space.slots) for a in pool]
    )
    low_ms, high_ms = np.quantile(total_ms, [0.005, 0.995])
    step_ms = (high_ms - low_ms) / count
    used: dict[tuple[str, str], int] = {}
    chosen: list[int] = []

    def taken_by(index: int) -> list[tuple[str, str]]:
        blocks = [(slot.name, space.block(pool[index], slot)) for slot in space.slots]
        return [(name, block.operator.name) for name, block in blocks] + [
            ("any", str(block)) for _, block in blocks
        ]

    for part in rng.permutation(count):
        middle_ms = low_ms + (part + 0.5) * step_ms
        nearest = [int(i) for i in np.argsort(abs(total_ms - middle_ms))[:40] if i not in chosen]
        best = min(nearest, key=lambda i: sum(used.get(key, 0) for key in taken_by(i)))
        chosen.append(best)
        for key in taken_by(best):
            used[key] = used.get(key, 0) + 1
    chosen.sort(key=lambda index: total_ms[index])
    names = [choice.name for choice in space.choices]
    with exam.drawn.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *names])
        for number, index in enumerate(chosen):
            writer.writerow([number, *(pool[index].get(name, "") for name in names)])


def block_times_ms(
    space: TemporalSpace, rounds: int = 3, runs: int = 25
) -> dict[tuple[str, str], float]:
    """What each block takes here at its best: enough to spread networks by, not to publish."""
    found: dict[tuple[str, str], float] = {}
    for _ in range(rounds):
        for slot in space.slots:
            x_NCHW = torch.randn(slot.frames, slot.channels, slot.height, slot.width)
            context_BLC = torch.rand(1, space.unet.context_tokens, slot.context_channels)
            for block in space.blocks():
                operator = build(block, slot)
                best_s = 0.0 if operator is None else float("inf")
                for _ in range(runs if operator is not None else 0):
                    begun = time.perf_counter()
                    with torch.inference_mode():
                        operator(x_NCHW, slot.frames, context_BLC)
                    best_s = min(best_s, time.perf_counter() - begun)
                key = slot.name, str(block)
                found[key] = min(found.get(key, float("inf")), best_s * 1e3)
    return found


def train_image(exam: Exam) -> None:
    """The image U-Net that all start from, and that stays frozen."""
    train_backbone(exam.space, exam.plan(0), exam.backbone)


def train_alone(exam: Exam, index: int, seed: int) -> None:
    """One architecture by itself, on fresh temporal blocks."""
    torch.manual_seed(seed)
    network = VideoUNet(exam.space, exam.architectures()[index])
    network.backbone.load_state_dict(load_backbone(exam.backbone, exam.space).state_dict())
    network.backbone.requires_grad_(False)
    train_blocks(exam, network, seed, exam.network(index, seed))


def train_blocks(exam: Exam, network: VideoUNet, seed: int, path: Path) -> None:
    """Train a network's temporal blocks, and keep them."""
    data = load_clips(exam.data, exam.space.unet, "train")

    def losses(randomness: Randomness) -> Iterator[Tensor]:
        batch = draw_batch(data, exam.clips, randomness)
        found = network(batch.noisy, batch.time_B, batch.context_BLC)
        yield squared_error(found, batch.velocity)

    if list(network.temporal.parameters()):
        Trainer(network, losses, Schedule(exam.alone_passes), seed=1000 + seed).run()
    whole = path.with_suffix(".part")
    save_file({n: t.contiguous() for n, t in network.temporal.state_dict().items()}, whole)
    whole.replace(path)


def train_shared(exam: Exam, recipe: str, seed: int) -> None:
    """A supernet by one recipe."""
    begun = time.perf_counter()
    backbone = load_backbone(exam.backbone, exam.space)
    path = exam.supernet(recipe, seed)
    train_supernet(exam.space, backbone, exam.plan(seed), path, recipe=load_recipe(recipe))
    seconds = {"seconds": round(time.perf_counter() - begun)}
    path.with_suffix(".json").write_text(json.dumps(seconds))


def judge_alone(exam: Exam, index: int, seed: int) -> None:
    """The loss of each validation clip under a network trained alone."""
    network = VideoUNet(exam.space, exam.architectures()[index])
    network.backbone.load_state_dict(load_backbone(exam.backbone, exam.space).state_dict())
    path = exam.network(index, seed)
    network.temporal.load_state_dict(load_file(path))
    keep(exam.losses(path), judged(exam, network.eval(), exam.judged_clips))


def judge_shared(exam: Exam, recipe: str, seed: int) -> None:
    """The loss of each validation clip under each architecture's path."""
    path = exam.supernet(recipe, seed)
    supernet = load_supernet(path, exam.space)
    found = [judged(exam, supernet.path(each), exam.scored_clips) for each in exam.architectures()]
    keep(exam.losses(path), np.stack(found))


def measure(exam: Exam) -> None:
    """What each network takes on this machine: all of them interleaved, medians."""
    architectures = exam.architectures()
    planned = plan_networks(exam.space, architectures)
    protocol = Protocol(rounds=8, runs_per_visit=4)
    found = []
    with Progress().stage("latency", protocol.rounds * len(planned.jobs)) as advance:
        for visit in visits(TorchSource(), planned.jobs, protocol):
            found.append(visit)
            advance(len(found))
    taken_ms = {name: each.timing.latency_ms for name, each in gather(found).items()}
    keep(exam.latency, np.array([taken_ms[network_id(each)] for each in architectures]))


def judged(exam: Exam, denoiser: Denoiser, clips: int, split: Split = "validation") -> np.ndarray:
    data = load_clips(exam.data, exam.space.unet, split)
    losses: np.ndarray = Validation(data, clips).losses(denoiser).numpy()
    return losses


def keep(path: Path, array: np.ndarray) -> None:
    with path.with_suffix(".part").open("wb") as file:
        np.save(file, array)
    path.with_suffix(".part").replace(path)
