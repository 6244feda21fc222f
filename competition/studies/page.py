"""The table of a study → a page: verdicts, dots with their intervals, and every number."""

from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from competition.report import figures
from competition.report.figures import BLUE, INK, ORANGE, styled, titled_axes
from competition.report.html import render
from competition.runs import files
from competition.runs.folders import PACKAGE
from competition.studies.statistics import MEASURES, TITLES, VARIANTS


def make_study_page(table: Path) -> Path:
    """Write a study's page beside its table, which holds all that the page says.

    Raises:
        CompetitionError: the table cannot be read, or the page not be written.
    """
    lines = files.read_table(table)
    trained = [line for line in lines if line["members"]]
    by = {(line["setting"], line["variant"], int(line["members"]), line["measure"]): line for line in trained}
    largest = max(members for _, _, members, _ in by)
    names = list(dict.fromkeys(line["setting"] for line in lines))
    shown = [name for name in names if (name, VARIANTS[-1], largest, "errors") in by]

    def percents(measure):
        cells = [by[name, VARIANTS[-1], largest, measure] for name in shown]
        return [(float(cell["percent"]), float(cell["percent_half"])) for cell in cells]

    series = {TITLES[measure]: percents(measure) for measure in ("errors", "log_loss")}
    page = render(
        "study.html.j2",
        PACKAGE / "studies" / "templates",
        name=table.stem,
        first=lines[0],
        null=trained[0],
        settings=[next(line for line in lines if line["setting"] == name) for name in names],
        by=by,
        sizes=sorted({members for _, _, members, _ in by}),
        variants=VARIANTS,
        measures=MEASURES,
        titles=TITLES,
        largest=largest,
        widened={
            measure: min(float(line["widened"]) for (_, *key), line in by.items() if key == [VARIANTS[-1], 1, measure])
            for measure in MEASURES
        },
        figure=Markup(figures.to_svg(intervals(shown, series, "% of the base; left of 0 is better"))),
    )
    path = table.with_suffix(".html")
    files.write(path, page)
    return path


@styled
def intervals(names, series, unit: str) -> Figure:
    """Dots with their 95 % intervals, a row for each name, which is written above its dots.

    Args:
        names: of the rows, from top to bottom.
        series: from a label to an array (rows, 2), differences and half of their intervals; two at most.
        unit: of both.
    """
    figure, axes = titled_axes(
        "Intervals across the line: no significant difference", unit, "", size=(4.6, 1.1 + 0.55 * len(names))
    )
    rows = np.arange(len(names))
    axes.vlines(np.zeros(len(names)), rows + 0.1, rows + 0.52, color=INK, lw=0.8, alpha=0.6)
    for i, (label, values) in enumerate(series.items()):
        found, half = np.asarray(values, float).T
        color, marker = ((BLUE, "o"), (ORANGE, "s"))[i]
        axes.errorbar(found, rows + 0.2 + 0.22 * i, xerr=half, fmt=marker, ms=4, lw=1.2, color=color, label=label)
    for row, name in enumerate(names):
        name = name if len(name) <= 62 else name[:61] + "…"
        axes.annotate(name, (0, row), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.set_ylim(len(names) - 0.35, -0.3)
    axes.yaxis.set_major_locator(NullLocator())
    axes.spines.left.set_visible(False)
    figure.legend(fontsize=8, ncols=2, loc="outside lower right")
    return figure
