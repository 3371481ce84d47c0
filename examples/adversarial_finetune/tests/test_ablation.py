"""An ablation: variants of one recipe, trained from one stage one and judged alike."""

import json
from pathlib import Path

from conftest import FEW_STEPS, Call

from adversarial_finetune.ablation import FULL, VARIANTS
from adversarial_finetune.settings import Settings


def test_each_variant_differs_from_the_recipe_in_one_thing() -> None:
    recipe = VARIANTS[FULL](Settings()).to_json()
    assert recipe == Settings().to_json()
    for name, change in VARIANTS.items():
        found = change(Settings(seed=3)).to_json()
        terms, wanted = found.pop("terms"), recipe["terms"]
        differs = [key for key in wanted if terms[key] != wanted[key]]
        differs += [key for key in found if found[key] != recipe[key] and key != "seed"]
        assert len(differs) == (name != FULL), name
        assert found["seed"] == 3


def test_an_ablation_trains_stage_one_once_a_seed(bundle: Path, clips: Path, call: Call) -> None:
    before = sorted(path.name for path in bundle.iterdir())
    few = ("--variants", "spatial heads only", "no reconstruction", "--seeds", "0", "--clips", "16")
    arguments = ("ablate", bundle, "--data", clips, "--out", "ablation", *FEW_STEPS, *few)
    code, printed, said = call(*arguments, "--classifier-steps", "10", "--json")
    assert code == 0, said
    assert said.count("stage one: 6/6") == 1
    rows = json.loads(printed)["rows"]
    found = [(row["variant"], row["sampler"]) for row in rows]
    assert len(set(found)) == len(found) == 1 + 6 + 2
    again = call(*arguments, "--json")
    assert json.loads(again[1])["rows"] == rows, "what is finished is not done again"
    assert "stage" not in again[2]
    printed = call(*arguments)[1]
    assert "4 steps, tuned : 25 steps, guided = " in printed
    assert "4 : 50 network calls" in printed
    assert sorted(path.name for path in bundle.iterdir()) == before
    code, _, said = call(*arguments, "--generator-rate", "0.1")
    assert (code, said.count("\n")) == (2, 1)
    assert "spatial-heads-only-0: was begun with settings.generator_rate 0.0005, not 0.1" in said
    code, _, said = call(*arguments, "--clips", "8")
    assert (code, said.count("\n")) == (2, 1)
    assert "was judged with clips 16, not 8" in said
