"""`python -m competition`: its commands and flags; run one, and end as a user expects whatever happens."""

import importlib.util
import io
import os
import re
import shlex
import signal
import sys
import threading
from pathlib import Path

from competition.errors import CompetitionError, import_refusal

try:
    if sys.version_info < (3, 11):  # noqa: UP036 (an older one gets here by VENV=)
        raise ImportError("an older Python")
    from argparse import ArgumentParser, BooleanOptionalAction
    from difflib import get_close_matches
    from typing import NoReturn, get_type_hints

    from competition import commands
    from competition.config import FIELDS, MNIST, RECIPES, Config, values_of
    from competition.data.constants import REAL
    from competition.runs.folders import Folders
except ImportError as error:
    sys.exit(f"Error: {import_refusal(error)}")


class Parser(ArgumentParser):
    """An ArgumentParser that refuses a wrong argument in one line, with the nearest valid value, and exits 2."""

    def parse_known_args(self, args=None, namespace=None):
        """Refuse unknown arguments here, where the command's own flags are known."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {shlex.join(unknown)}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Say in this package's form what argparse found."""
        target = ("make " + self.prog.rpartition(" competition")[2].strip()).strip()
        where, _, problem = message.removeprefix("argument ").partition(": ")
        variable = where.strip("-").upper()  # make exports what it is given
        rule, received, following = f"`{target}` takes certain arguments", f"{where}: {problem}", ""
        if choice := re.match(r"invalid choice: '(.*)' \(choose from (.*)\)", problem):
            names = re.findall(r"[\w-]+", choice[2])
            rule, received = f"{where} is one of {', '.join(names)}", choice[1]
            nearest = get_close_matches(received, names, 1, 0)[0]
            flag = f"{variable}={nearest}" if os.environ.get(variable) == received else f'ARGS="{where} {nearest}"'
            following = f"{target} {flag if where.startswith('--') else nearest}"
        elif value := re.match(r"invalid (int|float) value: '(.*)'", problem):
            rule, received = f"{where} is a {'whole ' if value[1] == 'int' else ''}number", value[2]
            following = f"{target}, which chooses"
        elif where == "the following arguments are required":
            rule, received = f"`{target}` needs {problem.lstrip('-').upper()}=", "nothing"
        elif where == "unrecognized arguments":
            flags = [flag for action in self._actions for flag in action.option_strings]
            near = get_close_matches(problem.split()[0], flags, 1)
            rule, received = f"`{target}` takes certain flags", problem
            following = f'{target} ARGS="{near[0]} …"' if near else ""
        self.exit(2, f"Error: {rule}. Received: {received}. Next: {following or f'{target} ARGS=--help'}.\n")


def parser() -> ArgumentParser:
    """The subcommands, each with its function's docstring, and their flags; the settings' come from Config's fields."""
    root = Parser("python -m competition", description="Kaggle's Digit Recognizer, done properly.")
    folders = Parser(add_help=False)
    folders.add_argument("--input", type=Path, help="folder of the CSVs or the zip (default: input/)")
    folders.add_argument("--submissions", type=Path, help="folder of the runs (default: submissions/)")
    folders.add_argument("--mnist-npz", type=Path, help="path of mnist.npz (default: Keras's cache)")
    settings = Parser(add_help=False)
    group = settings.add_argument_group("settings (default: the recipe's)")
    for name, kind in get_type_hints(Config).items():
        if name != "recipe":
            field = FIELDS[name]
            default = field.default if kind is str else f"{field.default:.4g}"
            text = f"{field.description} ({values_of(name)}; `fast`: {default})"
            group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=kind.__name__, help=text)
    source = Parser(add_help=False)
    source.add_argument("--source", choices=("auto", REAL, "sample", *MNIST), default="auto", help="source of the data")
    place = Parser(add_help=False)
    engine = place.add_mutually_exclusive_group()
    engine.add_argument("--jobs", type=int, help="members that train at once (default: what suits the machine)")
    engine.add_argument(
        "--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers train them, tcp://host:8786"
    )
    run = Parser(add_help=False)
    run.add_argument("--run", help="default: the newest complete run")
    subcommands = root.add_subparsers(required=True, metavar="command")

    def command(function, *more):
        text = (function.__doc__ or function.__name__).rstrip(".")  # `python -OO` drops docstrings
        sub = subcommands.add_parser(function.__name__, parents=[folders, *more], help=text, description=text)
        sub.set_defaults(function=function)
        return sub

    command(commands.data, source)

    sub = command(commands.train, settings, source, place)
    sub.add_argument("--recipe", choices=RECIPES, help="default: fast on the real data, quick on the sample")
    sub.add_argument("--run", help="a run to go on with, also a complete one: what is damaged is made anew")
    sub.add_argument("--new", action="store_true", help="start a new run where an unfinished one could go on")
    sub.add_argument("--tensorboard", action="store_true", help="also write TensorBoard logs into the run's folder")
    sub.add_argument("--save-h5", action="store_true", help="also write model.h5, in Keras's legacy format")
    sub.add_argument("--minutes", type=float, help="time limit: the members that fit (default: all)")
    where = sub.add_argument_group("numerics (not part of the recipe, but a change starts a new run)")
    where.add_argument("--threads", type=int, help="threads per member on a CPU (default: what suits; 0: all)")
    where.add_argument("--precision", choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"), default="auto")
    where.add_argument("--jit-compile", choices=("auto", "on", "off"), default="auto")
    where.add_argument(
        "--deterministic", action=BooleanOptionalAction, default=True, help="bit-identical results, every time"
    )

    sub = command(commands.baselines, settings)
    sub.add_argument(
        "--source", choices=("auto", *MNIST), default="auto", help="source of MNIST (auto: what is at hand)"
    )
    sub.add_argument("--jobs", type=int, help="as for train")
    sub.add_argument("--reference", action="store_true", help="train the best public recipe too, which takes hours")
    sub.add_argument("--minutes", type=float, help="with --reference: what it may take; as many of its nets as fit")

    sub = command(commands.blend)
    sub.add_argument("--runs", required=True, metavar="RUN,RUN", help="two or more")

    sub = command(commands.study, source, place)
    kinds = "changes of the base; rows: its learning curve; averages: which of its members to submit"
    sub.add_argument("--kind", choices=("changes", "rows", "averages"), default="changes", help=kinds)
    sub.add_argument("--base", default="", help="a recipe and settings, like fast,width=0.5 (default: as for train)")
    sub.add_argument("--changes", default="", help="changes to compare, like 'epochs=14; width=0.5,dropout=0.1'")
    sub.add_argument("--seeds", type=int, default=2, help="how often all is trained (default: 2)")
    sub.add_argument("--full", action="store_true", help="on the recipe's own folds, to confirm what won on thirds")
    sub.add_argument("--name", help="name of the table and the page in submissions/studies/")

    sub = command(commands.kernel, settings)
    what = sub.add_mutually_exclusive_group()
    what.add_argument("--recipe", choices=RECIPES, default="best", help="recipe to train there (default: best)")
    what.add_argument("--run", help="whose members predict there; their weights go along as a dataset of yours")
    sub.add_argument("--minutes", type=float, help="time limit (default: what Kaggle's leaves)")
    sub.add_argument("--gpu", choices=("t4", "l4", "none"), help="default: t4, two of them; to predict: none")
    sub.add_argument("--kind", choices=("notebook", "script"), default="notebook", help="default: notebook")
    sub.add_argument("--title", default="", help="on Kaggle, 5 to 50 characters (default: named after the recipe)")
    sub.add_argument("--public", action="store_true", help="show it to everybody; the package goes along as a dataset")
    sub.add_argument("--username", help="on Kaggle (default: the one that the kaggle command line knows)")
    sub.add_argument("--push", action="store_true", help="run it on Kaggle and fetch its outputs")
    sub.add_argument("--follow", action="store_true", help="instead, go on with what was pushed and is not fetched")
    sub.add_argument("--unpack", type=Path, metavar="FILE", help="instead, get the package back out of a kernel")
    sub.add_argument("--into", type=Path, help="folder (default: submissions/kernel-KIND, or unpacked/ beside FILE)")

    command(commands.notebook, run)

    sub = command(commands.check)
    sub.add_argument("file", type=Path)

    sub = command(commands.submit, run)
    sub.add_argument("--file", type=Path, help="a file instead of a run")
    sub.add_argument("--force", action="store_true", help="send again, a file of unknown origin, or one too many today")
    sub.add_argument("--no-wait", dest="wait", action="store_false", help="leave the score to `make scores`")

    sub = command(commands.coverage)
    sub.add_argument("--shift", action="store_true", help="instead: how often is a test.csv unlike train.csv noticed?")
    sub.add_argument("count", type=int, nargs="?", help="number of small competitions (default: the full study)")
    # The prediction was changed after a look at seeds 0 to 2, so it is evaluated from seed 1000 on
    sub.add_argument("seed", type=int, nargs="?", default=1000, help="first seed (default: 1000)")
    sub.add_argument("--jobs", type=int, help="as for train")

    command(commands.scores)

    sub = command(commands.report, run)
    sub.add_argument("--compare", metavar="RUN,RUN", help="two runs on the same data")

    sub = command(commands.predict)
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--run", help="default: the newest complete run")
    which.add_argument("--model", type=Path, help="a .keras or .h5 file of any classifier of digits, in place of a run")
    sub.add_argument("images", type=Path, nargs="+", help="a .csv, .csv.gz or .zip like test.csv, or PNG or JPEG files")

    sub = command(commands.export, run)
    sub.add_argument("--format", choices=("keras", "h5", "onnx", "litert", "saved"), default="keras")

    sub = command(commands.draw, run)
    sub.add_argument("--port", type=int, help="port of the page (default: 8028, or the next free one)")
    sub.add_argument("--no-browser", dest="browser", action="store_false", help="print the address and open nothing")

    command(commands.share, run)

    sub = command(commands.record, run)
    sub.add_argument("--remark", default="", help="what the run showed")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; a CompetitionError becomes one line and exit code 1, a signal its own exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    try:
        options.function(options, Folders.find(options.input, options.submissions, options.mnist_npz))
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
    except ImportError as error:
        if (error.name or "").startswith("competition"):
            raise
        print(f"Error: {import_refusal(error)}", file=sys.stderr)
        return 1
    except OSError as error:
        what = error.filename or "A file"
        refusal = f"Error: {what} must be readable and writable. Received: {error.strerror or error}. "
        print(
            f"{refusal}Next: mend its permissions or the disk; the same command goes on from what is kept.",
            file=sys.stderr,
        )
        return 1
    return 0


def heed_signals() -> None:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, and none of them get lost."""

    def stop(number: int, frame) -> None:
        raise KeyboardInterrupt(number)

    def again(dropped) -> None:
        """Python drops what is raised in a destructor or a weak reference's callback: signal a second time."""
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            threading.Timer(0.1, os.kill, (os.getpid(), *dropped.exc_value.args)).start()
        else:
            sys.__unraisablehook__(dropped)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # what nohup and a script's & ask for
            signal.signal(number, stop)
    sys.unraisablehook = again


if __name__ == "__main__":
    if importlib.util.find_spec("fcntl") is None:
        sys.exit("Error: Linux or macOS is needed. Received: Windows. Next: wsl --install, then the same inside WSL.")
    for stream in (sys.stdout, sys.stderr):
        # Where the locale lacks a character; and a log gets each line when it is printed.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    heed_signals()
    sys.exit(main())
