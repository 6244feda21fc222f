"""Whether files that somebody else may have written have the form that their readers count on."""

import json
import math
from pathlib import Path

import numpy as np

from competition.errors import CompetitionError

# A form is a type (float: any finite number), a tuple of forms for a list of as many values, [form] for a list of any
# number, {str: form} for values by any name, or forms by name: those that end in ? may be missing, and others may be
# there.
MANIFEST = {
    "identity": {"settings": dict, "data": (str, str), "precision": str},
    "source": str,
    "hardware": str,
    "seconds?": {str: float},
    "parents?": [{"run": str, "members": {str: dict}}],  # of a blend
}
SCORES = {
    "out_of_fold": {"accuracy": float, "low": float, "high": float, "log_loss": float, "errors": int},
    "leaderboard": {"score": float, "low": float, "high": float},
    "members": {"accuracy": float},
    "true_accuracy?": float,
}
MEMBER = {"accuracy": float, "seconds": float, "epochs": int, "kept_epoch": int}


def parse(text: bytes, form=dict):
    """The value of a JSON text.

    Raises:
        CompetitionError: it is no JSON, or not of the form; the message is what was received.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # the latter from a thousand brackets
        raise CompetitionError(f"no JSON ({error})") from None
    place = misfit(value, form)
    if place is not None:
        raise CompetitionError(f"a misfit{place and ' at ' + place}")
    return value


def read(path: Path, form=dict) -> dict:
    """The value of a run's JSON file.

    Raises:
        CompetitionError: it is missing, no JSON, or not of the form.
    """
    try:
        return parse(path.read_bytes(), form)
    except (OSError, CompetitionError) as error:
        raise CompetitionError(
            f"{path} must be as a run writes it. Received: {error}. Next: `make train NEW=1`."
        ) from None


def misfit(value, form, place: str = "") -> str | None:
    """Where a value does not fit its form; None where it does."""
    parts = []
    if form is float:
        fits = type(value) in (int, float) and abs(value) < math.inf
    elif isinstance(form, type):
        fits = type(value) is form
    elif isinstance(form, list):
        fits = isinstance(value, list)
        parts = ((i, one, form[0]) for i, one in enumerate(value)) if fits else []
    elif isinstance(form, tuple):
        fits = isinstance(value, list) and len(value) == len(form)
        parts = zip(range(len(form)), value, form, strict=True) if fits else []
    elif fits := isinstance(value, dict):
        forms = dict.fromkeys(value, form[str]) if str in form else form
        fits = all(name in value or name.endswith("?") for name in forms)
        parts = [(key, value[key], one) for name, one in forms.items() if (key := name.removesuffix("?")) in value]
    if not fits:
        return place
    places = (misfit(one, its, f"{place}.{key}".lstrip(".")) for key, one, its in parts)
    return next((found for found in places if found is not None), None)


def are_probabilities(array, rows: int | None = None, gaps: bool = False) -> bool:
    """Whether an array is float32 of shape (2, rows, 10), each row nowhere negative and nearly summing to 1.

    Args:
        gaps: whether some rows, but not all, may be NaN instead: those that no member was asked about.
    """
    if gaps and isinstance(array, np.ndarray) and array.dtype == np.float32 and array.ndim == 3:
        if rows not in (None, array.shape[1]):
            return False
        rows, array = None, array[:, ~np.isnan(array).all(axis=(0, 2))]
    return (
        isinstance(array, np.ndarray)
        and array.dtype == np.float32
        and array.ndim == 3
        and array.shape == (2, rows or array.shape[1], 10)
        and array.size > 0
        and bool((array >= 0).all() and (np.abs(array.sum(axis=2, dtype=float) - 1) < 1e-3).all())
    )
