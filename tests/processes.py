"""The processes of this machine, as Linux and macOS both tell of them."""

from contextlib import suppress

import psutil


def processes(of, number):
    """The command lines of the living ones whose group or session it is: `of` is os.getpgid or os.getsid."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):  # it ended meanwhile, or is none of ours
            if of(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found
