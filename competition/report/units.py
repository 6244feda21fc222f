"""How pages write numbers: one function for each kind, and the filter of that name in every template."""


def accuracy(value: float) -> str:
    """A fraction of rows that are right, as Kaggle and the terminal print it: `0.99233`."""
    return f"{value:.5f}"


def loss(value: float) -> str:
    """A log-loss or a calibration error, with the digits of an accuracy: `0.01523`."""
    return f"{value:.5f}"


def measure(value: float) -> str:
    """What is measured of an image or a probability, in three digits: `−0.0908`."""
    return f"{value:.3g}".replace("-", "−")


def probability(value: float) -> str:
    """A probability, in percent; one that would be rounded to all or nothing is written as near it: `> 99.9 %`."""
    return "> 99.9 %" if value > 0.999 else "< 0.1 %" if value < 0.001 else share(value)


def share(value: float) -> str:
    """A part of something that is counted, in percent: `3.0 %`."""
    return f"{100 * value:.1f} %"


def change(value: float, half: float | None = None) -> str:
    """A difference with its sign and, where given, half of its 95 % interval: `−0.00033 ± 0.00065`."""
    signed = f"{value:+.5f}".replace("-", "−") if round(value, 5) else "0.00000"
    return signed if half is None else f"{signed} ± {half:.5f}"


def count(value: int) -> str:
    """A number of things: `42,000`."""
    return f"{value:,}"


def counted(value: int, thing: str, things: str = "") -> str:
    """So many things: `1 row`, `2,000 rows`, `2 patches`."""
    return f"{count(value)} {thing if value == 1 else things or f'{thing}s'}"


def duration(seconds: float) -> str:
    """A time to wait: `45 s`, `8 min 17 s`, `2 h 30 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


KINDS = (accuracy, loss, measure, probability, share, change, count, counted, duration)
FILTERS = {function.__name__: function for function in KINDS}
