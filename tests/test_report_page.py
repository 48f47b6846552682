"""The page of a report: what stands in it, for a reader with or without scripts or sight."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from report_results import Page, all_results, attribution, lesion, responses, result, spelled

from resnet_probe.errors import ProbeError
from resnet_probe.findings.verdict import changes
from resnet_probe.report import Made, block_cards, drawings, sections, write_report
from resnet_probe.report.drawings import inline

RESULTS = all_results()
COMMANDS = {study: f"python -m resnet_probe {study}" for study in RESULTS}
CLAIMS = pd.DataFrame(
    {
        "claim": ["a/b", "c/d", "e/f"], "source": "arXiv 1605.06431",
        "statement": ["It <falls>.", "No.", "It is there."], "kind": ["shape", "shape", "exact"],
        "published": "0.5", "rule": "the slope", "bound": ["< 1", "", "= 1"], "unit": "",
        "value": [0.7, np.nan, 1.0], "ci_low": [0.6, np.nan, 1.0], "ci_high": [0.8, np.nan, 1.0],
        "verdict": ["holds", "not testable here", "holds"], "differs": "digits",
        "why": ["", "needs two", ""],
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report of all studies, its figures as SVG alone: the other formats take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "FORMATS", {2: ("svg",), 1: ("svg",)})
        place = tmp_path_factory.mktemp("report")
        made = Made("resnet20 on digits", "python -m resnet_probe report", COMMANDS,
                    facts=[("weights", "bundled <resnet20>")])  # fmt: skip
        write_report(RESULTS, place, made=made, claims=CLAIMS)
    return place


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_every_number_on_the_page_is_one_of_its_finding(page):
    found = {section.asked.study: section.finding for section in sections(RESULTS)}
    shown = 0
    for (study, part), numbers in page.numbers.items():
        finding = found[study]
        sentence = {"sentence": finding.sentence, "answer": finding.answer, "rule": finding.rule}
        assert numbers == sentence[part].numbers
        shown += len(numbers)
    assert shown > 80
    for place, words in page.words.items():
        assert not spelled(words), f"{place}: {words}"


def test_the_answers_open_the_page(page, text):
    opening = [study for study, part in page.numbers if part == "answer"]
    assert opening == ["lesion", "paths", "responses"]
    assert text.index('id="answer-title"') < text.index('id="lesion"')


def test_headings_landmarks_and_names(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.elements[0] == ("html", {"lang": "en"})
    assert [len(page.all(landmark)) for landmark in ("header", "nav", "main")] == [1, 1, 1]
    assert len(page.all("title")) == 1 + len(page.all("svg"))
    names = [given["id"] for _, given in page.elements if "id" in given]
    assert len(names) == len(set(names)), "identifiers are unique"
    pointed = [given[key] for _, given in page.elements for key in ("aria-labelledby",)
               if key in given]  # fmt: skip
    pointed += [given["href"][1:] for given in page.all("a") if given["href"].startswith("#")]
    pointed += [given["xlink:href"][1:] for given in page.all("use")]
    assert set(pointed) <= set(names)
    assert set(re.findall(r"url\(#([^)]+)\)", str(page.elements))) <= set(names)


def test_every_drawing_has_a_name_and_two_widths(page, text):
    drawn = page.all("svg")
    assert len(drawn) == 2 * sum(len(section.asked.figures) for section in sections(RESULTS))
    assert all(given["role"] == "img" and given["aria-labelledby"] for given in drawn)
    assert len(page.all("figure")) == len(page.all("figcaption")) == len(drawn) / 2
    assert all(not given.get("width") for given in drawn), "they take the width that there is"
    assert text.count('class="wide"') == text.count('class="narrow"') == len(drawn) / 2


def test_nothing_is_loaded_from_anywhere(page, text):
    keys = ("src", "href", "xlink:href")
    links = [given[key] for _, given in page.elements for key in keys if key in given]
    outside = {link for link in links if not link.startswith(("#", "tables/", "data:"))}
    assert all(link.startswith("https://arxiv.org/abs/") for link in outside)
    assert "@import" not in text and not page.all("link", "iframe", "img")
    urls = re.findall(r"https?://[^\s\"'<)]+", text)
    assert {url.split("/")[2] for url in urls} <= {"arxiv.org", "www.w3.org"}


def test_drawings_take_the_colours_of_the_page(page):
    styles = [given["style"] for tag, given in page.elements if tag in ("text", "path", "use")
              and "style" in given]  # fmt: skip
    fixed = {colour for style in styles for colour in re.findall(r": (#[0-9a-f]{6})", style)}
    assert not fixed & {"#222222", "#ffffff", "#000000", "#f1f1f1"}, "unreadable in the dark"
    assert any("var(--ink, #222222)" in style for style in styles)


def test_commands_caveats_tables_and_rules_are_there(page, text, folder):
    said = " ".join(page.text)
    for study, found in RESULTS.items():
        assert COMMANDS[study] in said and f'href="tables/{study}.csv"' in text
        saved = pd.read_csv(folder / "tables" / f"{study}.csv")
        assert len(saved) == len(found.table)
    for words in ("share their weights", "stale statistics", "bounds the norm", "small images"):
        assert words in said
    assert "bundled <resnet20>" in said and "ab" * 8 in said


def test_what_hovering_shows_is_in_the_table_too(text, page):
    data = re.search(r'<script type="application/json" id="cards">(.*?)</script>', text, re.S)
    assert data is not None
    cards = json.loads(data[1])
    assert list(cards) == [str(block) for block in range(1, 10)]
    rows = re.findall(r'<th scope="row">(\d+) <small>(.*?)</tr>', text, re.S)
    assert len(rows) == 9
    table, gone = attribution(), lesion()
    for block, cells in rows:
        card, row = cards[block], gone.iloc[int(block)]
        assert card["error"] == pytest.approx(row["error_pct"], abs=1e-3)
        assert f"<td>{row['error_pct']:.2f}<small>{row['ci_low_pct']:.2f} to" in cells
        chosen = table[(table["block"] == int(block)) & (table["metric"] == "accuracy")]
        shapley = chosen[chosen["method"] == "shapley"]["value"].iloc[0]
        assert card["shapley"] == pytest.approx(shapley, abs=1e-3) and f"{shapley:.2f}" in cells
        classes = chosen[chosen["class"].notna()].set_index("class")["value"]
        assert card["worst_class"] == classes.idxmax()
        assert list(card["classes"].values()) == pytest.approx(classes.tolist(), abs=1e-3)
    words = changes(gone)[1:]  # those that the sentences count
    assert [cards[block]["change"] for block, _ in rows] == list(words)
    harmful = int((words == "harmful").sum())
    assert harmful > 0 and text.count('<tr class="worse">') == harmful
    areas = [int(given["data-block"]) for given in page.all("rect") if "data-block" in given]
    assert sorted(set(areas)) == list(range(1, 10)) and len(areas) % 9 == 0


def test_cards_of_fewer_studies():
    only = block_cards({"lesion": RESULTS["lesion"]})
    assert list(only["block"]) == list(range(1, 10)) and "ratio" not in only
    assert block_cards({"lens": RESULTS["lens"]}).empty
    table = responses()
    table.loc[(table["quantity"] == "ratio") & (table["number"] == 4), "value"] = np.nan
    both = block_cards({"lesion": RESULTS["lesion"], "responses": result("responses", table)})
    assert both["ratio"].isna().tolist() == [block == 4 for block in range(1, 10)]


def test_the_ledger_of_claims(page, text):
    said = " ".join(" ".join(page.text).split())
    assert "It <falls>." in said and "Ours: 0.7 (95 % CI 0.6 to 0.8). Published: 0.5." in said
    assert "Rule, < 1: the slope Ours differs: digits." in said
    assert "1 identity, which cannot fail" in said and "holds: It is there. (arXiv" in said
    assert said.count("It is there.") == 1 and "Ours: 1" not in said
    assert "1 more that these results" in said and "No. (arXiv 1605.06431) : needs two" in said


def test_what_does_not_apply_is_said_in_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(drawings, "FORMATS", {2: ("svg",), 1: ("svg",)})
    made = Made("plain20", absent={"paths": "Not measured: there is one path only."})
    write_report({"lens": RESULTS["lens"]}, tmp_path, made=made)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert " ".join(page.text).count("there is one path only") == 2  # in the opening, and there
    assert not page.all("table") or "Block by block" not in " ".join(page.text)


def test_what_was_not_asked_says_which_command_would(tmp_path, monkeypatch):
    monkeypatch.setattr(drawings, "FORMATS", {2: ("svg",), 1: ("svg",)})
    commands = {"lens": "the lens", "lesion-counts": "python -m resnet_probe lesion --counts 1-5"}
    write_report({"lens": RESULTS["lens"]}, tmp_path, made=Made("x", commands=commands))
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    said = " ".join(" ".join(page.text).split())
    assert "Not measured for this page. Measure it: python -m resnet_probe lesion --counts" in said
    assert said.count("Measure it:") == 1 and "Again: the lens" in said


def test_nothing_lies_over_a_figure(text):
    css = re.search(r"<style>(.*?)</style>", text, re.S)
    assert css is not None and "position: fixed" not in css[1]
    assert "drawing.after(readout)" in text and 'slider.type = "range"' in text


def test_a_changed_table_changes_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(drawings, "FORMATS", {2: ("svg",), 1: ("svg",)})
    shown = {}
    for error in (6.1, 40.0):
        table = lesion(error=np.full(9, error))
        write_report({"lesion": result("lesion", table)}, tmp_path, made=Made("x"))
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        shown[error] = Page(text).numbers["lesion", "answer"]["delta"]
        verdict = 'data-verdict="holds"' if error < 10 else 'data-verdict="fails"'
        assert verdict in text
    assert shown == pytest.approx({6.1: 0.125, 40.0: 34.0})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "report.html", "tables"]


def test_studies_without_a_section_are_refused(tmp_path):
    with pytest.raises(ProbeError, match="no section for 'agreement': it has lesion"):
        sections({"agreement": RESULTS["lens"]})
    with pytest.raises(ProbeError, match="at least one study"):
        write_report({}, tmp_path / "x", made=Made("x"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match="cannot be written"):
        write_report(RESULTS, tmp_path / "file", made=Made("x"))


def test_an_inlined_drawing_keeps_to_itself():
    text = (
        '<?xml version="1.0"?><!DOCTYPE svg>\n<svg width="9pt" viewBox="0 0 9 9">'
        "<metadata>http://a</metadata><style>*{x: y}</style>"
        '<path id="p1" style="fill: #ffffff"/><use xlink:href="#p1" clip-path="url(#p1)"/></svg>'
    )
    found = inline(text, prefix="a", label="“A” & <b>")
    assert found.startswith("<svg") and "metadata" not in found and "<style>" not in found
    assert 'id="a-p1"' in found and 'href="#a-p1"' in found and "url(#a-p1)" in found
    assert "var(--paper, #ffffff)" in found and "&amp; &lt;b&gt;" in found
