"""All complete runs → submissions/index.html, a table to sort."""

from pathlib import Path

import numpy as np
import pandas as pd
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
    lines = [line_of(run, rows.get(run.name, {}), [other.name for other in runs]) for run in runs]
    files.write(path, render("index.html.j2", runs=lines))
    return path


def line_of(run: Run, row: dict, others: list[str]) -> dict:
    """What the page shows of a run, or why it cannot be read.

    Args:
        row: the run's of history.csv.
        others: the runs that it may have been compared with.
    """
    pairs = [(other, f"compare-{pair}.html") for other in others
             for pair in (f"{run.name}-{other}", f"{other}-{run.name}")]  # fmt: skip
    line = {
        "name": run.name,
        "report": (run.path / "report.html").exists(),
        "comparisons": [(page, other) for other, page in pairs if (run.path.parent / page).exists()],
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


def sparkline(histories: list[dict]) -> Markup:
    """The mean loss of the members' early-stopping slices, epoch by epoch, on a logarithmic scale, as <svg>."""
    losses = pd.DataFrame([np.maximum(member["val_loss"], 1e-6) for member in histories])  # shorter ones end in NaN
    mean = losses.mean().to_numpy()
    heights = np.log(mean) - np.log(mean.min())
    x = np.linspace(2, 98, len(mean)) if len(mean) > 1 else np.array([50])
    y = 22 - 20 * heights / max(heights.max(), 1e-6)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    words = f"Loss of the early-stopping slices, from {mean[0]:.3f} to {mean[-1]:.3f} in {len(mean)} epochs"
    return Markup(
        f'<svg width="100" height="24" viewBox="0 0 100 24" role="img" aria-label="{words}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )
