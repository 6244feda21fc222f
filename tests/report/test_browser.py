"""The report in a real Chromium: what people see, click and type."""

import base64
import json
import re
import shutil

import cv2
import numpy as np
import pytest

from competition.report.run_page import make_report
from tests.conftest import lacking, needed
from tests.finished_run import MISREAD, finished_run

pytestmark = pytest.mark.slow
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
CHROME = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which(MAC)
WIDTHS = {"phone": 390, "desktop": 1280}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folders, run, digits = finished_run(tmp_path_factory.mktemp("runs"), repeats=2)
    return make_report(folders, run, digits), digits


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROME and shutil.which("chromedriver")):
        lacking("no chromium with its chromedriver")
    webdriver = needed("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


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
        assert all(alt.endswith(f"label {label}, read as {reading}") for alt in alts)
        assert (digits.train.labels[[row - 1 for row in rows]] == label).all()
        title = browser.find_element("css selector", "#cell h3").text
        assert title == f"{label} read as {reading}: {count}"
    browser.find_element("css selector", "td[data-cell='3-3'] button").click()
    assert len(shown(browser)) == 5 and all(alt.endswith("label 3, read as 3") for alt in shown(browser))
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
        cell = browser.execute_script("return document.activeElement.parentElement.dataset.cell")
        if cell == "4-9":
            break
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert len(shown(browser)) == MISREAD[4, 9]


def test_without_scripts_everything_is_there_but_the_buttons(browser, page):
    opened(browser, page[0], scripts=False)
    assert browser.find_elements("css selector", "button") == []
    assert not browser.find_element("css selector", "#how").is_displayed()
    assert browser.find_element("css selector", "td[data-cell='4-9']").text == str(MISREAD[4, 9])
    figures = browser.find_elements("css selector", "#errors figure[data-cell='4-9'] img")
    assert len(figures) == MISREAD[4, 9] and all(figure.is_displayed() for figure in figures)


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
