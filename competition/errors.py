"""What a user sees without a traceback."""


class CompetitionError(Exception):
    """A problem that the user can solve.

    The message is one line: the rule, what was received, the next command. `python -m competition`
    prints it and exits 1.
    """


def one_line(error: BaseException, length: int = 150) -> str:
    """What an exception says, on one line of at most so many characters; its type where it says nothing."""
    return " ".join(str(error).split())[:length] or type(error).__name__
