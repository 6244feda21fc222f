"""What a user sees without a traceback."""

import os
import sys


class CompetitionError(Exception):
    """A problem that the user can solve.

    The message is one line: the rule, what was received, the next command. `python -m competition`
    prints it and exits 1.
    """


def one_line(error: BaseException, length: int = 150) -> str:
    """What an exception says, on one line of at most so many characters; its type where it says nothing."""
    return " ".join(str(error).split())[:length] or type(error).__name__


def import_refusal(error: ImportError) -> CompetitionError:
    """What to do about a library that cannot be imported."""
    path = os.environ.get("PYTHONPATH")
    following = f"{sys.executable} -m pip install -r requirements.txt -c constraints.txt; or `make` without VENV="
    return CompetitionError(
        "Python 3.11, 3.12 or 3.13 is needed, with the packages of requirements.txt. Received: "
        f"{one_line(error)}, in Python {sys.version.split()[0]}{f' with PYTHONPATH={path}' if path else ''}. "
        f"Next: {'unset PYTHONPATH, then the same command' if path else following}."
    )
