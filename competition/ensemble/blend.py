"""Finished runs → a new one that averages them, with its own score and provenance."""

from dataclasses import dataclass, replace

import numpy as np

from competition.config import Config
from competition.data.dataset import Dataset
from competition.ensemble import scoring
from competition.ensemble.averaging import Predictions, average_members
from competition.ensemble.folds import member_settings, members_of, plan_members
from competition.ensemble.members import of_plan
from competition.errors import CompetitionError
from competition.runs.checkpoint import PROVENANCE, MemberResult
from competition.runs.run import Run


@dataclass(frozen=True)
class Blend:
    """The average of some runs.

    Attributes:
        config: that of a run whose members they all are.
        manifest: the first run's, with all that provenance needs of each.
        predictions: their mean.
        results: of all their members, as `run/member`.
    """

    config: Config
    manifest: dict
    predictions: Predictions
    results: dict[str, MemberResult]


def blend(parents: list[Run], dataset: Dataset) -> Blend:
    """Average finished runs, each as much as the others, from the predictions of their members.

    Out of fold, a row counts where every run predicts it: elsewhere the average would be of other runs than
    the one that is submitted.

    Args:
        parents: two or more runs that were trained on the same data.
        dataset: that data.

    Raises:
        CompetitionError: they cannot be blended.
    """
    _check(parents)
    results = [_members(parent, dataset) for parent in parents]
    parts = [
        average_members(parent.config, dataset.train, members) for parent, members in zip(parents, results, strict=True)
    ]
    tta = max(parent.config.tta for parent in parents)  # without it, both kinds of a run's predictions are the same
    config = replace(parents[0].config, recipe="blend", tta=tta, folds=1, repeats=len(parents), refit=0)
    predictions = Predictions(
        out_of_fold=_mean([part.out_of_fold for part in parts]),
        test=_mean([part.test for part in parts]),
        submitted=config.submitted,
        groups=[replace(group, share=group.share / len(parts)) for part in parts for group in part.groups],
        single=(_in_turn([part.single[0] for part in parts]), _in_turn([part.single[1] for part in parts])),
        refit=sum(part.refit for part in parts),
        row_ratio=float(np.mean([part.row_ratio for part in parts])),
    )
    if not len(scoring.rows_predicted(predictions.out_of_fold[0])):
        raise _refusal("runs without a validation row in common", "runs that were trained with folds")
    together = zip(parents, results, strict=True)
    named = {f"{parent.name}/{name}": result for parent, members in together for name, result in members.items()}
    return Blend(config, _manifest(parents), predictions, named)


def _in_turn(predictions: list[np.ndarray]) -> np.ndarray:
    """Row i of the first, row i + 1 of the second, and so on: arrays (n, 10) → one of the same shape."""
    rows = np.arange(len(predictions[0]))
    return np.stack(predictions)[rows % len(predictions), rows]


def _mean(arrays: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean(arrays, axis=0, dtype=np.float64), np.float32)


def _check(parents: list[Run]) -> None:
    if len({parent.path.resolve() for parent in parents}) < max(2, len(parents)):
        raise _refusal(", ".join(parent.name for parent in parents), "RUNS=run-a,run-b")
    for parent in parents:
        if "parents" in parent.manifest:
            raise _refusal(f"{parent.name}, a blend itself", "name its parents")
        if parent.manifest["identity"]["data"] != parents[0].manifest["identity"]["data"]:
            raise _refusal(f"{parents[0].name} and {parent.name}, on other data", "choose runs of one source")


def _members(run: Run, dataset: Dataset) -> dict[str, MemberResult]:
    """All members behind the run's submission, each checked to be whole and of the run's own plan and data."""
    names = members_of(run)
    members = [member for member in plan_members(run.config, dataset.train.labels) if member.name in names]
    results = {member.name: run.load_member(member.name) for member in members}
    foreign = [member.name for member in members if not of_plan(results[member.name], member, len(dataset.test))]
    if foreign:
        raise _refusal(f"{run.name}, whose {foreign[0]} is of another plan", run.retrain)
    return results


def _manifest(parents: list[Run]) -> dict:
    """The first parent's, with all that provenance needs of each."""
    first = parents[0].manifest
    records = [
        {
            "run": parent.name,
            "sha256": parent.read_json("done.json")["sha256"],
            "source": parent.manifest["source"],
            "settings": parent.manifest["identity"]["settings"],
            "members": {
                name: {key: facts[key] for key in PROVENANCE if key in facts}
                for name, facts in parent.member_facts().items()
                if name in members_of(parent) or name not in member_settings(parent.config)  # not what came later
            },
        }
        for parent in parents
    ]
    sources = {parent.manifest["source"] for parent in parents}
    return {
        **{key: first[key] for key in ("commit", "hardware", "versions") if key in first},
        "identity": {**first["identity"], "settings": {"recipe": "blend"}},
        "source": sources.pop() if len(sources) == 1 else "other",
        "parents": records,
    }


def _refusal(received: str, following: str) -> CompetitionError:
    return CompetitionError(
        f"RUNS names two or more trained runs on the same data. Received: {received}. Next: {following}."
    )
