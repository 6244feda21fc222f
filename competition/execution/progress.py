"""One live line while members train; plain lines where the output is no terminal, one a minute at least."""

import math
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tqdm import tqdm

QUIET = 60  # seconds without a line, after which a log gets a line that members still train


class Progress:
    """Counts epochs of all members, wherever they run.

    Args:
        missing: how many members are not finished yet.
        done: how many others are finished already.
        epochs: of one member, at most.
        left: seconds after which no member begins.
    """

    def __init__(self, missing: int, done: int, epochs: int, left: Callable[[], float] = lambda: math.inf):
        members = self.members = done + missing
        self.missing, self.done, self.epochs, self.left = missing, done, epochs, left
        self.seen: dict[str, int] = {}
        self.started = time.monotonic()
        self.bar = tqdm(
            total=members * epochs,
            initial=done * epochs,
            disable=None,
            bar_format="{desc} {bar:24} {n}/{total} epochs, {remaining} left{postfix}",
            desc=f"member {min(done + 1, members)} of {members}",
            leave=False,
        )
        self.printed, self.closed = self.started, threading.Event()
        if self.bar.disable:  # no terminal
            threading.Thread(target=self._remind, daemon=True).start()

    def epoch(self, name: str, logs: dict) -> None:
        """A member finished an epoch."""
        self.seen[name] = self.seen.get(name, 0) + 1
        self.bar.update(1)
        self.bar.set_postfix_str(f"accuracy {logs.get('val_accuracy', float('nan')):.4f}")

    def member(self, name: str, facts: dict, accuracy: float | None) -> None:
        """A member finished; `accuracy` is the out-of-fold accuracy of all that did."""
        self.done += 1
        self.bar.update(self.epochs - self.seen.get(name, 0))  # what early stopping saved
        self.seen[name] = self.epochs
        self.bar.set_description_str(f"member {min(self.done + 1, self.members)} of {self.members}")
        own = "all rows" if facts["accuracy"] is None else f"accuracy {facts['accuracy']:.4f}"
        so_far = "" if accuracy is None else f" (all {accuracy:.4f})"
        left = self._left() if self.bar.disable else ""
        self.say(f"member {self.done} of {self.members} ({name}): {own}{so_far}, {facts['seconds']:.0f} s{left}")

    def say(self, line: str) -> None:
        """Print a line above the live one."""
        self.printed = time.monotonic()
        self.bar.write(line, file=sys.stdout)

    def close(self) -> None:
        """Remove the live line."""
        self.closed.set()
        self.bar.close()

    def _remind(self) -> None:
        while not self.closed.wait(self.printed + QUIET - time.monotonic()):
            if time.monotonic() >= self.printed + QUIET:
                with suppress(OSError):  # nobody reads on, or the disk is full: the run itself notices
                    self.say(f"still training: {self._epochs()} of {self.members * self.epochs} epochs{self._left()}")

    def _epochs(self) -> int:
        return (self.members - self.missing) * self.epochs + sum(self.seen.values())

    def _left(self) -> str:
        finished = sum(self.seen.values())
        if self.done == self.members or not finished:
            return ""
        ahead = self.epochs * self.missing - finished
        seconds = max(0, min(self.left(), (time.monotonic() - self.started) / finished * ahead))
        return f", {tqdm.format_interval(int(seconds))} left"
