"""The published measurements: each says what it is of and who measured it; networks are right."""

import math
import re

import pytest

from latency.cost_model.work_amounts import compress_weights
from latency.predictor.chips import chips
from latency.predictor.published import LOWERINGS, measurements, published, workloads
from latency.workload.workload import Operation

COMMIT = r"(github\.com|huggingface\.co)/[^ @]+@[0-9a-f]{7,}:\S+"
THREAD = r"github\.com/\S+/(pull|issues)/\d+.*|github\.com/\S+/releases/tag/\S+"
CITATION = re.compile(rf"{COMMIT}|{THREAD}|huggingface\.co/\S+ \(\S+\)")


def attention(name: str) -> Operation:
    """The largest attention of a network."""
    found = (o for o in workloads()[name].operations if o.kind == "attention")
    return max(found, key=lambda operation: operation.flops)


def keys(operation: Operation, number_bytes: int = 2) -> float:
    """Keys of each query, from what an operation of attention says.

    FLOPs are 2 x queries x keys x (width of a key + width of a value), bytes (queries + keys) x
    the same widths. FLOPs alone give too few where keys are narrower than values, both together
    give too few where a mask is read, too.
    """
    *several, queries, _ = operation.shape
    alone = operation.flops / (4 * math.prod(operation.shape))
    widths = operation.flops / (2 * math.prod(several) * queries)  # x keys
    numbers = operation.bytes_moved / (number_bytes * math.prod(several))
    return max(alone, widths * queries / (numbers - widths))


def test_rows_have_workloads_families_lowerings_and_citations() -> None:
    rows = published()
    assert {row.model for row in rows} == set(workloads()) - {
        f"MobileCLIP-{size}:text_encoder" for size in ("S2", "B")
    }
    for row in rows:
        assert CITATION.fullmatch(row.source), row.source
        assert row.family, row.model
        assert row.lowering in LOWERINGS, row.lowering
        assert row.soc in chips(), row.soc
        assert row.measurement.workload.measurable
        assert row.latency_ms > 0
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(
    ("family", "models"),
    [
        ("FastViT", {f"FastViT-{s}" for s in ("T8", "T12", "S12", "SA12", "SA24", "SA36", "MA36")}),
        ("Whisper", {f"whisper_{size}_encoder" for size in ("tiny", "base", "small")}),
        (
            "SD-UNet",
            {
                *("SD 1.4 UNet", "SD 1.4 UNet, chunk 1 of 2"),
                *("SD 2.1-base UNet", "SDXL-base-ios UNet"),
            },
        ),
    ],
)
def test_sizes_of_a_design_are_one_family(family: str, models: set[str]) -> None:
    assert {row.model for row in published() if row.family == family} == models


def test_one_network_lowered_in_two_ways_is_measured_twice() -> None:
    times_ms = [m.latency_ms for m in measurements("M1 Max") if m.workload.name == "SD 1.4 UNet"]
    assert sorted(times_ms) == pytest.approx([726, 1040])


@pytest.mark.parametrize(
    ("name", "millions"),  # as their papers, cards or configurations have them
    [
        ("whisper_tiny_encoder", 8.2),  # with positions; 39M with the decoder
        ("whisper_base_encoder", 20.6),
        ("whisper_small_encoder", 88.2),
        ("ViT-B/16", 86.6),
        ("UForm3-english-small:image_encoder", 22),
        ("UForm3-english-base:image_encoder", 86),
        ("Depth-Anything-Small", 24.8),
        ("DETR-ResNet50 segmentation", 42.9),
        ("GPT-2, 64 of 512 tokens", 124),
        ("GPT-2 medium, 64 of 512 tokens", 355),
        ("GPT-2 large, 64 of 512 tokens", 774),
        ("Parakeet-0.6B encoder, 188 tokens", 609),
        ("SD 1.4 UNet", 859.5),
        ("SD 2.1-base UNet", 866),
        ("YOLO26n-seg, 640 px", 2.7),
        ("YOLO26x-seg, 384 px", 62.8),
        ("iFormer-T", 2.9),
        ("iFormer-S", 6.5),
        ("iFormer-M", 8.9),
    ],
)
def test_networks_have_as_many_weights_as_is_known(name: str, millions: float) -> None:
    assert workloads()[name].parameters == pytest.approx(millions * 1e6, rel=0.015)


@pytest.mark.parametrize(
    ("name", "gmacs"),
    [
        ("ViT-B/16", 17.6),
        ("YOLO26m-seg, 640 px", 121.5 / 2),
        ("iFormer-T", 0.53),
        ("iFormer-S", 1.09),
        ("iFormer-M", 1.64),
        ("Attention block, 197 tokens", 1.049 / 2),
    ],
)
def test_networks_have_as_many_flops_as_is_known(name: str, gmacs: float) -> None:
    assert workloads()[name].flops / 2e9 == pytest.approx(gmacs, rel=0.01)


@pytest.mark.parametrize(
    ("name", "sequences", "heads", "queries", "many"),
    [
        ("whisper_small_encoder", 1, 12, 1500, 1500),
        ("Depth-Anything-Small", 1, 6, 1037, 1037),
        ("GPT-2, 16 of 512 tokens", 1, 12, 16, 512),
        ("GPT-2 large, 192 of 512 tokens", 1, 20, 192, 512),
        ("Transformer block, 16 x 128 tokens", 16, 12, 128, 128),
        ("Transformer block in rows, 32 x 128 tokens", 32, 12, 128, 128),
        ("Bare attention, 16 heads, 128 tokens, width 128", 1, 16, 128, 128),
        ("iFormer-T", 1, 1, 196, 196),  # keys of half a value's width
        ("YOLO26m-seg, 640 px", 1, 4, 400, 400),
        ("SD 1.4 UNet", 2, 8, 4096, 4096),
    ],
)
def test_attention_says_how_many_sequences_and_tokens(
    name: str, sequences: int, heads: int, queries: int, many: int
) -> None:
    found = attention(name)
    assert found.shape[:-1] in {(sequences, heads, queries), (sequences, queries)}
    assert keys(found) == pytest.approx(many)


def test_the_keys_of_all_attention_are_whole_numbers() -> None:
    found = [o for w in workloads().values() for o in w.operations if o.kind == "attention"]
    assert len(found) > 50
    for operation in found:
        assert keys(operation) == pytest.approx(round(keys(operation)), rel=1e-9)


def test_a_batch_of_short_sequences_has_the_flops_of_a_row_and_other_shapes() -> None:
    batch = workloads()["Transformer block, 16 x 128 tokens"]
    rows = workloads()["Transformer block in rows, 16 x 128 tokens"]
    assert batch.flops == rows.flops
    assert batch.operations != rows.operations


def test_the_first_chunk_of_a_unet_has_half_of_its_weights() -> None:
    whole, chunk = workloads()["SD 1.4 UNet"], workloads()["SD 1.4 UNet, chunk 1 of 2"]
    assert 0.5 < chunk.weight_bytes / whole.weight_bytes < 0.55
    assert chunk.flops < 0.4 * whole.flops  # the half with few pixels


def test_weights_stream_as_small_as_they_are_stored() -> None:
    unet = workloads()["SD 2.1-base UNet"]
    assert unet.weight_bytes == pytest.approx(2 * 866e6, rel=0.01)
    assert compress_weights(unet, 6).weight_bytes == pytest.approx(unet.weight_bytes * 6 / 16)
    row = next(r for r in published() if r.model == "SD 2.1-base UNet")
    assert row.precision == "6-bit weights"
    assert row.measurement.workload.weight_bytes == pytest.approx(unet.weight_bytes * 6 / 16)
