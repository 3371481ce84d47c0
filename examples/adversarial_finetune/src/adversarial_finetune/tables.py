"""Figures of samplers as text for people."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

# Figures of one sampler (of one variant, by one seed), as `Compared.to_json` has them.
Row = Mapping[str, Any]
DASH = "-"
ENCODED = "frechet_video_encoder"


def table(rows: Sequence[Row]) -> str:
    """A line for each sampler of each variant: means over seeds, and the distance's error.

    Flicker and motion are shares of the data's own; minutes are those of training both stages.
    """
    columns: dict[str, tuple[int, Callable[[Sequence[Row]], str]]] = {
        "calls": (7, lambda found: _plain(found, "calls", ".0f")),
        "Frechet": (15, lambda found: _distance(found, "frechet")),
    }
    if any(row.get(ENCODED) is not None for row in rows):
        columns["by encoder"] = (15, lambda found: _distance(found, ENCODED))
    columns |= {
        "accuracy": (10, lambda found: _plain(found, "accuracy", ".3f")),
        "flicker": (9, lambda found: _plain(found, "flicker", ".2f")),
        "motion": (8, lambda found: _plain(found, "motion", ".2f")),
        "ms a clip": (11, lambda found: _plain(found, "ms_per_clip", ".1f")),
    }
    if any("train_s" in row for row in rows):
        columns["minutes"] = (9, lambda found: _plain(found, "train_s", ".1f", 1 / 60))
    lines = [f"{'':<42}" + "".join(f"{name:>{width}}" for name, (width, _) in columns.items())]
    for variant, sampler in dict.fromkeys((row.get("variant", ""), row["sampler"]) for row in rows):
        found = [r for r in rows if (r.get("variant", ""), r["sampler"]) == (variant, sampler)]
        cells = "".join(f"{cell(found):>{width}}" for width, cell in columns.values())
        lines.append(f"{variant:<22}{sampler:<20}{cells}")
    if not any("variant" in row for row in rows):
        lines = [line[22:] for line in lines]
    return "\n".join(lines)


def shares(rows: Sequence[Row]) -> str:
    """What the tuned sampler reaches and takes, as shares of untuned ones of no fewer calls."""
    seeds: dict[int, dict[str, Row]] = {}
    for row in rows:
        seeds.setdefault(row.get("seed", 0), {}).setdefault(row["sampler"], row)
    names = {name: row["calls"] for row in rows for name in [row["sampler"]]}
    tuned = max((name for name in names if name.endswith(", tuned")), key=names.__getitem__)
    lines = []
    for name, calls in names.items():
        if name.endswith(", tuned") or calls < names[tuned]:
            continue
        pairs = [(found[tuned], found[name]) for found in seeds.values() if name in found]
        distances = [one["frechet"] / other["frechet"] for one, other in pairs]
        spread = f" ({min(distances):.2f} to {max(distances):.2f})" if len(pairs) > 1 else ""
        time = mean(one["ms_per_clip"] / other["ms_per_clip"] for one, other in pairs)
        lines.append(
            f"{tuned} : {name} = {mean(distances):.2f}{spread} of the Frechet distance, "
            f"{names[tuned]} : {calls} network calls, {time:.2f} of the time"
        )
    return "\n".join(lines)


def encoder_in_words(told: Mapping[str, Any]) -> str:
    """What the column `by encoder` is, and where it says little."""
    vae = told["decoder_sha256"]
    pixels = "" if vae is None else f", pixels by a VAE (sha256 {vae[:12]})"
    text = (
        f"by encoder: the Frechet distance on the {told['pooling']} of {told['model_type']} "
        f"(sha256 {told['sha256'][:12]}), {told['features']} features{pixels}, of "
        f"{told['clips']} clips to {told['reference_clips']} of the data; it compares with others "
        "of the same encoder and as many clips alone"
    )
    if told["covariance_is_singular"]:
        text += (
            f"\n{told['clips']} clips for {told['features']} features: the covariance is singular, "
            "and the distance of little worth; give more --clips"
        )
    return text


def _distance(found: Sequence[Row], name: str) -> str:
    values = [row[name] for row in found if row.get(name) is not None]
    if not values:
        return DASH
    error = f" ± {stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{mean(values):.2f}{error}"


def _plain(found: Sequence[Row], name: str, digits: str, factor: float = 1.0) -> str:
    values = [row[name] for row in found if row.get(name) is not None]
    return f"{mean(values) * factor:{digits}}" if values else DASH
