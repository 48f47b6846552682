"""The explorer as a user meets it: in JupyterLab, in a real browser.

Run with `--campaign-size 1`; axe is run where `AXE` names axe.min.js.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import resnet_probe as rp

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
sys.path.append(str(ROOT / "analyses" / "front_page"))
from jupyterlab_page import browser, headline, served, show, wait_for

AXE = os.environ.get("AXE")
LIMIT = 100
CELLS = [f"import resnet_probe as rp\nready = rp.prepare('resnet20', limit={LIMIT})",
         "rp.explore(ready)"]  # fmt: skip
pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(
        shutil.which("chromedriver") is None, reason="there is no Chromium with its driver"
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, pytestconfig: Any) -> Iterator[Any]:
    """The driver of a window in which the explorer stands, all blocks on."""
    if not pytestconfig.getoption("--campaign-size"):
        pytest.skip("starts JupyterLab and Chromium: with --campaign-size")
    folder = tmp_path_factory.mktemp("lab")
    with served(folder) as address, browser(width=1100, height=1200) as driver:
        show(driver, address, folder, CELLS)
        yield driver


def test_a_click_shows_the_error_that_lesion_computes(page):
    edits = rp.lesion(rp.prepare("resnet20", limit=LIMIT)).table.query("edits == 1")
    worst = edits.loc[edits["error_pct"].idxmax()]
    assert headline(page).startswith("100.0 % of 100 images right")
    switch(page, int(worst["blocks"])).click()
    right = f"{100 - worst['error_pct']:.1f} % of {LIMIT} images right"
    low, high = 100 - worst["ci_high_pct"], 100 - worst["ci_low_pct"]
    wait_for(lambda: headline(page).startswith(f"{right} (95 % CI {low:.1f}–{high:.1f})"), right)
    switch(page, int(worst["blocks"])).click()
    wait_for(lambda: "the network as it is" in headline(page), "all on")


def test_no_control_lies_on_another(page):
    """Nor on the shortcuts, which are drawn above the blocks."""
    found = page.find_elements("css selector", ".rp-explore button, .rp-explore input")
    rects = [one.rect for one in found if one.is_displayed()]
    drawn = [one.rect for one in page.find_elements("css selector", ".rp-explore button.rp-block")]
    shortcuts = [{**one, "y": one["y"] - 9, "height": 9} for one in drawn]
    assert len(drawn) == 9
    for one, other in combinations([*rects, *shortcuts], 2):
        assert not overlap(one, other), (one, other)


def test_the_button_copies_code_of_the_notebooks_own_names(page):
    grants = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    page.execute_cdp_cmd("Browser.grantPermissions", grants)
    switch(page, 5).click()
    page.find_element("css selector", ".rp-explore .jupyter-widget-Collapse-header").click()
    copy = page.find_element("css selector", ".rp-code .rp-copy")
    wait_for(copy.is_displayed, "the code")
    copy.click()
    wait_for(lambda: copy.text == "Copied", "the word that it is copied")
    read = "navigator.clipboard.readText().then(arguments[0])"
    code = page.execute_async_script(read)
    assert "rp.Explorer(ready)" in code and "explorer.set(off=[5])" in code
    names: dict[str, Any] = {"ready": rp.prepare("resnet20", limit=LIMIT)}
    exec(code, names)
    assert headline(page).startswith(f"{names['now'].accuracy_pct:.1f} %")


def test_fields_have_labels(page):
    fields = page.find_elements("css selector", ".rp-explore input, .rp-explore textarea")
    assert [field.accessible_name for field in fields] == ["factor", "k", "seed", "Python"]


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing(page, theme):
    change = (
        "window.jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]})"
        ".then(() => arguments[1]())"
    )
    page.execute_async_script(change, f"JupyterLab {theme}")
    dark = "return document.body.dataset.jpThemeLight"
    wait_for(lambda: page.execute_script(dark) == {"Light": "true", "Dark": "false"}[theme], theme)
    if AXE is None:
        pytest.skip("AXE names no axe.min.js")
    page.execute_script(Path(AXE).read_text(encoding="utf-8"))
    run = "axe.run('.rp-explore').then(found => arguments[0](found.violations.map(one => one.id)))"
    assert page.execute_async_script(run) == []


def switch(page: Any, number: int) -> Any:
    return page.find_elements("css selector", ".rp-explore button.rp-block")[number - 1]


def overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "width"), ("y", "height"))
    )
