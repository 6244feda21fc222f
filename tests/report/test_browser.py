"""The report in a real Chromium: what people see, click and type."""

import base64
import json
import re

import cv2
import numpy as np
import pytest

from competition.report.comparison import make_comparison
from competition.report.enlarged import NEAREST
from competition.report.index import make_index
from competition.report.run_page import make_report
from competition.runs.run import Run
from tests.finished_run import MISREAD, finished_run

pytestmark = pytest.mark.slow
WIDTHS = {"narrow": 320, "phone": 390, "desktop": 1280}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folders, run, digits = finished_run(tmp_path_factory.mktemp("runs"), repeats=2, networks=True, width=0.125)
    return make_report(folders, run, digits), digits


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The page of all runs, and of two of the three."""
    folder = tmp_path_factory.mktemp("runs")
    finished_run(folder, "20260101-000000-quick", {(4, 9): 5, (2, 3): 1})
    finished_run(folder, "20260102-000000-quick", {(4, 9): 2, (7, 1): 1})
    folders, run, digits = finished_run(folder, "20260103-000000-quick", {(2, 7): 1}, folds=3)
    compared = make_comparison(folders, Run(folder / "20260101-000000-quick"), run, digits)
    return make_index(folders), compared


def opened(browser, path, width=1280, scheme="light", scripts=True):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what earlier tests left
    browser.get(path.as_uri())
    return browser


def shown(browser) -> list[str]:
    return browser.execute_script("return [...document.querySelectorAll('#cell img')].map(i => i.alt)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_it_loads_without_errors_or_requests_and_fits(browser, page, width, scheme):
    opened(browser, page[0], width, scheme)
    assert browser.get_log("browser") == []
    urls = [
        message["params"]["request"]["url"]
        for message in (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in urls if not url.startswith("data:")] == [page[0].as_uri()]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    broken = "return [...document.images].filter(i => i.complete && !i.naturalWidth && i.checkVisibility()).length"
    assert browser.execute_script(broken) == 0


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_a_click_shows_the_digits_of_that_error_and_nothing_else(browser, page, width):
    path, digits = page
    opened(browser, path, width)
    for (label, reading), count in MISREAD.items():
        browser.find_element("css selector", f"td[data-cell='{label}-{reading}'] button").click()
        alts = shown(browser)
        rows = [int(re.match(r"Row (\d+):", alt)[1]) for alt in alts]
        assert len(set(rows)) == len(alts) == count
        assert all(alt.endswith(f"label {label}, predicted {reading}") for alt in alts)
        assert (digits.train.labels[[row - 1 for row in rows]] == label).all()
        title = browser.find_element("css selector", "#cell h3").text
        assert title == f"label {label}, predicted {reading}: {count}"
    browser.find_element("css selector", "td[data-cell='3-3'] button").click()
    assert len(shown(browser)) == 5 and all(alt.endswith("label 3, predicted 3") for alt in shown(browser))
    assert len(browser.find_elements("css selector", "button[aria-pressed='true']")) == 1


def test_the_pictures_shown_are_those_of_the_rows(browser, page):
    path, digits = page
    opened(browser, path)
    browser.find_element("css selector", "td[data-cell='7-1'] button").click()
    image = browser.find_element("css selector", "#cell img")
    row = int(re.match(r"Row (\d+):", image.get_attribute("alt"))[1]) - 1
    raw = np.frombuffer(base64.b64decode(image.get_attribute("src").split(",")[1]), np.uint8)
    assert (cv2.imdecode(raw, cv2.IMREAD_GRAYSCALE) == digits.train.images[row, ..., 0]).all()


def test_the_keyboard_is_enough(browser, page):
    from selenium.webdriver.common.keys import Keys

    opened(browser, page[0])
    for _ in range(200):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        cell = browser.execute_script("return document.activeElement.closest('td')?.dataset.cell")
        if cell == "4-9":
            break
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert len(shown(browser)) == MISREAD[4, 9]


def test_without_scripts_everything_is_there_but_the_buttons(browser, page):
    opened(browser, page[0], scripts=False)
    assert not any(button.is_displayed() for button in browser.find_elements("css selector", "button"))
    assert not browser.find_element("css selector", "#how").is_displayed()
    assert browser.find_element("css selector", "td[data-cell='4-9']").text == str(MISREAD[4, 9])
    figures = browser.find_elements("css selector", "#errors figure[data-cell='4-9'] img")
    assert len(figures) == MISREAD[4, 9] and all(figure.is_displayed() for figure in figures)


def alts(browser, selector):
    return browser.execute_script("return [...document.querySelectorAll(arguments[0])].map(i => i.alt)", selector)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_a_digit_is_enlarged_by_a_click_and_by_keys(browser, page, width):
    from selenium.webdriver.common.keys import Keys

    path, digits = page
    opened(browser, path, width)
    errors = alts(browser, "#gallery img")
    button = browser.find_element("css selector", "#gallery figure button")
    button.click()
    dialog = browser.find_element("css selector", "#enlarged")
    assert dialog.is_displayed() and browser.find_element("css selector", "#enlarged h2").text == errors[0]
    row = int(re.match(r"Row (\d+):", errors[0])[1])
    bars = browser.execute_script("return [...document.querySelectorAll('#bars tr')].map(r => r.innerText)")
    assert len(bars) == 10 and sum("%" in bar for bar in bars) == 10
    members = [line.text.split() for line in browser.find_elements("css selector", "#members tr")]
    assert [name for name, *_ in members] == [f"repeat{r}-fold{f}" for r in (1, 2) for f in (1, 2)]
    assert sorted(last for *_, last in members) == ["trained", "trained", "validated", "validated"]
    near = [re.fullmatch(r"Row (\d+): label (\d)", alt) for alt in alts(browser, "#nearest img")]
    assert len(near) == NEAREST and row not in {int(found[1]) for found in near}
    assert all(digits.train.labels[int(found[1]) - 1] == int(found[2]) for found in near)
    assert browser.execute_script("return document.getElementById('map').naturalWidth") == 14
    assert "without the 4×4 pixels that matter most" in browser.find_element("css selector", "#words").text
    assert browser.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", dialog)
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert browser.find_element("css selector", "#enlarged h2").text == errors[1]
    browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert browser.find_element("css selector", "#enlarged h2").text == errors[-1]
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()
    focused = browser.switch_to.active_element
    assert focused.get_attribute("aria-label") == f"{errors[-1]}. Enlarge."
    focused.send_keys(Keys.ENTER)
    assert dialog.is_displayed()
    assert browser.get_log("browser") == []


def test_errors_are_filtered_and_sorted(browser, page):
    from selenium.webdriver.support.ui import WebDriverWait

    opened(browser, page[0])
    everything = alts(browser, "#gallery img")
    choose = "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
    choose += "e.dispatchEvent(new Event('input', {bubbles: true}))"
    browser.execute_script(choose, "by-label", "4")
    assert alts(browser, "#gallery img") == [alt for alt in everything if "label 4" in alt]
    assert browser.find_element("css selector", "#found").text == "5 of 9 errors"
    browser.find_element("css selector", "td[data-cell='9-4'] button").click()
    assert len(shown(browser)) == MISREAD[9, 4]  # whatever is filtered
    browser.execute_script(choose, "by-label", "")
    browser.execute_script(choose, "by-predicted", "1")
    assert len(alts(browser, "#gallery img")) == MISREAD[7, 1]
    browser.find_element("css selector", "#filter button[type='reset']").click()
    WebDriverWait(browser, 10).until(lambda _: len(alts(browser, "#gallery img")) > 1)  # it empties the fields first
    assert alts(browser, "#gallery img") == everything
    for order, key in (("row", r"Row (\d+)"), ("label", r"label (\d)"), ("predicted", r"predicted (\d)")):
        browser.execute_script(choose, "order", order)
        values = [int(re.search(key, alt)[1]) for alt in alts(browser, "#gallery img")]
        assert values == sorted(values) and len(values) == 9
    browser.execute_script(choose, "order", "unsure")
    assert alts(browser, "#gallery img") == everything[::-1]
    browser.execute_script(choose, "order", "disagreement")
    given = browser.execute_script("return [...document.querySelectorAll('#gallery figure')].map(disagreement)")
    assert given == sorted(given, reverse=True) and given[0] > 0


def test_the_runs_are_sorted_by_a_column(browser, runs):
    opened(browser, runs[0])

    def names():
        return [heading.text[:8] for heading in browser.find_elements("css selector", "#runs tbody th")]

    assert names() == ["20260103", "20260102", "20260101"]
    heading = browser.find_element("xpath", "//button[text()='out-of-fold accuracy']")
    heading.click()  # 1, 3 and 6 errors
    assert names() == ["20260103", "20260102", "20260101"]
    heading.click()
    assert names() == ["20260101", "20260102", "20260103"]
    assert browser.find_element("css selector", "th[aria-sort='ascending']").text.startswith("out-of-fold")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_axe_finds_nothing(browser, axe, page, runs, width, scheme):
    for path in (page[0], *runs):
        opened(browser, path, width, scheme)
        assert axe(browser) == [], path.name
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, path.name
    opened(browser, page[0], width, scheme)
    browser.find_element("css selector", "#gallery figure button").click()
    assert axe(browser) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser, page, scheme):
    """WCAG AA: 4.5:1 for every text on the page, the coloured cells among them."""
    opened(browser, page[0], scheme=scheme)
    worst = browser.execute_script(CONTRAST)
    assert worst["ratio"] >= 4.5, worst


CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function rgb(color, under) {
  canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1);
  canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
function light(c) {
  const [r, g, b] = c.map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const page = getComputedStyle(document.body).backgroundColor;
let worst = {ratio: 99};
for (const e of document.querySelectorAll("body *")) {
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.tagName === "SCRIPT")
    continue;
  let under = page;
  for (let a = e; a; a = a.parentElement) {
    const b = getComputedStyle(a).backgroundColor;
    if (b !== "rgba(0, 0, 0, 0)") { under = b; break; }
  }
  const [x, y] = [light(rgb(getComputedStyle(e).color, page)), light(rgb(under, page))];
  const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  if (ratio < worst.ratio) worst = {ratio, text: e.textContent.slice(0, 40), tag: e.outerHTML.slice(0, 80)};
}
return worst;
"""
