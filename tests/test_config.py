import dataclasses
import pickle
import re

import pytest

from competition.config import FIELDS, RECIPES, Config, choose_config
from competition.errors import CompetitionError

RANGES = {name: field.metadata for name, field in FIELDS.items() if field.annotation in (int, float)}


def test_recipes_are_listed_under_their_own_names():
    assert all(config.recipe == name for name, config in RECIPES.items())
    assert {"quick", "fast"} <= set(RECIPES)


@pytest.mark.parametrize("name", RANGES)
def test_each_number_out_of_range_is_refused(name):
    low, high = RANGES[name][0].ge, RANGES[name][1].le
    for value in (low, high):
        assert getattr(Config(**{name: value}), name) == value
    for value in (low - 1, high + 1):
        said = f"{name} lies between {low} and {high}. Received: {value}. Next: --{name.replace('_', '-')} with a value"
        with pytest.raises(CompetitionError, match=f"^{re.escape(said)}"):
            dataclasses.replace(Config(), **{name: value})


def test_every_number_has_a_range():
    assert set(RANGES) == {name for name, value in vars(Config()).items() if not isinstance(value, str)}


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", "20"), ("epochs", 2.5), ("epochs", 2.0), ("seed", True), ("rotation", None), ("rotation", False),
     ("rotation", "12"), ("rotation", 10**400), ("recipe", 3)],
)  # fmt: skip
def test_wrong_types_are_refused(name, value):
    kind = FIELDS[name].annotation.__name__
    with pytest.raises(CompetitionError, match=rf"^{name} is of type {kind}\. Received: {value!r}\.$"):
        Config(**{name: value})


def test_a_whole_number_serves_as_a_float_and_becomes_one():
    """Files of older runs hold such."""
    assert type(Config(rotation=10).rotation) is float and Config(rotation=10) == Config(rotation=10.0)


@pytest.mark.parametrize("name", ["more", "a\nb", "\ud800"])
def test_a_setting_that_is_none_is_refused_in_one_line(name):
    with pytest.raises(CompetitionError, match=r"^A setting is a flag of `train`\. Received: '.*'\. Next: .*$"):
        Config(**{name: 1})


def test_what_is_sent_to_another_process_comes_back_as_it_was():
    config = RECIPES["reference"]
    assert pickle.loads(pickle.dumps(config)) == config and dataclasses.asdict(config) == vars(config)


def test_nan_is_refused():
    with pytest.raises(CompetitionError, match="rotation lies between"):
        Config(rotation=float("nan"))


def test_an_unknown_architecture_is_refused():
    for names in ("transformer", "pooled,transformer", "pooled,", "", "pooled\n", "pooled|fine"):
        said = (
            rf"^architecture is one of pooled, .* Received: {re.escape(repr(names))}\. Next: --architecture pooled\.$"
        )
        with pytest.raises(CompetitionError, match=said):
            Config(architecture=names)
    assert Config(architecture="fine,pooled,fine").of_repeat(1).architecture == "pooled"


@pytest.mark.parametrize("name", ["optimizer", "schedule"])
def test_one_optimizer_and_one_schedule(name):
    for value in ("sgd", "adam,muon", "triangle,triangle"):
        with pytest.raises(CompetitionError, match=rf"{name} is one of .* Received: '{value}'\."):
            Config(**{name: value})


def test_the_default_recipe_suits_the_data():
    assert choose_config(None, "sample", {}).recipe == "quick"
    assert choose_config(None, "kaggle", {}).recipe == "fast"
    assert choose_config("quick", "kaggle", {"epochs": 3, "seed": None}) == dataclasses.replace(
        RECIPES["quick"], epochs=3
    )
