"""Every analysis runs, small."""

from __future__ import annotations

import runpy

import pytest
from conftest import ROOT

from resnet_probe.results import Result

SCRIPTS = sorted((ROOT / "analyses").glob("*.py"))


@pytest.mark.many(6)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_analysis_runs_and_saves_its_table_and_figure(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where runs are kept
    monkeypatch.setattr("sys.argv", [script.name, "--tiny", "--out", str(tmp_path / "out")])
    runpy.run_path(str(script), run_name="__main__")
    result = Result.load(tmp_path / "out")
    assert len(result.table) > 0
    assert {"figure.png", "figure.svg"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert str(tmp_path / "out") in capsys.readouterr().out


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_analysis_says_what_it_is_about(script):
    header = script.read_text().split('"""')[1]
    for word in ("Paper", "Claim", "Here", "Run"):
        assert f"\n{word} " in header, word
