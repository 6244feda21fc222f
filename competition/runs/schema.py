"""Whether files that somebody else may have written have the form that their readers count on."""

import json
from functools import partial
from pathlib import Path
from types import GenericAlias
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, create_model

from competition.errors import CompetitionError

# A JSON object by the types of its values: int and bool are two, a float is finite, what has a default may be missing,
# and other values may be there.
_object = partial(create_model, "object", __config__=ConfigDict(strict=True, extra="allow", allow_inf_nan=False))


def _list_of(form: type) -> GenericAlias:
    return GenericAlias(list, (form,))


ANY = _object()
MANIFEST = _object(
    identity=_object(settings=dict, data=Annotated[list[str], Field(min_length=2, max_length=2)], precision=str),
    source=str,
    hardware=str,
    seconds=(dict[str, float], {}),
    parents=(_list_of(_object(run=str, members=dict[str, dict])), []),  # of a blend
)
_TEST = _object(measure=str, distance=float, p=float, train=float, test=float, differ=bool)
_PREDICTION = _object(score=float, low=float, high=float)
_SHIFT = _object(
    alarm=bool,
    estimate=float,
    if_alike=(_PREDICTION | None, None),
    missing_digits=(list[int], []),
    pixels=_list_of(_TEST),
    predictions=_list_of(_TEST),
    classifier=_object(auc=float, low=float, high=float, differ=bool) | None,
)
SCORES = _object(
    out_of_fold=_object(accuracy=float, low=float, high=float, log_loss=float, errors=int),
    leaderboard=_PREDICTION | None,  # None after an alarm of `shift`
    members=_object(accuracy=float, each=(list, []), trained=(int, 0), planned=(int, 0), refit=(int, 0)),
    true_accuracy=(float, 0.0),
    shift=(_SHIFT | None, None),  # of older runs: none
)
DONE = _object(sha256=str, members=(list[str], []))  # named where they are not all of the plan
MEMBER = _object(  # a refit member has no accuracy
    sha256=dict[str, str], data_sha256=str, accuracy=(float | None, None), seconds=float, epochs=int, kept_epoch=int
)


def load(path: Path, form=ANY) -> dict:
    """The value of a run's JSON file, as it stands there.

    Raises:
        OSError, ValueError: it is missing, no JSON, or not of the form; pydantic's ValidationError is a ValueError.
    """
    try:
        value = json.loads(path.read_bytes())
    except RecursionError:  # from a thousand brackets
        raise ValueError("too deep") from None
    form.model_validate(value)
    return value


def read(path: Path, form=ANY, following: str = "`make train NEW=1`") -> dict:
    """Likewise, for a user.

    Args:
        following: the command that helps.

    Raises:
        CompetitionError: it is missing, no JSON, or not of the form.
    """
    try:
        return load(path, form)
    except ValidationError as errors:
        first = errors.errors()[0]
        received = f"a misfit at {'.'.join(map(str, first['loc'])) or 'the top'!r} ({first['msg']})"
    except OSError as error:
        received = str(error)
    except ValueError as error:
        received = f"no JSON ({error})"
    raise CompetitionError(f"{path} must be intact and of this version. Received: {received}. Next: {following}.")


def are_probabilities(array, rows: int | None = None, gaps: bool = False, empty: bool = False) -> bool:
    """Whether an array is float32 of shape (2, rows, 10), each row nowhere negative and nearly summing to 1.

    Args:
        gaps: whether some rows, but not all, may be NaN instead: those that no member validates on.
        empty: whether there may be no row: a refit member has no validation rows.
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
        and (empty or array.size > 0)
        and bool((array >= 0).all() and (np.abs(array.sum(axis=2, dtype=float) - 1) < 1e-3).all())
    )
