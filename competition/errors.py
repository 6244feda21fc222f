"""What a user sees without a traceback."""


class CompetitionError(Exception):
    """A problem that the user can solve.

    The message is one line: the rule, what was received, the next command. `python -m competition`
    prints it and exits 1.
    """
