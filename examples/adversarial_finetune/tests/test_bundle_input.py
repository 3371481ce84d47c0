"""What is wrong with a bundle is said in one line, before anything of it is loaded.

All that can be wrong with one is tested where it is opened (examples/temporal_bundle).
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Call

from temporal_bundle.testing import write_manifest


def network_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "bundle.json").read_text())["network"]
    return found


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no bundle": (lambda f: (f / "bundle.json").unlink(), "lacks bundle.json"),
    "newer": (lambda f: write_manifest(f, version="2.0"), "version 2.0 is newer"),
    "hostile": (lambda f: (f / "denoiser.pt2").write_bytes(b"PK"), "was changed since"),
    "other features": (
        lambda f: write_manifest(f, network=network_of(f) | {"features": [8, 24]}),
        "features.pt2: answers with channels (8, 16), not (8, 24)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bundle_that_is_wrong_is_refused_in_one_line(
    case: str, bundle: Path, clips: Path, call: Call
) -> None:
    change, says = CASES[case]
    change(bundle)
    code, printed, said = call("train", bundle, "--data", clips, "--out", "run")
    assert (code, printed) == (2, "")
    assert says in said
    assert said.count("\n") == 1
    assert not Path("run").exists()


def test_the_folder_of_a_search_is_told_from_its_bundle(
    bundle: Path, clips: Path, call: Call
) -> None:
    search = bundle.parent
    (search / "run.json").write_text("{}")
    given = (search, "--data", clips, "--out")
    for command in (
        ("train", *given, "run"),
        ("ablate", *given, "run"),
        ("sample", *given, "a.gif"),
        ("evaluate", "run", search, "--data", clips),
    ):
        code, printed, said = call(*command)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert f"is the folder of a search; give its bundle, {bundle}" in said
    for folder in (search, bundle):  # where that of a training belongs
        code, printed, said = call("train", bundle, "--data", clips, "--out", folder)
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert "choose another" in said


def test_half_of_a_tuning_is_named(bundle: Path, clips: Path, call: Call) -> None:
    (bundle / "finetuned.safetensors").write_bytes((bundle / "weights.safetensors").read_bytes())
    code, printed, said = call("sample", bundle, "--data", clips, "--out", "a.gif")
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert "finetuned.safetensors without finetuned.json" in said
    few = ("--stage-one-steps", "2", "--stage-two-steps", "2", "--clips-per-step", "2")
    code, _, said = call("train", bundle, "--data", clips, "--out", "run", *few)
    assert code == 0, said  # which is the mend
    assert call("sample", bundle, "--data", clips, "--out", "a.gif")[0] == 0
