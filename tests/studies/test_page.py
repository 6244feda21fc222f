"""A study's page, from its table alone."""

import re

import pytest

from competition.runs import files
from competition.studies.page import make_study_page
from competition.studies.statistics import MEASURES, VARIANTS
from tests.report.test_browser import CONTRAST, WIDTHS, opened

NOTHING = "not significant, ±2 %"
LONG = "architecture=fine,pooled, label_smoothing=0.05, width=0.5, epochs=14, rotation=15, shear=10"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Of a null, a better setting, one whose words are long, and one that did not train."""
    same = {"seconds": 9.5, "base": "fast, <b>", "split": "reversed thirds", "seeds": 2, "rows": 36000,
            "source": "kaggle", "commit": "0", "hardware": "<none & nothing>"}  # fmt: skip
    lines = [
        {
            **same, "setting": setting, "verdict": verdict, "variant": variant, "members": members, "measure": measure,
            "of_base": 250.0, "of_setting": 250 + 2.5 * percent, "difference": 2.5 * percent, "low": 2.5 * percent - 5,
            "high": 2.5 * percent + 5, "percent": percent, "percent_half": 2.0,
            "widened": 1 + MEASURES.index(measure) / 4,
        }
        for setting, verdict, percent in (
            ("base again", NOTHING, 0.5), ("width=2", "better", -12.3), (LONG, "perhaps worse", 2.2)
        )
        for variant in VARIANTS
        for members in (1, 2, 4)
        for measure in MEASURES
    ]  # fmt: skip
    lines.append({**same, "setting": "learning_rate=10", "verdict": "did not train", "seconds": ""})
    table = tmp_path_factory.mktemp("studies") / "wide.csv"
    files.write_table(table, dict.fromkeys(key for line in lines for key in line), lines)
    return make_study_page(table)


def test_each_setting_stands_there_with_its_verdict_and_every_number(page):
    text = page.read_text("utf-8")
    rows = re.findall(r"<tr><th[^>]*>([^<]+)</th><td>([^<]+)</td>", text)[:4]
    assert rows == [
        ("base again, chance alone", NOTHING), ("width=2", "better"), (LONG, "perhaps worse"),
        ("learning_rate=10", "did not train"),
    ]  # fmt: skip
    assert text.count("−12.3 ± 2.0") == 3 + 3 * 2 * 3
    assert "1.00 times for errors, 1.25 times for log-loss, 1.50 times for Brier score." in text
    assert "36,000 rows" in text and "FULL=1" in text
    assert "&lt;none &amp; nothing&gt;" in text and "<none" not in text
    assert text.count('class="wide" tabindex="0" role="region"') == text.count("<table>") == 4
    assert '<th scope="col">errors, %</th>' in text and "<h3>Errors, rows</h3>" in text
    assert page == page.with_name("wide.html") and text.count("<svg") == text.count('role="img" aria-label="') == 1


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_it_fits_and_its_text_stands_out(browser, page, width, scheme):
    opened(browser, page, width, scheme)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    worst = browser.execute_script(CONTRAST)
    assert worst["ratio"] >= 4.5, worst
