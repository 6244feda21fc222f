"""`python -m competition`: run a command, and end as a user expects whatever happens."""

import importlib.util
import os
import shlex
import signal
import sys
import threading

from competition.commands import parser
from competition.errors import CompetitionError
from competition.runs.folders import Folders


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


if __name__ == "__main__":
    if importlib.util.find_spec("fcntl") is None:
        sys.exit("Error: Linux or macOS is needed. Received: Windows. Next: wsl --install, then the same inside WSL.")
    for stream in (sys.stdout, sys.stderr):
        # Where the locale lacks a character; and a log is to have each line when it is said.
        stream.reconfigure(errors="backslashreplace", line_buffering=True)
    heed_signals()
    sys.exit(main())
