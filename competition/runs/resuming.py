"""Which run goes on: the newest unfinished one of the same identity, or a new one; one process trains a run at a time.

Unfinished is also a complete run whose time ran out before all its members were trained.
"""

import time

from competition.config import Config
from competition.errors import CompetitionError
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.run import Run, list_runs, named_run, renamed, settings_of

LOCK = ".lock"  # in a run's folder


def open_run(folders: Folders, config: Config, manifest: dict, new: bool = False, named: Run | None = None) -> Run:
    """Go on with the newest unfinished run of the same identity, or start one; lock it against other processes.

    Args:
        manifest: what the run is made from; its `identity` decides whether runs are the same, and may leave open
            what a run has settled before.
        new: start one in any case.
        named: go on with this one, complete or not.

    Raises:
        CompetitionError: another process trains that run, the named one is of another identity, or the folder cannot
            be written.
    """
    run = _same(named, manifest["identity"]) if named else None if new else _unfinished(folders, manifest["identity"])
    if run is None:
        run = _started(folders, config.recipe)
    else:
        print(f"Going on with {run.path}.")
        files.sweep(run.path)
        manifest = manifest | {"identity": run.manifest["identity"]}
    run.write_json("config.json", settings_of(config))  # again: it may have been damaged meanwhile
    run.write_json("manifest.json", {**manifest, "seconds": run.manifest.get("seconds", {})})
    return run


def settings_again(folders: Folders, name: str, given: list[str]) -> tuple[Run, dict, str]:
    """A named run to go on with, its settings and the source of its data.

    Args:
        given: settings that the user named beside it: there must be none.

    Raises:
        CompetitionError: there is no such run, it is a blend, or settings are given.
    """
    run = Run(named_run(folders, name).path.absolute())
    if given:
        raise CompetitionError(
            f"RUN goes on with its own settings. Received: {', '.join(given)} as well. Next: {run.retrain}."
        )
    manifest = run.manifest
    if "parents" in manifest:
        parents = ",".join(parent["run"] for parent in manifest["parents"])
        raise CompetitionError(f"RUN names a run that trains. Received: a blend. Next: `make blend RUNS={parents}`.")
    if not manifest:
        raise CompetitionError(f"{run.path} must hold its manifest. Received: none. Next: `make train NEW=1`.")
    return (
        run,
        renamed(manifest["identity"]["settings"]),
        "auto" if manifest["source"] == "other" else manifest["source"],
    )


def fits(before: dict, identity: dict) -> bool:
    """Whether a run's identity is the wanted one: what that leaves out may be anything."""
    return before | identity == before


def _same(run: Run, identity: dict) -> Run:
    before = run.manifest["identity"]
    if not fits(before, identity):
        raise CompetitionError(
            f"RUN goes on with what it was made from. Received: {run.name}, changed since: "
            f"{', '.join(_changes(before, identity))}. Next: `make train NEW=1`."
        )
    return _locked(run)


def _locked(run: Run) -> Run:
    lock = files.lock(run.path / LOCK)
    if lock is None:
        raise CompetitionError(
            f"One process trains a run. Received: {run.path}, which {files.lock_holder(run.path / LOCK)} trains. "
            "Next: wait for it, or `make train NEW=1` for a run beside it."
        )
    return Run(run.path, lock)


def _unfinished(folders: Folders, identity: dict) -> Run | None:
    """The newest unfinished run of that identity, locked; where there are only others, it says why not they."""
    other = None
    for run in reversed(list_runs(folders)):
        try:
            if run.whole or not run.manifest or "parents" in run.manifest:  # a blend begins anew
                continue
            before = run.manifest["identity"]
        except CompetitionError as error:
            print(f"Left alone: {error}")
            continue
        if not fits(before, identity):
            other = other or (None if run.complete else (run, before))
            continue
        return _locked(run)
    if other:
        changed = ", ".join(_changes(other[1], identity))
        print(f"{other[0].path} is unfinished, but changed since: {changed}. A new run starts.")
    return None


def _changes(before: dict, now: dict) -> list[str]:
    """The differences of two identities; of settings, from what to what."""
    old, new = before.get("settings", {}), now["settings"]
    settings = [f"{key} {old.get(key)} → {new.get(key)}" for key in {**new, **old} if old.get(key) != new.get(key)]
    names = [key for key in now if before.get(key) != now[key]]
    return [f"settings ({', '.join(settings)})" if name == "settings" else name for name in names]


def _started(folders: Folders, recipe: str) -> Run:
    """A new folder, locked, named by UTC: the newest run is the newest wherever it was made, here or on Kaggle."""
    name, attempt = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{recipe}", 0
    try:
        folders.submissions.mkdir(parents=True, exist_ok=True)
        while True:
            path = folders.submissions / (f"{name}-{attempt}" if attempt else name)
            try:
                path.mkdir()
                break
            except FileExistsError:
                attempt += 1
    except OSError as error:
        raise CompetitionError(
            f"Runs are kept in {folders.submissions}. Received: {error.strerror}. Next: --submissions FOLDER."
        ) from None
    return Run(path, files.lock(path / LOCK))
