"""The subcommands and their flags, and nothing of what they do."""

import argparse
from dataclasses import fields
from pathlib import Path

from competition.config import MNIST, RECIPES, Config

SOURCES = ("auto", "kaggle", "sample", *MNIST)  # of the data; see `data.load`


def parser() -> argparse.ArgumentParser:
    """The subcommands and their flags; those of `train` come from Config's fields."""
    root = argparse.ArgumentParser("python -m competition", description="Kaggle's Digit Recognizer, done properly.")
    folders = argparse.ArgumentParser(add_help=False)
    folders.add_argument("--input", type=Path, help="folder of the CSVs or the zip (default: input/)")
    folders.add_argument("--submissions", type=Path, help="folder of the runs (default: submissions/)")
    folders.add_argument("--mnist-npz", type=Path, help="of mnist-keras data (default: where Keras keeps it)")
    settings = argparse.ArgumentParser(add_help=False)
    group = settings.add_argument_group("settings (default: the recipe's)")
    for field in fields(Config):
        if field.name != "recipe":
            group.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, metavar=field.type.__name__)
    commands = root.add_subparsers(required=True, dest="command", metavar="command")

    def command(name, text, *more):
        return commands.add_parser(name, parents=[folders, *more], help=text, description=text)

    sub = command("data", "find, download or unpack the data, and check every value")
    sub.add_argument("--source", choices=SOURCES, default="auto")

    sub = command("train", "train the ensemble and write a submission", settings)
    sub.add_argument("--recipe", choices=RECIPES, help="default: fast on the real data, quick on the sample")
    sub.add_argument("--source", choices=SOURCES, default="auto")
    sub.add_argument("--new", action="store_true", help="start a new run where an unfinished one could go on")
    sub.add_argument("--tensorboard", action="store_true", help="also write TensorBoard logs into the run's folder")
    sub.add_argument("--save-h5", action="store_true", help="also write model.h5, in Keras's legacy format")
    where = sub.add_argument_group("where the work runs (changes no setting of the run)")
    engine = where.add_mutually_exclusive_group()
    engine.add_argument("--jobs", type=int, help="members that train at once (default: what suits the machine)")
    engine.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that trains them, tcp://host:8786")
    where.add_argument("--threads", type=int, default=1, help="of one member on a CPU (default: 1; 0: all)")
    precisions = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
    where.add_argument("--precision", choices=precisions, default="auto")
    where.add_argument("--jit-compile", choices=("auto", "on", "off"), default="auto")
    where.add_argument(
        "--deterministic", action=argparse.BooleanOptionalAction, default=True, help="the same bytes again (default)"
    )

    sub = command("baselines", "train five classic systems beside ours, and print a table", settings)
    sub.add_argument("--source", choices=("auto", *MNIST), default="auto", help="of MNIST (auto: what is at hand)")
    sub.add_argument("--jobs", type=int, help="members that train at once (default: what suits the machine)")

    sub = command("blend", "average finished runs on the same data into a new one")
    sub.add_argument("--runs", required=True, metavar="RUN,RUN", help="two or more")

    sub = command("kernel", "pack the package and a recipe into a Kaggle kernel", settings)
    sub.add_argument("--recipe", choices=RECIPES, default="fast", help="default: fast")
    sub.add_argument("--kind", choices=("notebook", "script"), default="notebook", help="default: notebook")
    sub.add_argument("--username", help="on Kaggle (default: the one that the kaggle command line knows)")
    sub.add_argument("--push", action="store_true", help="run it on Kaggle and fetch its outputs")
    sub.add_argument("--unpack", type=Path, metavar="FILE", help="instead, get the sources back out of a kernel")
    sub.add_argument(
        "--into", type=Path, help="folder (default: submissions/kernel-KIND; to unpack: sources/ beside FILE)"
    )

    sub = command("notebook", "execute the walk-through of a run, into the run's folder")
    sub.add_argument("--run", help="default: the newest complete run; where there is none, one is trained")

    sub = command("check", "check a submission the way Kaggle would")
    sub.add_argument("file", type=Path)

    sub = command("submit", "send a complete run to Kaggle and wait for its score")
    sub.add_argument("--run", help="default: the newest complete run")
    sub.add_argument("--file", type=Path, help="a file instead of a run")
    sub.add_argument("--force", action="store_true", help="send again, or a file of unknown origin")
    sub.add_argument("--no-wait", dest="wait", action="store_false", help="leave the score to `make scores`")

    command("scores", "ask Kaggle for all scores: predicted against real")
    sub = command("report", "make a run's report.html, or compare two runs")
    sub.add_argument("--run", help="default: the newest complete run")
    sub.add_argument("--compare", metavar="RUN,RUN", help="two runs on the same data")

    sub = command("predict", "label a test-format CSV or pictures of single digits")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--run", help="default: the newest complete run")
    which.add_argument("--model", type=Path, help="a .keras or .h5 file of one of our networks, in place of a run")
    sub.add_argument("images", type=Path, nargs="+", help="a .csv, .csv.gz or .zip like test.csv, or PNG or JPEG files")

    sub = command("record", "copy a run's row of history.csv into the committed record")
    sub.add_argument("--run", help="default: the newest complete run")
    sub.add_argument("--remark", default="", help="what the run taught")
    return root


def chosen_settings(options) -> dict:
    """The flags that are fields of Config; None where the recipe decides."""
    return {field.name: getattr(options, field.name) for field in fields(Config) if field.name != "recipe"}
