"""The command line: one subcommand for each Makefile target. What a subcommand needs is imported when called."""

import argparse
import sys
import time
from dataclasses import fields
from pathlib import Path

from competition.config import RECIPES, Config
from competition.errors import CompetitionError
from competition.runs import Folders


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; a CompetitionError becomes one line and exit code 1."""
    options = parser().parse_args(arguments)
    try:
        options.run_command(options, Folders.find(options.input, options.submissions))
    except CompetitionError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept: the same command goes on from there.", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The subcommands and their flags; those of `train` come from Config's fields."""
    root = argparse.ArgumentParser("python -m competition", description="Kaggle's Digit Recognizer, done properly.")
    folders = argparse.ArgumentParser(add_help=False)
    folders.add_argument("--input", type=Path, help="folder of the CSVs or the zip (default: input/)")
    folders.add_argument("--submissions", type=Path, help="folder of the runs (default: submissions/)")
    commands = root.add_subparsers(required=True, metavar="command")

    def command(name, function, text):
        sub = commands.add_parser(name, parents=[folders], help=text, description=text)
        sub.set_defaults(run_command=function)
        return sub

    sub = command("data", make_data, "find, download or unpack the data, and check every value")
    sub.add_argument("--source", choices=("auto", "kaggle", "sample"), default="auto")

    sub = command("train", make_train, "train the ensemble and write a submission")
    sub.add_argument("--recipe", choices=RECIPES, help="default: fast on the real data, quick on the sample")
    sub.add_argument("--source", choices=("auto", "kaggle", "sample"), default="auto")
    sub.add_argument("--new", action="store_true", help="start a new run where an unfinished one could go on")
    where = sub.add_argument_group("where the work runs (changes no setting of the run)")
    where.add_argument("--jobs", type=int, help="members that train at once (default: what suits the machine)")
    where.add_argument("--threads", type=int, default=1, help="of one member on a CPU (default: 1)")
    precisions = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
    where.add_argument("--precision", choices=precisions, default="auto")
    where.add_argument("--jit-compile", choices=("auto", "on", "off"), default="auto")
    settings = sub.add_argument_group("settings (default: the recipe's)")
    for field in fields(Config):
        if field.name != "recipe":
            settings.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, metavar=field.type.__name__)

    sub = command("check", make_check, "check a submission the way Kaggle would")
    sub.add_argument("file", type=Path)

    sub = command("submit", make_submit, "send a complete run to Kaggle and wait for its score")
    sub.add_argument("--run", help="default: the newest complete run")
    sub.add_argument("--file", type=Path, help="a file instead of a run")
    sub.add_argument("--force", action="store_true", help="send again, or a file of unknown origin")
    sub.add_argument("--no-wait", dest="wait", action="store_false", help="leave the score to `make scores`")

    command("scores", make_scores, "ask Kaggle for all scores: predicted against real")

    sub = command("record", make_record, "copy a run's row of history.csv into the committed record")
    sub.add_argument("--run", help="default: the newest complete run")
    sub.add_argument("--remark", default="", help="what the run taught")
    return root


def make_data(options, folders: Folders) -> None:
    """`make data`."""
    from competition import data

    started = time.perf_counter()
    digits = data.load(folders, options.source)
    counts = f"{len(digits.train)} training and {len(digits.test)} test digits"
    print(f"{counts}, checked in {time.perf_counter() - started:.1f} s. Source: {digits.source}.")


def make_train(options, folders: Folders) -> None:
    """`make train`."""
    from competition import pipeline
    from competition.device import choose_setup

    setup = choose_setup(options.precision, options.jit_compile, options.threads)
    settings = {field.name: getattr(options, field.name) for field in fields(Config) if field.name != "recipe"}
    pipeline.train(folders, setup, options.recipe, settings, options.source, options.jobs, options.new)


def make_check(options, folders: Folders) -> None:
    """Check one submission file."""
    from competition.submission import check_submission

    warnings = check_submission(options.file)
    print("\n".join([f"{options.file}: Kaggle would accept it.", *warnings]))


def make_submit(options, folders: Folders) -> None:
    """`make submit`."""
    from competition import leaderboard

    leaderboard.submit(folders, options.run, options.file, options.force, options.wait)


def make_scores(options, folders: Folders) -> None:
    """`make scores`."""
    from competition import leaderboard

    print(leaderboard.table(leaderboard.refresh(folders)))


def make_record(options, folders: Folders) -> None:
    """`make record`."""
    from competition import runs

    row = runs.add_to_record(folders, options.run, options.remark)
    print(f"{folders.record}: {row['run']} is recorded.")


if __name__ == "__main__":
    sys.exit(main())
