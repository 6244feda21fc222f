import shutil

import pytest

from competition.runs import version
from competition.runs.folders import PACKAGE
from competition.runs.version import package_files, package_sha256

ROOMS = sorted({path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"studies"})


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package, hashed in its place."""
    shutil.copytree(PACKAGE, tmp_path / "competition", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("competition.runs.version.PACKAGE", tmp_path / "competition")
    return tmp_path / "competition"


def test_a_line_in_any_room_that_a_run_needs_changes_the_hash(copy):
    hashes = [package_sha256()]
    (copy / "studies" / "study.py").write_text("")
    assert package_sha256() == hashes[0]
    for folder in (copy, *(copy / room for room in ROOMS)):
        last = sorted(folder.glob("*.py"))[-1]
        last.write_text(last.read_text() + "# a line\n")
        hashes.append(package_sha256())
    assert len(ROOMS) == 7 and len(set(hashes)) == 9


def test_a_template_counts_and_where_a_file_lies_but_no_readme_and_no_cache(copy):
    before = package_sha256()
    (copy / "runs" / "README.md").write_text("for people")
    (copy / "runs" / "__pycache__").mkdir()
    (copy / "runs" / "__pycache__" / "x.pyc").write_text("")
    (copy / "runs" / ".hidden").write_text("")
    assert package_sha256() == before
    (copy / "data" / "submission.py").rename(copy / "runs" / "submission.py")
    moved = package_sha256()
    template = next((copy / "report" / "templates").glob("*.j2"))
    template.write_text(template.read_text() + " ")
    assert len({before, moved, package_sha256()}) == 3 and template in package_files()


def test_the_code_of_a_room_is_what_python_reads_of_it(monkeypatch, tmp_path):
    monkeypatch.setattr(version, "PACKAGE", tmp_path)
    network, scoring = tmp_path / "network" / "net.py", tmp_path / "ensemble" / "scoring.py"
    for path in (network, scoring, tmp_path / "ensemble" / "scoring_page.py"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x = 1\n")
    before = version.code_sha256("network"), version.code_sha256("network", "ensemble/scoring")
    (tmp_path / "ensemble" / "scoring_page.py").write_text("x = 2\n")
    network.write_text("x = 1  # one\n\n")
    assert before == (version.code_sha256("network"), version.code_sha256("network", "ensemble/scoring"))
    scoring.write_text("x = 2\n")
    assert (
        version.code_sha256("network") == before[0] and version.code_sha256("network", "ensemble/scoring") != before[1]
    )
    network.write_text("x = 2\n")
    assert version.code_sha256("network") != before[0]
