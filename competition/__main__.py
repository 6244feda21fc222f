"""The command line: one subcommand for each Makefile target. What a subcommand needs is imported when called."""

import importlib.util
import os
import shlex
import signal
import sys
import threading
import time

from competition.errors import CompetitionError
from competition.flags import chosen_settings, parser
from competition.folders import Folders


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; a CompetitionError becomes one line and exit code 1, a signal its own exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    try:
        COMMANDS[options.command](options, Folders.find(options.input, options.submissions, options.mnist_npz))
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


COMMANDS = {
    "data": make_data,
    "train": make_train,
    "baselines": make_baselines,
    "blend": make_blend,
    "kernel": make_kernel,
    "notebook": make_notebook,
    "check": make_check,
    "submit": make_submit,
    "scores": make_scores,
    "report": make_report_page,
    "predict": make_predict,
    "record": make_record,
}


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # where the locale lacks a character
    heed_signals()
    sys.exit(main())
