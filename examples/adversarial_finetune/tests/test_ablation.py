"""The variants of an ablation are those of one recipe."""

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
