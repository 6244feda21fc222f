"""What is shown of a digit that is enlarged, by networks that are as they were built."""

import numpy as np
import pytest

from competition.ensemble.folds import plan_members
from competition.ensemble.networks import Ensemble
from competition.ensemble.occlusion import Occlusion
from competition.errors import CompetitionError
from competition.report.enlarged import AGAINST, FOR, NEAREST, enlarge, heat_map, in_words
from competition.report.run_page import make_report
from tests.finished_run import finished_run


def test_rows_are_predicted_by_all_members_and_explained_by_one_that_validated_them(tmp_path):
    folders, run, digits = finished_run(tmp_path, networks=True, width=0.125)
    members = plan_members(run.config, digits.train.labels)
    rows = np.array([0, 7, members[0].val_rows[-1]])
    probabilities = run.probabilities()[0][run.config.submitted][rows]
    found = enlarge(run, digits, members, rows, probabilities)
    assert found["members"] == ["repeat1-fold1", "repeat1-fold2"] and list(found["rows"]) == [row + 1 for row in rows]
    expected = Ensemble(run).predict(digits.train.images[rows])[1].argmax(axis=2)  # (members, rows)
    for i, (row, shown) in enumerate(zip(rows, found["rows"].values(), strict=True)):
        assert [label for label, *_ in shown["members"]] == expected[:, i].tolist()
        validated = [row in member.val_rows for member in members]
        assert [last for *_, last in shown["members"]] == validated and sum(validated) == 1
        assert shown["words"].startswith(f"{members[validated.index(True)].name} predicts ")
        assert shown["disagreement"] == (expected[:, i] != probabilities[i].argmax()).sum()
        assert [part for part, _ in shown["probs"]] == pytest.approx(probabilities[i], abs=6e-4)
        assert len(shown["nearest"]) == NEAREST
        for label, near, _ in shown["nearest"]:
            assert near != row + 1 and digits.train.labels[near - 1] == label
    page = make_report(folders, run, digits).read_text("utf-8")
    assert '"repeat1-fold1"' in page and len(page.encode()) < 3_000_000


def test_a_run_whose_networks_are_gone_still_has_its_page(tmp_path):
    folders, run, digits = finished_run(tmp_path)  # a single number in place of their weights
    with pytest.raises(CompetitionError, match="must hold the member repeat1-fold1 of this version"):
        members = plan_members(run.config, digits.train.labels)
        enlarge(run, digits, members, np.array([0]), np.full((1, 10), 0.1))
    assert "More is shown where the members’ networks can be loaded." in make_report(folders, run, digits).read_text()


def occlusion(drop, label=3):
    drops, labels = np.zeros((13, 13), np.float32), np.full((13, 13), 3)
    drops[0, 0], labels[0, 0] = drop, label
    return Occlusion(3, 0.9, drops, labels)


def test_the_map_is_orange_where_ink_supports_the_prediction_and_blue_where_it_does_not():
    for drop, color in ((0.8, FOR), (-0.8, AGAINST)):
        picture = heat_map(occlusion(drop))
        assert picture.shape == (14, 14, 4) and picture[0, 0].tolist() == [*color, 230]
        assert picture[0, 1, 3] == 115 and picture[1, 1, 3] == round(230 / 4) and not picture[2:, :, 3].any()
    assert heat_map(occlusion(0.005))[0, 0, 3] == 23  # hardly anything decides


def test_the_map_in_words():
    assert in_words(occlusion(0.8, 5), "a") == (
        "a predicts 3 for the image as it is (90.0 %), and 10.0 % without the 4×4 pixels that matter most. "
        "1 such patch of 169 would make it 5."
    )
    assert in_words(occlusion(0.1), "a").endswith("No such patch would change the digit.")
