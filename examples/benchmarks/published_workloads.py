"""Traces the networks whose Core ML latencies were published, into latency/devices/published.

python examples/benchmarks/published_workloads.py [--out FILE]

A development script: it needs timm, diffusers and transformers beside the toolkit (pip install
--no-deps timm diffusers transformers; then huggingface_hub, httpx2, regex, tokenizers,
importlib_metadata). Nothing is downloaded: configurations are given in published_networks/,
weights are on the meta device. Each network has the form that was measured: branches merged, batch
norms folded into convolutions, float16.

Attention is one operation, however it was lowered (the column `lowering` of published.csv says
how): its output (batch, heads, queries, width of a value) and its FLOPs give the number of keys.

Left out: DeepLabV3 (no such network in timm), FaceParsing and CenterNet (input shapes unknown),
rows on CPU or GPU (SDXL at 1024 px, CLIP's text encoder) or fallen off the engine (iFormer-L at
512 px), video decoders (no public implementation of known size), BERT-SQuAD, NDT1 and Parakeet-CTC
(the rows' own notes call them unfit), MobileNetV3-small (0.13 ms whatever its weights' size: a
launch takes as long, so it ran on the CPU), RF-DETR (whether it ran on the engine is uncertain),
MiniLM (the time includes a tokenizer, embeddings on the host and a second program), whole
pipelines, and rows of an unstated chip.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from published_networks import NETWORKS
from published_networks.building import import_timm
from published_networks.diffusion import CHUNKS, first_chunk

import latency
from latency import Workload
from search_spaces.files.document import write_atomically

HERE = Path(__file__).resolve().parents[2] / "latency" / "devices" / "published"
FORMAT = "temporal-nas/published-workloads"


def traced(name: str) -> Workload:
    """The workload of a published network in float16, equal operations counted once."""
    with torch.device("meta"):
        network, inputs = NETWORKS[CHUNKS.get(name, name)]()
    halved = tuple(x.half() if x.is_floating_point() else x for x in inputs)
    workload = latency.trace(network.half(), *halved, name=name)
    return (first_chunk(workload) if name in CHUNKS else workload).compact()


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
    for name in (*NETWORKS, *CHUNKS):
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
