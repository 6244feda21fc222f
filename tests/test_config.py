import dataclasses

import pytest

from competition.config import RANGES, RECIPES, Config, choose_config
from competition.errors import CompetitionError


def test_recipes_are_listed_under_their_own_names():
    assert all(config.recipe == name for name, config in RECIPES.items())
    assert {"quick", "fast"} <= set(RECIPES)


@pytest.mark.parametrize("name", RANGES)
def test_each_number_out_of_range_is_refused(name):
    low, high = RANGES[name]
    kind = type(getattr(Config(), name))
    for value in (low - 1, high + 1):
        with pytest.raises(CompetitionError, match=f"{name} lies between .* Received: .*--{name.replace('_', '-')}"):
            dataclasses.replace(Config(), **{name: kind(value)})


def test_every_number_has_a_range():
    numbers = {field.name for field in dataclasses.fields(Config) if field.type in (int, float)}
    assert numbers == set(RANGES)


@pytest.mark.parametrize(("name", "value"), [("epochs", "20"), ("epochs", 2.5), ("seed", True), ("rotation", None)])
def test_wrong_types_are_refused(name, value):
    with pytest.raises(CompetitionError, match=f"{name} is of type"):
        Config(**{name: value})


def test_nan_is_refused():
    with pytest.raises(CompetitionError, match="rotation lies between"):
        Config(rotation=float("nan"))


def test_an_unknown_architecture_is_refused():
    for names in ("transformer", "pooled,transformer", "pooled,", ""):
        with pytest.raises(CompetitionError, match=rf"architecture is one of .* Received: {names}\."):
            Config(architecture=names)


def test_somebody_must_be_taught():
    with pytest.raises(CompetitionError, match=r"Received: 2 of 2\. Next: --repeats 3"):
        Config(repeats=2, teachers=2)


def test_the_default_recipe_suits_the_data():
    assert choose_config(None, "sample", {}).recipe == "quick"
    assert choose_config(None, "kaggle", {}).recipe == "fast"
    assert choose_config("quick", "kaggle", {"epochs": 3, "seed": None}) == dataclasses.replace(
        RECIPES["quick"], epochs=3
    )
