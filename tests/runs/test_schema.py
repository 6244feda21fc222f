import json

import pytest

from competition.errors import CompetitionError
from competition.runs import schema

SCORES = {
    "out_of_fold": {"accuracy": 0.99, "low": 0.98, "high": 1, "log_loss": 0.03, "errors": 17},
    "leaderboard": {"score": 0.99, "low": 0.98, "high": 0.995},
    "members": {"accuracy": 0.99, "each": [0.99, None]},
    "more": [{}],
}
MANIFEST = {
    "identity": {"settings": {"epochs": 20}, "data": ["a", "b"], "precision": "float32", "threads": 1},
    "source": "kaggle",
    "hardware": "2 cores",
}


def read(tmp_path, value, form):
    path = tmp_path / "file.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return schema.read(path, form)


def put(value, place, new):
    """A copy of it with another value at a place like `seconds.members`."""
    copy = inner = json.loads(json.dumps(value))
    *path, last = place.split(".")
    for name in path:
        inner = inner.setdefault(name, {})
    inner[last] = new
    return copy


def test_what_is_read_is_what_stands_there(tmp_path):
    """Numbers too: a checksum may be of the text that they make."""
    for form, value in ((schema.SCORES, SCORES), (schema.MANIFEST, MANIFEST), (schema.ANY, {"a": [10**400, None]})):
        assert json.dumps(read(tmp_path, value, form)) == json.dumps(value)


@pytest.mark.parametrize(
    ("form", "good", "place", "value"),
    [
        (schema.SCORES, SCORES, "out_of_fold.errors", 17.0),
        (schema.SCORES, SCORES, "out_of_fold.errors", True),
        (schema.SCORES, SCORES, "leaderboard.score", "0.99"),
        (schema.SCORES, SCORES, "leaderboard.score", True),
        (schema.SCORES, SCORES, "leaderboard.score", float("nan")),
        (schema.SCORES, SCORES, "leaderboard.high", 10**400),
        (schema.SCORES, SCORES, "true_accuracy", None),
        (schema.SCORES, SCORES, "members", [0.99]),
        (schema.MANIFEST, MANIFEST, "source", 3),
        (schema.MANIFEST, MANIFEST, "identity.data", ["a", "b", "c"]),
        (schema.MANIFEST, MANIFEST, "identity.settings", []),
        (schema.MANIFEST, MANIFEST, "seconds.a\nb", float("inf")),
        (schema.MANIFEST, MANIFEST, "parents", [{"run": "a", "members": {}}, {"run": "b"}]),
    ],
)
def test_a_misfit_is_said_with_its_place_in_one_line(tmp_path, form, good, place, value):
    with pytest.raises(CompetitionError) as error:
        read(tmp_path, put(good, place, value), form)
    place = {"parents": "parents.1.members"}.get(place, place)
    assert f"must be intact and of this version. Received: a misfit at {place!r} (" in str(error.value)
    assert str(error.value).endswith("). Next: `make train NEW=1`.") and "\n" not in str(error.value)


@pytest.mark.parametrize("form", (schema.ANY, schema.MANIFEST))
@pytest.mark.parametrize("text", ("", "[]", "null", "{", '{"a": 1}}', "[" * 100_000, '{"a":' * 100_000, "9" * 5000))
def test_what_is_no_object_is_refused(tmp_path, form, text):
    with pytest.raises(CompetitionError, match=r"Received: (no JSON \(.*\)|a misfit at 'the top' .*)\. Next: "):
        read(tmp_path, text, form)


def test_a_nest_of_brackets_beside_the_rest_is_nobodys(tmp_path):
    nest = "[" * 900 + "]" * 900
    text = json.dumps(SCORES)[:-1] + f', "nest": {nest}}}'
    assert read(tmp_path, text, schema.SCORES)["members"] == SCORES["members"]
