"""All complete runs → submissions/index.html, a table to sort."""

from pathlib import Path

import numpy as np
from markupsafe import Markup

from competition.config import RECIPES
from competition.errors import CompetitionError
from competition.report.html import render
from competition.runs import files, history
from competition.runs.folders import Folders
from competition.runs.run import Run, list_runs, settings_of


def make_index(folders: Folders) -> Path | None:
    """Write the page of all complete runs, the newest first.

    Returns:
        The page; None where there is no such run, and then there is no page either.
    """
    path = folders.submissions / "index.html"
    runs = [run for run in reversed(list_runs(folders)) if run.complete]
    if not runs:
        path.unlink(missing_ok=True)
        return None
    rows = {row["run"]: row for row in history.read(folders)}
    files.write(path, render("index.html.j2", runs=[line_of(run, rows.get(run.name, {})) for run in runs]))
    return path


def line_of(run: Run, row: dict) -> dict:
    """What the page shows of a run, or why it cannot be read.

    Args:
        row: the run's of history.csv.
    """
    line = {
        "name": run.name,
        "report": (run.path / "report.html").exists(),
        "comparisons": comparisons_of(run),
        "problem": None,
    }
    try:
        config, manifest, scores, histories = run.config, run.manifest, run.scores, run.histories()
    except CompetitionError as error:
        return line | {"problem": str(error)}
    recipe, settings = RECIPES.get(config.recipe), settings_of(config)
    return line | {
        "recipe": config.recipe,
        "part": history.part_of(scores),
        "blend": len(manifest.get("parents", [])),
        "source": manifest["source"],
        "differing": [(name, value) for name, value in settings.items() if recipe and value != getattr(recipe, name)],
        "oof": scores["out_of_fold"],
        "board": scores["leaderboard"],
        "real": float(row["leaderboard"]) if row.get("leaderboard") else None,
        "seconds": sum(manifest.get("seconds", {}).values()),
        "sparkline": sparkline(histories) if histories else "",
    }


def comparisons_of(run: Run) -> list[tuple[str, str]]:
    """The pages that compare the run, each with the name of the other run."""
    names = [page.name for page in sorted(run.path.parent.glob("compare-*.html"))]
    pairs = [(name, name.removeprefix("compare-").removesuffix(".html")) for name in names]
    firsts = [(name, both.removeprefix(f"{run.name}-")) for name, both in pairs if both.startswith(f"{run.name}-")]
    return firsts + [(name, both.removesuffix(f"-{run.name}")) for name, both in pairs if both.endswith(f"-{run.name}")]


def sparkline(histories: list[dict]) -> Markup:
    """The mean loss of the members' early-stopping slices, epoch by epoch, on a logarithmic scale, as <svg>."""
    curves = [np.maximum(member["val_loss"], 1e-6) for member in histories]
    longest = max(map(len, curves))
    losses = np.full((len(curves), longest), np.nan)
    for row, curve in zip(losses, curves, strict=True):
        row[: len(curve)] = curve
    mean = np.nanmean(losses, axis=0)
    heights = np.log(mean) - np.log(mean.min())
    x = np.linspace(2, 98, longest) if longest > 1 else np.array([50])
    y = 22 - 20 * heights / max(heights.max(), 1e-6)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    words = f"Loss of the early-stopping slices, from {mean[0]:.3f} to {mean[-1]:.3f} in {longest} epochs"
    return Markup(
        f'<svg width="100" height="24" viewBox="0 0 100 24" role="img" aria-label="{words}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )
