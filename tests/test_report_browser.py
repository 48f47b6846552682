"""The page in a real browser: keyboard, widths, light and dark, print, and no violation of axe.

Needs Chromium with its driver and selenium; axe is run where `AXE` names axe.min.js.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_results import all_results

from resnet_probe.findings.atlas import row
from resnet_probe.report import Made, drawings, write_report
from resnet_probe.report.atlas import render_atlas
from resnet_probe.results import Result
from resnet_probe.stats import Estimate

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
DRIVER = shutil.which("chromedriver")
AXE = os.environ.get("AXE")
pytestmark = pytest.mark.skipif(DRIVER is None, reason="there is no Chromium with its driver")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "FORMATS", {2: ("svg",), 1: ("svg",)})
        write_report(all_results(), folder, made=Made("resnet20 on digits"))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Any:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", {
        "offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0})  # fmt: skip
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three networks, one of them without an error."""
    rows = [
        {"network": name, "family": "ours", "arch": "resnet20", "weights": "", "data": "digits",
         "trained": True, "residual": True, **made}
        for name, error in (("a", 3.0), ("b", 1.0), ("c", float("nan")))
        for made in (
            row("blocks", Estimate(9, 9, 9), "blocks"),
            row("error", Estimate(error, error, error), "%", why="untrained"),
            {**row("block_ratio", Estimate(0.5, 0.4, 0.6), "none"), "block": 1, "stage": 1},
        )
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("atlas") / "atlas.html"
    text = render_atlas(Result("atlas", pd.DataFrame(rows), {}), title="An atlas")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.many(3)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize(("name", "title"), [("page", "resnet20 on digits"), ("atlas", "An atlas")])
def test_the_page_without_network(browser, request, name, title, width, scheme):
    page = request.getfixturevalue(name)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())
    assert browser.title == title
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 27)"}[scheme]
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    if AXE:
        browser.execute_script(Path(AXE).read_text(encoding="utf-8"))
        run = "axe.run().then(found => arguments[0](found.violations.map(one => one.id)))"
        assert browser.execute_async_script(run) == []


def test_the_keyboard_reaches_every_block(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.get(page.as_uri())
    slider = browser.find_element("css selector", "#lesion .readout input")
    line = browser.find_element("css selector", "#lesion .readout p")
    assert line.text.startswith("Point at a block")
    slider.send_keys(Keys.ARROW_RIGHT * 8)
    assert line.text.startswith("Block 9, layer3.2: error without it")
    assert slider.get_attribute("aria-valuetext") == line.text
    chosen = browser.find_elements("css selector", "rect.block.chosen")
    assert {one.get_attribute("data-block") for one in chosen} == {"9"}
    below = "return arguments[0].getBoundingClientRect().bottom"
    drawing = browser.find_element("css selector", "#lesion .drawing")
    top = "return arguments[0].getBoundingClientRect().top"
    assert browser.execute_script(top, line) >= browser.execute_script(below, drawing)


def test_a_column_sorts_the_networks_and_turns_round(browser, atlas):
    browser.get(atlas.as_uri())
    heading = browser.find_element("xpath", "//thead//th[contains(., 'error, %')]")
    for order, rows in (("ascending", "bac"), ("descending", "abc")):
        heading.find_element("tag name", "button").click()
        assert heading.get_attribute("aria-sort") == order
        names = browser.find_elements("css selector", "tbody th")
        assert "".join(one.text[0] for one in names) == rows


@pytest.mark.parametrize(("name", "across", "least"), [("page", 210, 2), ("atlas", 297, 1)])
def test_it_prints_on_pages_of_a4(browser, request, name, across, least):
    """In the colours of paper, with nothing wider than what the margins leave."""
    page, left = request.getfixturevalue(name), round((across - 2 * 15) / 25.4 * 96)
    size = {"width": left, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= left
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert ground == "rgb(255, 255, 255)"
    found = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    printed = base64.b64decode(found["data"])
    assert printed.count(b"/Type /Page\n") >= least
    wide, high = map(float, re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed).groups())
    assert [round(each / 72 * 25.4) for each in (wide, high)] == [across, 297 + 210 - across]


def test_the_switchboard_says_what_was_measured_and_how_to_measure_more(browser, page):
    browser.get(page.as_uri())
    one, other = (
        browser.find_element("css selector", f"button.switch[data-block='{n}']") for n in (4, 2)
    )
    said = browser.find_element("id", "switched")
    assert said.text.startswith("All blocks on: error")
    one.click()
    assert said.text.startswith("Block 4 off: error")
    assert one.get_attribute("aria-pressed") == "false"
    assert "unknown" in other.get_attribute("class")
    other.click()
    assert "Blocks 2, 4 off: not measured" in said.text and "delete 2 4" in said.text
    browser.find_element("id", "all-on").click()
    assert said.text.startswith("All blocks on: error")
