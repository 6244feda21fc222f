"""What a study compares, as it is written on the command line, and which rows each member fits and predicts."""

import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from competition.config import RECIPES, Config
from competition.ensemble.folds import plan_members
from competition.errors import CompetitionError
from competition.network.member import Member, seed_of
from competition.runs.folders import KEPT_OUT, Folders

BASE, NULL = "base", "base again"
THIRDS = 3
OWN = ("recipe", "seed", "folds", "repeats", "refit", "holdout")  # the same for all that a study compares


def read_settings(base: Config, text: str, changes: str, seeds: int) -> dict[str, Config]:
    """The base, and each change of it, by the text that describes it.

    Changes are separated by `;`, the settings of one by `,`, but for those inside parentheses or quotes. A part without
    `=` goes on with the value before it, and so does a transform, `Name(…)`, of `augment`. So
    `label_smoothing=0.1; architecture=fine,pooled,epochs=14; augment=Blur(p=0.1); Morphological(scale=(2,2))` are three
    changes. Before its settings a change may name a recipe, which it starts from in place of the base; the base may,
    too.

    Args:
        base: what the base starts from where it names no recipe.
        text: of the base; may be empty.

    Raises:
        CompetitionError: a setting is unknown or out of range, or a change changes nothing.
    """
    base = read_base(base, text, seeds)
    settings = {BASE: base}
    for change in _changes(changes):
        config = _read(base, change, OWN)
        if config in settings.values():
            raise _refusal(f"{change}, which is there already", "leave it out")
        settings[", ".join(_parts(change))] = config
    if len(settings) == 1:
        raise _refusal("none", "CHANGES='epochs=14; width=0.5,dropout=0.1'")
    return settings


def read_base(start: Config, text: str, seeds: int) -> Config:
    """The base of a study alone.

    Args:
        start: what it starts from where the text names no recipe.
        text: a recipe and settings, like `fast,width=0.5`; may be empty.

    Raises:
        CompetitionError: a setting is unknown or out of range, or there is no seed.
    """
    if seeds < 1:
        raise CompetitionError(f"SEEDS is 1 or more. Received: {seeds}. Next: SEEDS=2.")
    return _read(start, text)


def words_of(config: Config) -> str:
    """A base as it would be written."""
    recipe = RECIPES[config.recipe]
    names = [field.name for field in fields(Config) if getattr(config, field.name) != getattr(recipe, field.name)]
    return ", ".join([config.recipe, *(f"{name}={getattr(config, name)}" for name in names)])


def table_path(folders: Folders, name: str | None, base: str, changes: str, full: bool) -> Path:
    """Where a study's table lies: under its name, or what it compares.

    Raises:
        CompetitionError: that is no name of a file, or of another one.
    """
    name = name or re.sub(r"[^\w.=-]+", "-", f"{'full-' if full else ''}{base}-{changes}").strip("-")
    if not re.fullmatch(r"\w[\w.=-]{0,99}", name) or name == KEPT_OUT.stem:
        raise CompetitionError(
            f"NAME names the study's files, in a word. Received: {name[:110]}. Next: NAME=smoothing."
        )
    return folders.studies / f"{name}.csv"


def _changes(text: str) -> list[str]:
    """Each change; one transform after another belongs to the same."""
    changes: list[str] = []
    for change in _split(text, ";"):
        if re.match(r"[A-Z][\w.]*\(", change) and changes:
            changes[-1] += f"; {change}"
        else:
            changes.append(change)
    return changes


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that stand in no parentheses, brackets or quotes, stripped; no empty ones."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if character in "'\"" and quote in ("", character):
            quote = "" if quote else character
        elif not quote and character in "([{":
            depth += 1
        elif not quote and character in ")]}":
            depth -= 1
        if character == separator and depth <= 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _parts(text: str) -> list[str]:
    """A recipe's name, if there is one, and name=value of each setting."""
    parts: list[str] = []
    for part in _split(text, ","):
        if "=" in part or not parts or "=" not in parts[-1]:
            parts.append("=".join(map(str.strip, part.split("=", 1))))
        else:
            parts[-1] += f",{part}"
    return parts


def _read(start: Config, text: str, own: tuple[str, ...] = ()) -> Config:
    """The settings that a text changes a start to; `own` are those that it must leave alone."""
    known, values, parts = {field.name for field in fields(Config)} - {"recipe"}, {}, _parts(text)
    if parts and parts[0] in RECIPES:
        kept = {name: getattr(start, name) for name in own}
        start = replace(RECIPES[parts.pop(0)], **kept)
    for part in parts:
        name, sign, value = part.partition("=")
        if not sign or name not in known:
            raise _refusal(f"{part}, which is unknown", "`make train ARGS=--help` lists them")
        if name in own:
            raise _refusal(f"{part}, which all have alike", f"BASE='{start.recipe},{part}'")
        if name in values:
            raise _refusal(f"{name} twice", f"{part} alone")
        kind = type(getattr(Config(), name))
        try:
            values[name] = kind(value)
        except ValueError:
            raise CompetitionError(
                f"{name} is of type {kind.__name__}. Received: {value!r}. Next: {name}={getattr(start, name)}."
            ) from None
    return replace(start, **values)


def plan(name: str, config: Config, labels, rows, seeds: int, full: bool) -> list[Member]:
    """The members of one setting, seed by seed, each seed with folds of its own.

    Args:
        name: of the setting; NULL has the base's folds, and other weights, order and augmentation on them.
        labels: of all rows, int64 array (n,).
        rows: numbers of those that the study may see, sorted.
        full: each fold as a run has it; otherwise reversed: a member fits one third and predicts the other two.

    Returns:
        `seeds * repeats * folds` members, whose names begin with the setting's.
    """
    if full and config.folds == 1:
        raise CompetitionError("FULL=1 needs folds. Received: folds=1. Next: FULL=1 with BASE='RECIPE,folds=6'.")
    members, kinds = [], config.architecture.split(",")
    if len(kinds) > config.repeats * seeds:
        raise _refusal(f"architecture={config.architecture}, more kinds than repeats", f"SEEDS={len(kinds)}")
    for number in range(seeds):
        turn = number * config.repeats % len(kinds)  # over seeds the kinds go on as they do over repeats
        run = replace(
            config,
            seed=(config.seed + number) % 2**31,
            architecture=",".join(kinds[turn:] + kinds[:turn]),
            folds=config.folds if full else THIRDS,
            refit=0,
        )
        for member in plan_members(run, labels[rows]):
            fit_rows, val_rows = rows[member.train_rows], rows[member.val_rows]
            members.append(
                replace(
                    member,
                    name=f"{name}: seed{number + 1}-{member.name}",
                    seed=seed_of(member.seed, 2) >> 1 if name == NULL else member.seed,
                    train_rows=fit_rows if full else val_rows,
                    val_rows=val_rows if full else fit_rows,
                )
            )
    return members


def stack_predictions(members: list[Member], results, rows) -> tuple[np.ndarray, np.ndarray]:
    """The predictions of a plan's members, row by row.

    Returns:
        float32 array (m, 2, len(rows), 10), of the m members that predict each row in the order of the plan, and int
        array (m, len(rows)), these members' numbers in the plan.
    """
    place = np.searchsorted(rows, np.concatenate([member.val_rows for member in members]))
    probs = np.empty((np.bincount(place).max(), 2, len(rows), 10), np.float32)
    member_of_row = np.empty((len(probs), len(rows)), int)
    filled = np.zeros(len(rows), int)  # of each row, how many members' predictions are there
    for number, (member, result) in enumerate(zip(members, results, strict=True)):
        own = np.searchsorted(rows, member.val_rows)
        probs[filled[own], :, own] = result.val_probs.swapaxes(0, 1)
        member_of_row[filled[own], own] = number
        filled[own] += 1
    return probs, member_of_row


def _refusal(received: str, following: str) -> CompetitionError:
    return CompetitionError(
        f"CHANGES names settings to compare, and BASE those they change. Received: {received}. Next: {following}."
    )
