"""Commands as a user gives them: through make to the command line, and what the small ones do."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from competition import __main__, commands
from competition.runs.folders import ROOT
from tests.runs.test_run import finish, folders, start

folders = folders

ODD = 'it\'s a "größer" $HOME name'
TARGETS = re.findall(r"^([a-z-]+):.*## ", Path(ROOT, "Makefile").read_text(), re.MULTILINE)
OURS = re.findall(r"^([a-z]+): takes =", Path(ROOT, "Makefile").read_text(), re.MULTILINE)


@pytest.fixture
def make(tmp_path):
    """Run make in an empty folder with a Python that prints its arguments, a line each; the lines."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    python.chmod(0o755)
    (tmp_path / "here").mkdir()

    def run(target, *settings):
        settings = [setting.replace("$", "$$") for setting in settings]  # make's own sign
        command = ["make", "-f", ROOT / "Makefile", target, "VENV=", f"PYTHON={python}", *settings]
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(
            command, cwd=tmp_path / "here", env=outside, capture_output=True, text=True, timeout=60
        )  # inside `make test` it would tell which folder it enters
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize(
    ("target", "settings", "options"),
    (
        ("data", ["ARGS=--source sample"], {"source": "sample"}),
        ("check", [f"FILE={ODD}"], {"file": Path(ODD)}),
        ("train", ["RECIPE=best", "JOBS=3", "NEW=1", "TENSORBOARD=1", "ARGS=--epochs 20 --save-h5"],
         {"recipe": "best", "jobs": 3, "new": True, "tensorboard": True, "epochs": 20, "save_h5": True}),
        ("train", ["SCHEDULER=tcp://host:8786"], {"scheduler": "tcp://host:8786", "jobs": None, "new": False}),
        ("baselines", ["JOBS=2"], {"jobs": 2, "reference": False, "minutes": None}),
        ("baselines", ["REFERENCE=1", "MINUTES=90"], {"reference": True, "minutes": 90}),
        ("coverage", [], {"count": None, "seed": 1000, "jobs": None}),
        ("coverage", ["JOBS=1", "ARGS=3 99"], {"count": 3, "seed": 99, "jobs": 1}),
        ("blend", [f"RUNS={ODD},b"], {"runs": f"{ODD},b"}),
        ("submit", [f"RUN={ODD}", "ARGS=--force"], {"run": ODD, "file": None, "force": True, "wait": True}),
        ("submit", [f"FILE={ODD}.csv"], {"run": None, "file": Path(f"{ODD}.csv"), "force": False}),
        ("scores", [], {}),
        ("kernel", ["KIND=script", "RECIPE=quick", "PUSH=1"], {"kind": "script", "recipe": "quick", "push": True}),
        ("kernel", [f"UNPACK={ODD}.py"], {"unpack": Path(f"{ODD}.py"), "kind": "notebook", "push": False}),
        ("notebook", [f"RUN={ODD}"], {"run": ODD}),
        ("report", [f"RUN={ODD}"], {"run": ODD, "compare": None}),
        ("report", [f"COMPARE={ODD},b"], {"run": None, "compare": f"{ODD},b"}),
        ("predict", [f"MODEL={ODD}.h5", "IMAGES=a.png b.png"], {"model": Path(f"{ODD}.h5"), "run": None}),
        ("record", [f"RUN={ODD}", f"REMARK={ODD}, twice"], {"run": ODD, "remark": f"{ODD}, twice"}),
        ("record", [], {"run": None, "remark": ""}),
    ),
)  # fmt: skip
def test_a_target_gives_the_command_what_it_was_told(make, target, settings, options):
    module, package, *arguments = make(target, *settings)
    parsed = vars(__main__.parser().parse_args(arguments))
    assert (module, package, arguments[0]) == ("-m", "competition", target)
    assert {name: parsed[name] for name in options} == options


@pytest.mark.parametrize(
    ("words", "said"),
    (
        ("train --recipe quik", 'is one of fast, .*Received: quik. Next: make train ARGS="--recipe quick".'),
        ("trian", "is one of data, .* Received: trian. Next: make train."),
        ("draw --port abc", "--port is a whole number. Received: abc. Next: make draw, which chooses."),
        ("train --learning-rate 3,5", "--learning-rate is a number. Received: 3,5. Next: make train, which chooses."),
        ("predict", "`make predict` needs IMAGES=. Received: nothing. Next: make predict ARGS=--help."),
        ("blend", "`make blend` needs RUNS=. Received: nothing. Next: make blend ARGS=--help."),
        ("train --epoch-count 3", 'Received: --epoch-count 3. Next: make train ARGS="--epochs …".'),
        ("scores now", "`make scores` takes certain flags. Received: now. Next: make scores ARGS=--help."),
        ("train --jobs", "Received: --jobs: expected one argument. Next: make train ARGS=--help."),
        ("", "needs COMMAND=. Received: nothing. Next: make ARGS=--help."),
    ),
)
def test_a_wrong_argument_is_refused_in_one_line_with_the_nearest_valid_one(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        __main__.parser().parse_args(words.split())
    assert stop.value.code == 2
    assert re.fullmatch(f"Error: .*{said}\n", capsys.readouterr().err)


def test_the_nearest_value_is_named_as_make_takes_it(monkeypatch, capsys):
    monkeypatch.setenv("RECIPE", "quik")  # as make exports what it is given
    with pytest.raises(SystemExit):
        __main__.parser().parse_args(["train", "--recipe", "quik"])
    assert capsys.readouterr().err.endswith("Received: quik. Next: make train RECIPE=quick.\n")


def through_make(*words, python=sys.executable, **settings):
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | settings
    command = ["make", "VENV=", f"PYTHON={python}", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_settings_of_python_that_are_ours_to_set_are_set():
    done = through_make("train", "ARGS=--help", PYTHONSAFEPATH="1", PYTHONOPTIMIZE="2")
    assert done.returncode == 0 and "train the ensemble and write a submission" in done.stdout, done.stderr


def test_docstrings_that_python_drops_cost_help_and_nothing_else():
    command = [sys.executable, "-OO", "-m", "competition", "data", "--source", "sample"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "6000 training and 2000 test digits" in done.stdout, done.stderr


def test_a_python_without_the_packages_is_refused_in_one_line(tmp_path):
    bare = through_make("data", python=f"{sys.executable} -S")  # no site-packages
    (tmp_path / "numpy.py").write_text("raise ImportError('numpy\\nof another Python')")
    other = through_make("data", "ARGS=--source sample", PYTHONPATH=str(tmp_path))
    for done, received, following in (
        (
            bare,
            "No module named 'pydantic', in Python 3",
            r"python\S* -m pip install -r requirements.txt -c constraints",
        ),
        (other, f"numpy of another Python, in Python .* with PYTHONPATH={tmp_path}", "unset PYTHONPATH, then the same"),
    ):
        first, *rest = done.stderr.splitlines()
        assert re.search(rf"^Error: Python .* is needed, .* Received: {received}.* Next: .*{following}", first), done
        assert all(line.startswith("make: ") for line in rest), done.stderr


def test_a_python_that_no_tensorflow_runs_on_is_refused_in_one_line(tmp_path):
    """Its environment is not begun; the line names one that is installed."""
    for name, version in (("python3", "3.14.2"), ("python3.13", "gone"), ("python3.12", "3.12.9")):
        fits = f"exec {shlex.quote(sys.executable)} -c ''" if version == "3.12.9" else "exit 1"
        (tmp_path / name).write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python {version} && exit\n{fits}\n')
        (tmp_path / name).chmod(0o755)
    words = ["make", "train", f"VENV={tmp_path / 'made'}"]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(words, cwd=ROOT, env={"PATH": path}, capture_output=True, text=True, timeout=60)
    first, *rest = done.stderr.splitlines()
    received = "Received: Python 3.14.2, as python3. Next: make train PYTHON3=python3.12."
    assert done.returncode and first == f"Python 3.11, 3.12 or 3.13 is needed, with its venv. {received}"
    assert all(line.startswith("make: ") for line in rest) and not (tmp_path / "made").exists()


def test_images_are_one_file_or_several_as_a_shell_takes_them(make, tmp_path):
    for name in (f"{ODD}.png", "my a.png", "b.png"):
        (tmp_path / "here" / name).touch()
    for images, paths in (
        (f"{ODD}.png", [f"{ODD}.png"]),
        ("my a.png", ["my a.png"]),
        ("b.png other.csv", ["b.png", "other.csv"]),
        ("'my a.png' b.png", ["my a.png", "b.png"]),
        ("*a.png b.*", ["my a.png", "b.png"]),
    ):
        parsed = __main__.parser().parse_args(make("predict", f"IMAGES={images}", f"RUN={ODD}")[2:])
        assert (parsed.images, parsed.run) == ([Path(path) for path in paths], ODD)


def test_the_other_targets(make):
    functions = {
        name for name, value in vars(commands).items() if getattr(value, "__module__", "") == commands.__name__
    }
    assert set(OURS) == {name for name in functions if not name.startswith("_")} - {"chosen_settings"}
    assert set(TARGETS) == {*OURS, "help", "test", "test-all", "bench", "soak", "fuzz", "lint", "constraints", "clean"}
    lint = ["-m", "ruff", "check", "--quiet", ".", "-m", "ruff", "format", "--check", "--quiet", "."]
    lint += ["-m", "mypy", "--no-error-summary"]
    tests = ["-m", "pytest", "-n", "auto", "--dist", "loadfile"]
    assert make("lint") == lint and make("test", "ARGS=-x tests/data") == [*lint, *tests, "-x", "tests/data"]
    assert make("test-all") == [*lint, *tests, "-m", "slow or not slow"]
    assert make("bench", "ARGS=reading step") == ["-m", "tests.bench", "reading", "step"]
    assert make("soak", "ARGS=9 7") == ["-m", "tests.soak", "9", "7"] and make("fuzz") == ["-m", "tests.fuzz"]
    said = make("help")
    listed = [line.split() for line in said if line.split()[0] == "make"]  # what a target takes may stand below it
    assert [words[1] for words in listed] == TARGETS and all(len(words) > 4 for words in listed)
    assert max(map(len, said)) <= 80


def test_clean_takes_the_environment_and_caches_and_nothing_else(make, tmp_path):
    here = tmp_path / "here"
    gone = (".venv/x", ".pytest_cache/x", "competition/runs/__pycache__/x")
    kept = ("submissions/run/done.json", "submissions/.cache/x.npy", "input/train.csv", "competition/config.py")
    for name in (*gone, *kept):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).touch()
    make("clean")
    assert {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()} == set(kept)


def test_check_gives_the_verdict_on_a_file(tmp_path, capsys):
    path = tmp_path / "my submission.csv"
    check = ["check", str(path), "--input", str(tmp_path / "none"), "--submissions", str(tmp_path / "runs")]
    rows = [f"{i},{i % 10}" for i in range(1, 28_001)]
    path.write_text("\n".join(["ImageId,Label", *rows, ""]))
    assert __main__.main(check) == 0
    assert capsys.readouterr().out.startswith(f"{path}: in form, for Kaggle.\n")
    path.write_text("\n".join(["ImageId,Label", *rows[:-1], ""]))
    assert __main__.main(check) == 1
    said = capsys.readouterr()
    assert said.out == "" and re.match(r"Error: .*28000 rows\. Received: 27999\. Next: .*\n$", said.err)


def test_record_copies_a_runs_row_with_its_remark(folders, capsys):
    runs = []
    for name in ("one", "two"):
        run = start(folders, {"settings": {}, "data": [name, "b"], "precision": "float32"})
        finish(folders, run)
        runs.append(run.name)
    capsys.readouterr()
    where = ("--submissions", str(folders.submissions))
    for options in ([], ["--run", runs[0], "--remark", "taught a lot"]):
        assert __main__.main(["record", *options, *where]) == 0
    said = [f"{folders.record}: {name} is recorded." for name in reversed(runs)]  # the newest, then the named one
    assert capsys.readouterr().out.splitlines() == said
    rows = folders.record.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["run", *reversed(runs)] and rows[2].endswith(",taught a lot")
    assert __main__.main(["record", "--run", "other", *where]) == 1
    assert "Error: RUN names a run in" in capsys.readouterr().err
