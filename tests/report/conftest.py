"""A real Chromium, for the pages."""

import shutil

import pytest

from tests.conftest import lacking, needed

MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
CHROME = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which(MAC)


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
