"""The command line: one subcommand for each Makefile target. What a subcommand needs is imported when called."""

import argparse
import importlib.util
import shlex
import signal
import sys
import time
from dataclasses import fields
from pathlib import Path

from competition.config import MNIST, RECIPES, Config
from competition.errors import CompetitionError
from competition.folders import Folders

SOURCES = ("auto", "kaggle", "sample", *MNIST)  # of the data; see `data.load`


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; a CompetitionError becomes one line and exit code 1, a signal its own exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    try:
        options.run_command(options, Folders.find(options.input, options.submissions, options.mnist_npz))
    except CompetitionError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        again = shlex.join([sys.executable, "-m", "competition", *(word for word in arguments if word != "--new")])
        print(f"\nStopped. What is finished is kept. Next: {again}", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:
        sys.stdout = None  # nobody reads on, as after `| head`: nor is there anything to flush at the end
        return 128 + signal.SIGPIPE
    except OSError as error:
        what = error.filename or "A file"
        said = f"Error: {what} must be readable and writable. Received: {error.strerror or error}. "
        print(f"{said}Next: make it so; the same command goes on from what is kept.", file=sys.stderr)
        return 1
    return 0


def stop(number: int, frame) -> None:
    """What SIGTERM and SIGHUP do: the same as Ctrl-C."""
    raise KeyboardInterrupt(number)


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
    commands = root.add_subparsers(required=True, metavar="command")

    def command(name, function, text, *more):
        sub = commands.add_parser(name, parents=[folders, *more], help=text, description=text)
        sub.set_defaults(run_command=function)
        return sub

    sub = command("data", make_data, "find, download or unpack the data, and check every value")
    sub.add_argument("--source", choices=SOURCES, default="auto")

    sub = command("train", make_train, "train the ensemble and write a submission", settings)
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

    sub = command("baselines", make_baselines, "train five classic systems beside ours, and print a table", settings)
    sub.add_argument("--source", choices=("auto", *MNIST), default="auto", help="of MNIST (auto: what is at hand)")
    sub.add_argument("--jobs", type=int, help="members that train at once (default: what suits the machine)")

    sub = command("blend", make_blend, "average finished runs on the same data into a new one")
    sub.add_argument("--runs", required=True, metavar="RUN,RUN", help="two or more")

    sub = command("kernel", make_kernel, "pack the package and a recipe into a Kaggle kernel", settings)
    sub.add_argument("--recipe", choices=RECIPES, default="fast", help="default: fast")
    sub.add_argument("--kind", choices=("notebook", "script"), default="notebook", help="default: notebook")
    sub.add_argument("--username", help="on Kaggle (default: the one that the kaggle command line knows)")
    sub.add_argument("--push", action="store_true", help="run it on Kaggle and fetch its outputs")
    sub.add_argument("--unpack", type=Path, metavar="FILE", help="instead, get the sources back out of a kernel")
    sub.add_argument(
        "--into", type=Path, help="folder (default: submissions/kernel-KIND; to unpack: sources/ beside FILE)"
    )

    sub = command("notebook", make_notebook, "execute the walk-through of a run, into the run's folder")
    sub.add_argument("--run", help="default: the newest complete run; where there is none, one is trained")

    sub = command("check", make_check, "check a submission the way Kaggle would")
    sub.add_argument("file", type=Path)

    sub = command("submit", make_submit, "send a complete run to Kaggle and wait for its score")
    sub.add_argument("--run", help="default: the newest complete run")
    sub.add_argument("--file", type=Path, help="a file instead of a run")
    sub.add_argument("--force", action="store_true", help="send again, or a file of unknown origin")
    sub.add_argument("--no-wait", dest="wait", action="store_false", help="leave the score to `make scores`")

    command("scores", make_scores, "ask Kaggle for all scores: predicted against real")
    sub = command("report", make_report_page, "make a run's report.html, or compare two runs")
    sub.add_argument("--run", help="default: the newest complete run")
    sub.add_argument("--compare", metavar="RUN,RUN", help="two runs on the same data")

    sub = command("predict", make_predict, "label a test-format CSV or pictures of single digits")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--run", help="default: the newest complete run")
    which.add_argument("--model", type=Path, help="a .keras or .h5 file of one of our networks, in place of a run")
    sub.add_argument("images", type=Path, nargs="+", help="a .csv, .csv.gz or .zip like test.csv, or PNG or JPEG files")

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

    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise CompetitionError("TENSORBOARD=1 needs the package. Received: none. Next: pip install tensorboard.")
    if options.tensorboard and options.scheduler:
        raise CompetitionError(
            "TENSORBOARD=1 logs what trains on this machine. Received: SCHEDULER= as well. Next: one without the other."
        )
    setup = choose_setup(options.precision, options.jit_compile, options.threads, options.deterministic)
    pipeline.train(
        folders,
        setup,
        options.recipe,
        chosen_settings(options),
        options.source,
        options.jobs,
        options.new,
        options.tensorboard,
        options.scheduler,
        options.save_h5,
    )


def make_baselines(options, folders: Folders) -> None:
    """`make baselines`."""
    from competition import baselines

    print(baselines.compare(folders, chosen_settings(options), options.source, options.jobs))


def make_blend(options, folders: Folders) -> None:
    """`make blend`."""
    from competition import blend

    blend.blend(folders, options.runs.split(","))


def make_kernel(options, folders: Folders) -> None:
    """`make kernel`."""
    from competition import kaggle_cli, kernel

    if options.unpack:
        return print(
            "\n".join(map(str, kernel.unpack(options.unpack, options.into or options.unpack.parent / "sources")))
        )
    folder = options.into or folders.submissions / f"kernel-{options.kind}"
    owner = options.username or kaggle_cli.username()
    print(kernel.pack(folder, owner, options.recipe, chosen_settings(options), options.kind))
    if options.push:
        from competition import remote

        remote.run_on_kaggle(folders, folder)


def make_notebook(options, folders: Folders) -> None:
    """`make notebook`."""
    from competition import kernel, runs

    if options.run or any(run.complete for run in runs.list_runs(folders)):
        run = runs.find_run(folders, options.run)
    else:
        from competition import pipeline
        from competition.device import choose_setup

        run = pipeline.train(folders, choose_setup())
    print(kernel.execute(folders, run))


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


def make_report_page(options, folders: Folders) -> None:
    """`make report`."""
    from competition import compare, data, report, runs

    if options.compare:
        names = options.compare.split(",")
        if len(names) != 2:
            raise CompetitionError(f"COMPARE takes two runs. Received: {options.compare}. Next: COMPARE=run-a,run-b.")
        pair = [runs.find_run(folders, name) for name in names]
        print(compare.make_comparison(folders, *pair, data.load_again(folders, pair[0].manifest)))
    else:
        run = runs.find_run(folders, options.run)
        print(report.make_report(folders, run, data.load_again(folders, run.manifest)))


def make_predict(options, folders: Folders) -> None:
    """Label digits with a run's ensemble; CSV on the standard output."""
    from competition import predict

    predict.print_predictions(folders, options.run, options.images, options.model)


def make_record(options, folders: Folders) -> None:
    """`make record`."""
    from competition import history

    row = history.add_to_record(folders, options.run, options.remark)
    print(f"{folders.record}: {row['run']} is recorded.")


def chosen_settings(options) -> dict:
    """The flags that are fields of Config; None where the recipe decides."""
    return {field.name: getattr(options, field.name) for field in fields(Config) if field.name != "recipe"}


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # where the locale lacks a character
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    sys.exit(main())
