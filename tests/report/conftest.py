"""A real Chromium and axe-core, for the pages."""

import shutil
import subprocess
import tarfile

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


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """A function from a browser to what axe-core finds wrong with the page that it shows, as (rule, element) pairs."""
    if not shutil.which("npm"):
        lacking("no npm, which brings axe-core")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(["npm", "pack", "axe-core@4"], cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        lacking(f"npm brings no axe-core: {done.stderr[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as packed:
        script = packed.extractfile("package/axe.min.js").read().decode()
    run = """const done = arguments[0];
        axe.run().then(found => done(found.violations.flatMap(v => v.nodes.map(n => [v.id, n.html.slice(0, 200)]))))"""

    def violations(browser):
        browser.execute_script(script)
        return browser.execute_async_script(run)

    return violations
