"""The table of a study → a page: verdicts, dots with their intervals, and every number."""

from pathlib import Path

from markupsafe import Markup

from competition.report import figures
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
        figure=Markup(figures.to_svg(figures.intervals(shown, series, "% of the base; left of 0 is better"))),
    )
    path = table.with_suffix(".html")
    files.write(path, page)
    return path
