"""A time that a run may take, and how many of its members fit into it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tqdm import tqdm

from competition.errors import CompetitionError

ENDING = 20  # seconds kept for the submission: 7 for 42,000 rows, on a quiet machine
AMPLE = 2  # times what all members would take, by what the last ones took: more than estimates of them are wrong by


@dataclass(frozen=True)
class Budget:
    """How long a run may take, from now: data, members and submission. The report adds a few seconds.

    It is no setting: the members that fit are those of a run without it, bit for bit.

    Attributes:
        minutes: None is all that the members need.
        advice: what to say to whoever reads how long they need.

    Raises:
        CompetitionError: `minutes` is no positive number.
    """

    minutes: float | None = None
    advice: str = ""
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self):
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise CompetitionError(f"MINUTES is a positive number. Received: {self.minutes:g}. Next: MINUTES=30.")

    def left(self) -> float:
        """Seconds in which members may still train; below 0 when none may."""
        if self.minutes is None:
            return math.inf
        return 60 * self.minutes - ENDING - (time.monotonic() - self.started)


def next_members(left: float, took: float | None, processes: int, missing: int) -> int:
    """How many of a run's missing members to train now, before the next call.

    Those that train in parallel end at about the same time, so they are taken in waves, in the order of the plan:
    the round of a repeat is finished before the next one begins, or in the same wave. Nothing ends a member that has
    begun, so a wave begins only when there is time for all of it. Where time is ample, all members are one wave, and
    no process waits for the slowest of others.

    Args:
        left: seconds.
        took: seconds that one of them will take, by what the last ones took; None: none was trained, and one must be.
        processes: that train in parallel.
        missing: how many are to be trained.
    """
    if took is None:
        return min(processes, missing)
    if left >= AMPLE * took * math.ceil(missing / processes):
        return missing
    return min(processes, missing) if left >= took else 0


class Pace:
    """How fast the members of a run train, which decides how many fit into its budget.

    Args:
        budget: the run's.
        sizes: of all members by name, in the order of the plan: how long each trains, relative to the first.
        epochs: of one member, at most.
        seconds: of those that are trained, by name, the last one last.
        say: prints a line.
    """

    def __init__(self, budget: Budget, sizes: dict[str, float], epochs: int, seconds: dict[str, float], say: Callable):
        self.budget, self.sizes, self.epochs, self.say = budget, sizes, epochs, say
        self.paces = {name: spent / sizes[name] for name, spent in seconds.items()}  # seconds of a member of size 1
        self.epoch_ends: dict[str, float] = {}
        self.processes = 1
        self.forecast = self.warned = budget.minutes is None  # without a limit there is nothing to say

    def next(self, processes: int) -> int:
        """How many members to train now, see `next_members`; after the first, it says if not all will fit."""
        missing = self._missing()
        if self.budget.minutes is None:
            return len(missing)
        self.processes, left = processes, self.budget.left()
        pace = max(list(self.paces.values())[-processes:], default=None)
        if pace is None or not missing:
            return next_members(left, None, processes, len(missing))
        if self._ahead(pace) > left and not self.warned:
            self.warned = True
            minutes, ahead = f"{self.budget.minutes:g} minutes", _interval(self._ahead(pace))
            self.say(f"The other {len(missing)} would take about {ahead}; {minutes} end with those that fit.")
        return next_members(left, pace * max(missing[:processes]), processes, len(missing))

    def epoch(self, name: str) -> None:
        """A member finished an epoch; at the first that is a second one, with no start in it, say what all take."""
        now = time.monotonic()
        if name in self.epoch_ends and not self.forecast:
            self.forecast = True
            ahead = self._ahead((now - self.epoch_ends[name]) * self.epochs / self.sizes[name])
            missing = len(self._missing())
            self.say(f"{missing} members take about {_interval(ahead)}, by the first epochs.{self.budget.advice}")
        self.epoch_ends[name] = now

    def member(self, name: str, seconds: float) -> None:
        """A member finished."""
        self.paces[name] = seconds / self.sizes[name]

    def _missing(self) -> list[float]:
        """The sizes of those that are not trained."""
        return [size for name, size in self.sizes.items() if name not in self.paces]

    def _ahead(self, pace: float) -> float:
        """Seconds until all that are not trained are."""
        missing = self._missing()
        return pace * sum(missing) / min(self.processes, len(missing))


def _interval(seconds: float) -> str:
    return tqdm.format_interval(round(seconds))
