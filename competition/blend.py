"""Finished runs → a new one that averages them, with its own score and provenance."""

from dataclasses import replace

import numpy as np

from competition import data, ensemble, pipeline, provenance, resuming, runs, scoring
from competition.errors import CompetitionError
from competition.folders import Folders
from competition.folds import plan_members


def blend(folders: Folders, names: list[str]) -> runs.Run:
    """Average finished runs, each as much as the others, from what their members said.

    Out of fold, a row counts where every run was asked about it: elsewhere the average would be of other runs than
    the one that is submitted.

    Args:
        names: of two or more runs that were trained on the same data.

    Raises:
        CompetitionError: they cannot be blended.
    """
    clock = pipeline.Clock()
    parents = [runs.find_run(folders, name) for name in names]
    _check(parents)
    digits = data.load_again(folders, parents[0].manifest)
    results = [_members(parent, digits) for parent in parents]
    answers = [
        ensemble.combine(parent.config, digits.train, members) for parent, members in zip(parents, results, strict=True)
    ]
    views = max(parent.config.test_views for parent in parents)  # where one has none, both its variants are the same
    config = replace(parents[0].config, recipe="blend", test_views=views, folds=1, repeats=len(parents), teachers=0)
    answer = ensemble.Answer(
        out_of_fold=np.mean([answer.out_of_fold for answer in answers], axis=0, dtype=np.float64).astype(np.float32),
        test=np.mean([answer.test for answer in answers], axis=0, dtype=np.float64).astype(np.float32),
        variant=config.variant,
        parts=[(share / len(answers), *part) for answer in answers for share, *part in answer.parts],
    )
    if not len(scoring.judged(answer.out_of_fold[0])):
        raise _refusal("runs that were asked about other rows each", "runs that were trained with folds")
    run = resuming.open_run(folders, config, _manifest(parents), new=True)
    pipeline.conclude(folders, run, digits, answer, [result for members in results for result in members], clock)
    print(f"Compare it               make report COMPARE={run.name},{parents[0].name}")
    return run


def _check(parents: list[runs.Run]) -> None:
    if len({parent.path.resolve() for parent in parents}) < max(2, len(parents)):
        raise _refusal(", ".join(parent.name for parent in parents), "RUNS=run-a,run-b")
    for parent in parents:
        if "parents" in parent.manifest:
            raise _refusal(f"{parent.name}, a blend itself", "name its parents")
        if parent.manifest["identity"]["data"] != parents[0].manifest["identity"]["data"]:
            raise _refusal(f"{parents[0].name} and {parent.name}, on other data", "choose runs of one source")


def _members(run: runs.Run, digits: data.Data) -> list[runs.MemberResult]:
    """All members, each checked to be whole and of the run's own plan and data."""
    results = ensemble.load_members(run, plan_members(run.config, digits.train.labels), len(digits.test))
    missing = [name for name, result in results.items() if result is None]
    if missing:
        raise _refusal(f"{run.name}, of which {missing[0]} is missing", "another run, or `make train`")
    return list(results.values())


def _manifest(parents: list[runs.Run]) -> dict:
    """The first parent's, with all that provenance asks of each."""
    first = parents[0].manifest
    told = [
        {
            "run": parent.name,
            "sha256": parent.read_json("done.json")["sha256"],
            "source": parent.manifest["source"],
            "settings": parent.manifest["identity"]["settings"],
            "members": {
                name: {key: facts[key] for key in provenance.FACTS if key in facts}
                for name, facts in provenance.members_of(parent).items()
            },
        }
        for parent in parents
    ]
    sources = {parent.manifest["source"] for parent in parents}
    return {
        **{key: first[key] for key in ("commit", "hardware", "setup", "versions") if key in first},
        "identity": {**first["identity"], "settings": {"recipe": "blend"}},
        "source": sources.pop() if len(sources) == 1 else "other",
        "parents": told,
    }


def _refusal(received: str, following: str) -> CompetitionError:
    return CompetitionError(
        f"RUNS names two or more trained runs on the same data. Received: {received}. Next: {following}."
    )
