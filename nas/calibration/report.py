"""The report of a calibration: how predictions of networks that it did not see came out."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latency import Device
from nas.calibration.picture import calibration_png
from nas.calibration.residuals import Judged, by_kind

TEMPLATE = Path(__file__).with_name("report.html.jinja")
WORST = 10


def html(device: Device, judged: Sequence[Judged]) -> str:
    """The report as one HTML file that needs nothing else."""
    import jinja2

    kinds = by_kind(judged) if judged else []
    worst = sorted(judged, key=lambda each: -abs(each.residual))[:WORST]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        device=device,
        judged=len(judged),
        kinds=kinds,
        worst=worst,
        picture=_embedded(calibration_png(judged, kinds, device.unit)) if judged else None,
    )


def summary(judged: Sequence[Judged]) -> dict[str, Any]:
    """The report's figures for scripts."""
    worst = sorted(judged, key=lambda each: -abs(each.residual))[:WORST]
    return {
        "kinds": [vars(kind) for kind in by_kind(judged)] if judged else [],
        "worst": [
            {
                "network": each.measurement.workload.name,
                "measured_ms": each.measurement.latency_ms,
                "predicted_ms": each.prediction.latency_ms,
            }
            for each in worst
        ],
    }


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
