"""Device files of earlier versions: fewer kinds of work, and no error of families."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latency
from latency import Device
from latency.cost_model.work_amounts import GROUPS, WORK_KINDS
from latency.predictor.older import NEW
from latency.predictor.published import workloads
from search_spaces import InputError


def as_before(name: str) -> Any:
    """A shipped device as an earlier version wrote such: without the newer kinds of work."""
    found = json.loads(latency.shipped()[name].read_text())
    sized, new = found["physical"], [WORK_KINDS.index(kind) for kind in NEW]
    del sized["family"]
    sized["columns"] = [column for column in sized["columns"] if column not in NEW]
    for costs in (sized, sized["prior"]):
        costs["ms_per_unit"] = {k: v for k, v in costs["ms_per_unit"].items() if k not in NEW}
    covariance = np.array(sized["prior"]["covariance"])
    kept = np.delete(np.delete(covariance, new, axis=0), new, axis=1)
    sized["prior"]["covariance"] = kept.tolist()
    for row in sized["measured"]:  # all products were dense
        amounts = row["amounts"]
        amounts[WORK_KINDS.index("dense")] += sum(amounts[place] for place in new)
        row["amounts"] = [x for place, x in enumerate(amounts) if place not in new]
    directions = len(NEW) + len(GROUPS)
    for row in (found["model"]["intercept"], found["model"]["weights"]["base"][""]):
        del row[-1 - directions : -1]
    return found


def test_a_file_of_before_predicts_as_if_all_products_were_dense(tmp_path: Path) -> None:
    device = Device.from_json(as_before("iphone-12"), "before")
    assert device.analytical is not None
    costs = dict(zip(WORK_KINDS, device.analytical.log_costs, strict=True))
    assert costs["products"] == costs["attention"] == costs["dense"]
    attention = device.predict(workloads()["MobileCLIP-B:image_encoder"])
    assert 0 < attention.low_ms < attention.latency_ms < attention.high_ms < 100
    device.save(tmp_path / "now.json")
    again = latency.load_device(str(tmp_path / "now.json"))
    assert again.predict(workloads()["MobileCLIP-B:image_encoder"]) == attention


@pytest.mark.parametrize(
    "damage",
    [
        {"measured": 5},
        {"measured": [{"amounts": [1.0]}]},
        {"ms_per_unit": {}},
        {"prior": {"covariance": [1] * (len(WORK_KINDS) - len(NEW))}},
    ],
)
def test_a_damaged_file_of_before_is_one_line(damage: dict[str, Any]) -> None:
    found = copy.deepcopy(as_before("mac-m1"))
    found["physical"] |= damage
    with pytest.raises(InputError, match="before"):
        Device.from_json(found, "before")
