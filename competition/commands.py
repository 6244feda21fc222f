"""The command line: one subcommand for each Makefile target that runs the package; each imports what it needs."""

import time
from argparse import ArgumentParser, BooleanOptionalAction
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

from competition.config import MNIST, RECIPES, Config
from competition.data.facts import REAL
from competition.errors import CompetitionError
from competition.runs.folders import Folders


def parser() -> ArgumentParser:
    """The subcommands, each with its function's docstring, and their flags; the settings' come from Config's fields."""
    root = ArgumentParser("python -m competition", description="Kaggle's Digit Recognizer, done properly.")
    folders = ArgumentParser(add_help=False)
    folders.add_argument("--input", type=Path, help="folder of the CSVs or the zip (default: input/)")
    folders.add_argument("--submissions", type=Path, help="folder of the runs (default: submissions/)")
    folders.add_argument("--mnist-npz", type=Path, help="of mnist-keras data (default: where Keras keeps it)")
    settings = ArgumentParser(add_help=False)
    group = settings.add_argument_group("settings (default: the recipe's)")
    for name, kind in get_type_hints(Config).items():
        if name != "recipe":
            said = Config.__pydantic_fields__[name].description
            group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=kind.__name__, help=said)
    source = ArgumentParser(add_help=False)
    source.add_argument("--source", choices=("auto", REAL, "sample", *MNIST), default="auto", help="of the data")
    place = ArgumentParser(add_help=False)
    engine = place.add_mutually_exclusive_group()
    engine.add_argument("--jobs", type=int, help="members that train at once (default: what suits the machine)")
    engine.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that trains them, tcp://host:8786")
    run = ArgumentParser(add_help=False)
    run.add_argument("--run", help="default: the newest complete run")
    commands = root.add_subparsers(required=True, metavar="command")

    def command(function, *more):
        text = function.__doc__.rstrip(".")
        sub = commands.add_parser(function.__name__, parents=[folders, *more], help=text, description=text)
        sub.set_defaults(function=function)
        return sub

    command(data, source)

    sub = command(train, settings, source, place)
    sub.add_argument("--recipe", choices=RECIPES, help="default: fast on the real data, quick on the sample")
    sub.add_argument("--new", action="store_true", help="start a new run where an unfinished one could go on")
    sub.add_argument("--tensorboard", action="store_true", help="also write TensorBoard logs into the run's folder")
    sub.add_argument("--save-h5", action="store_true", help="also write model.h5, in Keras's legacy format")
    sub.add_argument("--minutes", type=float, help="for all of it: the members that fit (default: all members)")
    where = sub.add_argument_group("how each process computes (no settings, but of other bytes: a new run)")
    where.add_argument("--threads", type=int, help="of one member on a CPU (default: what suits the machine; 0: all)")
    where.add_argument("--precision", choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"), default="auto")
    where.add_argument("--jit-compile", choices=("auto", "on", "off"), default="auto")
    where.add_argument("--deterministic", action=BooleanOptionalAction, default=True, help="the same bytes again")

    sub = command(baselines, settings)
    sub.add_argument("--source", choices=("auto", *MNIST), default="auto", help="of MNIST (auto: what is at hand)")
    sub.add_argument("--jobs", type=int, help="as for train")
    sub.add_argument("--reference", action="store_true", help="train the best public recipe too, which takes hours")
    sub.add_argument("--minutes", type=float, help="with --reference: what it may take; as many of its nets as fit")

    sub = command(blend)
    sub.add_argument("--runs", required=True, metavar="RUN,RUN", help="two or more")

    sub = command(study, source, place)
    sub.add_argument("--base", default="", help="a recipe and settings, like fast,width=0.5 (default: as for train)")
    sub.add_argument("--changes", default="", help="of the base, like 'epochs=14; width=0.5,dropout=0.1'")
    sub.add_argument("--seeds", type=int, default=2, help="how often all is trained (default: 2)")
    sub.add_argument("--full", action="store_true", help="on the recipe's own folds, to confirm what won on thirds")
    sub.add_argument("--name", help="of the table and the page in submissions/studies/")

    sub = command(kernel, settings)
    sub.add_argument("--recipe", choices=RECIPES, default="best", help="default: best")
    sub.add_argument("--minutes", type=float, help="that it trains (default: what Kaggle's limit leaves)")
    sub.add_argument("--kind", choices=("notebook", "script"), default="notebook", help="default: notebook")
    sub.add_argument("--username", help="on Kaggle (default: the one that the kaggle command line knows)")
    sub.add_argument("--push", action="store_true", help="run it on Kaggle and fetch its outputs")
    sub.add_argument("--unpack", type=Path, metavar="FILE", help="instead, get the package back out of a kernel")
    sub.add_argument("--into", type=Path, help="folder (default: submissions/kernel-KIND, or unpacked/ beside FILE)")

    command(notebook, run)

    sub = command(check)
    sub.add_argument("file", type=Path)

    sub = command(submit, run)
    sub.add_argument("--file", type=Path, help="a file instead of a run")
    sub.add_argument("--force", action="store_true", help="send again, a file of unknown origin, or one too many today")
    sub.add_argument("--no-wait", dest="wait", action="store_false", help="leave the score to `make scores`")

    sub = command(coverage)
    sub.add_argument("count", type=int, nargs="?", help="of small competitions (default: the full study, for hours)")
    # The prediction was mended after a look at the draws of seeds 0 to 2: others have to judge it
    sub.add_argument("seed", type=int, nargs="?", default=1000, help="of the first (default: 1000)")
    sub.add_argument("--jobs", type=int, help="as for train")

    command(scores)

    sub = command(report, run)
    sub.add_argument("--compare", metavar="RUN,RUN", help="two runs on the same data")

    sub = command(predict)
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--run", help="default: the newest complete run")
    which.add_argument("--model", type=Path, help="a .keras or .h5 file of one of our networks, in place of a run")
    sub.add_argument("images", type=Path, nargs="+", help="a .csv, .csv.gz or .zip like test.csv, or PNG or JPEG files")

    sub = command(draw, run)
    sub.add_argument("--port", type=int, help="of the page (default: 8028, or the next that is free)")
    sub.add_argument("--no-browser", dest="browser", action="store_false", help="print the address and open nothing")

    sub = command(record, run)
    sub.add_argument("--remark", default="", help="what the run taught")
    return root


def chosen_settings(options) -> dict:
    """The flags that are fields of Config; None where the recipe decides."""
    return _of(options, (field.name for field in fields(Config) if field.name != "recipe"))


def _of(options, names) -> dict:
    return {name: getattr(options, name) for name in names}


def data(options, folders: Folders) -> None:
    """find, download or unpack the data, and check every value."""
    from competition.data.dataset import load_dataset
    from competition.kaggle.download import fetch_missing

    started = time.perf_counter()
    fetch_missing(folders, options.source)
    dataset = load_dataset(folders, options.source)
    counts = f"{len(dataset.train)} training and {len(dataset.test)} test digits"
    print(f"{counts}, checked in {time.perf_counter() - started:.1f} s. Source: {dataset.source}.")


def train(options, folders: Folders) -> None:
    """train the ensemble and write a submission."""
    from competition import pipeline
    from competition.network.device import choose_setup

    setup = choose_setup(options.precision, options.jit_compile, options.threads, options.deterministic)
    names = ("source", "jobs", "new", "tensorboard", "scheduler", "save_h5", "minutes")
    pipeline.train(folders, setup, options.recipe, chosen_settings(options), **_of(options, names))


def baselines(options, folders: Folders) -> None:
    """train six classic systems, and print them beside our `fast` of the record."""
    from competition import pipeline
    from competition.ensemble.baselines import write_table
    from competition.kaggle.download import fetch_missing

    fetch_missing(folders)
    names = ("source", "jobs", "reference", "minutes")
    print(write_table(folders, chosen_settings(options), pipeline.train, **_of(options, names)))


def blend(options, folders: Folders) -> None:
    """average finished runs on the same data into a new one."""
    from competition import pipeline

    pipeline.blend(folders, options.runs.split(","))


def study(options, folders: Folders) -> None:
    """tell which changes of a recipe are better, worse, or too small to be seen."""
    from competition import pipeline

    names = ("base", "changes", "seeds", "full", "name", "source", "jobs", "scheduler")
    pipeline.study(folders, **_of(options, names))


def coverage(options, folders: Folders) -> None:
    """simulate competitions out of train.csv, and tell how often the predicted interval held."""
    from competition import pipeline

    print(pipeline.coverage(folders, **_of(options, ("count", "seed", "jobs"))))


def kernel(options, folders: Folders) -> None:
    """pack the package and a recipe into a Kaggle kernel."""
    from competition.kaggle import cli
    from competition.kaggle.kernel import pack, unpack
    from competition.kaggle.kernel_run import run_on_kaggle

    if options.unpack:
        return print(*unpack(options.unpack, options.into or options.unpack.parent / "unpacked"), sep="\n")
    folder = options.into or folders.submissions / f"kernel-{options.kind}"
    owner = options.username or cli.username()
    print(pack(folder, owner, options.recipe, chosen_settings(options), options.kind, options.minutes))
    if options.push:
        run_on_kaggle(folders, folder)


def notebook(options, folders: Folders) -> None:
    """execute the walk-through of a run, into the run's folder; where there is no run, one is trained."""
    from competition.kaggle.notebook import execute
    from competition.runs.run import find_run, list_runs

    if options.run or any(run.complete for run in list_runs(folders)):
        run = find_run(folders, options.run)
    else:
        from competition import pipeline
        from competition.network.device import choose_setup

        run = pipeline.train(folders, choose_setup())
    print(execute(folders, run))


def check(options, folders: Folders) -> None:
    """check a submission the way Kaggle would."""
    from competition.kaggle.submission import check_submission

    print("\n".join([f"{options.file}: Kaggle would accept it.", *check_submission(options.file)]))


def submit(options, folders: Folders) -> None:
    """send a complete run to Kaggle and wait for its score."""
    from competition.kaggle import leaderboard

    leaderboard.submit(folders, options.run, options.file, options.force, options.wait)


def scores(options, folders: Folders) -> None:
    """ask Kaggle for all scores: predicted against real."""
    from competition.kaggle import leaderboard

    print(leaderboard.table(leaderboard.refresh(folders)))


def report(options, folders: Folders) -> None:
    """make a run's report.html, or compare two runs."""
    from competition.data.dataset import load_dataset_of
    from competition.report.comparison import make_comparison
    from competition.report.run_page import make_report
    from competition.runs.run import find_run

    if options.compare:
        if options.compare.count(",") != 1:
            raise CompetitionError(f"COMPARE takes two runs. Received: {options.compare}. Next: COMPARE=run-a,run-b.")
        pair = [find_run(folders, name) for name in options.compare.split(",")]
        print(make_comparison(folders, *pair, load_dataset_of(folders, pair[0].manifest)))
    else:
        run = find_run(folders, options.run)
        print(make_report(folders, run, load_dataset_of(folders, run.manifest)))


def predict(options, folders: Folders) -> None:
    """label a test-format CSV or pictures of single digits."""
    from competition.ensemble.predict import print_predictions

    print_predictions(folders, options.run, options.images, options.model)


def draw(options, folders: Folders) -> None:
    """open a page to draw digits on and watch a run read them."""
    from competition.report.draw import serve

    serve(folders, options.run, options.port, options.browser)


def record(options, folders: Folders) -> None:
    """copy a run's row of history.csv into the committed record."""
    from competition.runs import registry

    row = registry.record(folders, options.run, options.remark)
    print(f"{folders.record}: {row['run']} is recorded.")
