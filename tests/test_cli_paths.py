"""`paths` and `bench paths` as a user meets them."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from test_cli import refused

from resnet_probe.cli import main
from resnet_probe.results import Result

SMALL = ["paths", "--arch", "resnet20", "--limit", "6", "--samples", "5", "--signs", "3"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_paths_writes_a_run_folder_and_says_what_it_holds(tmp_path, capsys):
    assert main(SMALL) == 0
    said = capsys.readouterr()
    folder = tmp_path / "runs" / "paths-resnet20-digits"
    assert str(folder) in said.out and said.err == ""
    for sentence in (
        "9 blocks, 2^9 paths", "exact, the norm of the sum", "share of the gradient:",
        "all single paths, root mean square norm: times 0.", "sampled single paths, mean norm:",
        "count × norm peaks at", "90 % in", "the rest cancels", "sum to the ordinary gradient",
    ):  # fmt: skip
        assert sentence in said.out
    files = {path.name for path in folder.iterdir()}
    stems = ("figure", "depth", "terms", "coherence")
    drawn = {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    assert files == {"table.csv", "provenance.json", *drawn}
    record = json.loads((folder / "provenance.json").read_text())
    identity = record["identity"]
    for key in ("weights_sha256", "data_sha256", "signs", "samples", "at", "precision", "seed"):
        assert key in identity
    assert record["sum_error_max"] < 1e-5
    assert Result.load(folder).study == "paths"
    assert main([*SMALL[:-1], "4"]) == 0  # another study of the same name lies apart from it
    apart = [path for path in (tmp_path / "runs").iterdir() if path != folder]
    assert Result.load(apart[0]).identity["signs"] == 4 and len(apart) == 1
    assert Result.load(folder).identity["signs"] == 3
    assert main([*SMALL[:-1], "4", "--out", str(folder)]) == 2
    assert "signs is 3 there and 4 was asked for" in capsys.readouterr().err


def test_the_same_run_again_gives_the_same_table(tmp_path):
    for _ in range(2):
        assert main([*SMALL, "--out", "a"]) == 0
    first = (tmp_path / "a" / "table.csv").read_bytes()
    assert main([*SMALL, "--out", "b"]) == 0
    assert (tmp_path / "b" / "table.csv").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "methods", "places"),
    [
        (["--method", "exact", "--at", "stem"], {"exact"}, range(1, 10)),
        (["--method", "sample", "--max-length", "2"], {"sample"}, [0]),
        (["--method", "all", "--at", "8", "--precision", "float64"], {"all"}, [8]),
    ],
)
def test_options_reach_the_study(tmp_path, capsys, arguments, methods, places):
    assert main([*SMALL, *arguments, "--out", "a"]) == 0
    table = pd.read_csv(tmp_path / "a" / "table.csv")
    assert set(table["method"]) == methods and set(table["block"]) == set(places)
    if "--max-length" in arguments:
        assert table["length"].max() == 2
        assert "only paths of at most 2 blocks were followed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "plain20"], "plain20 is a plain network: without shortcuts there is one path"),
        (["--at", "10"], "block 10 is out of range: resnet20 has 9 blocks (1–9)"),
        (["--at", "-1"], "unknown place '-1': write input, stem, or the number of a block"),
        (["--max-length", "10"], "a path length of 10 is out of range: resnet20 has 9 blocks"),
        (["--samples", "0"], "0 samples are none"),
        (["--memory", "100KiB"], "is too small for the paths of one image of resnet20: it takes"),
        (["--batch", "0"], "--batch 0: at least 1 is needed"),
        (["--method", "some"], "invalid choice: 'some'"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(tmp_path, capsys, arguments, message):
    assert message in refused(capsys, [*SMALL, *arguments])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_interrupted_run_leaves_nothing_half_written(tmp_path, capsys, monkeypatch):
    from resnet_probe.studies.paths.sample import SampledPaths

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(SampledPaths, "add", stop)
    assert main(SMALL) == 130
    assert "nothing was written to" in capsys.readouterr().err
    kept = [path.parent.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(kept) == {"paths-resnet20-digits.partial"}  # what was finished, and nothing else


def test_bench_paths_gives_equal_results(capsys):
    arguments = ["--arch", "resnet20", "--limit", "4", "--size", "8", "--rounds", "1"]
    assert main(["bench", "paths", *arguments]) == 0
    said = capsys.readouterr().out
    assert "exact spectrum, 10 lengths" in said and "10 sampled paths, one by one" in said
    for line in ("exact spectrum over one ordinary pass:", "sampled at once against one by one:"):
        assert float(said.split(line)[1].split("x")[0]) > 0
    assert "budget 2.0 GiB" in said
    message = refused(capsys, ["bench", "paths", *arguments, "--samples", "0"])
    assert "--samples 0: at least 1 is needed" in message


def test_the_plain_loop_of_the_benchmark_is_the_definition_of_a_path():
    """Each of its paths against the enumeration in the tests."""
    from test_spectrum import along
    from toy_chains import TinyResNet, images, labels, seeded

    from resnet_probe import chain_of
    from resnet_probe.benchmarks.paths import ordinary, path_by_path
    from resnet_probe.studies.paths.request import request
    from resnet_probe.studies.paths.sample import SampledPaths

    x, y = images().double(), labels()
    chain = chain_of(seeded(TinyResNet).double(), x)
    asked = request(chain, samples=2, method="sample")
    found = path_by_path(chain, x, y, asked)
    for draw in range(2):
        order = SampledPaths(asked).order(draw)
        for length in range(4):
            expected = along(chain, x, y, order[:length]).flatten(1).norm(dim=1).mean()
            torch.testing.assert_close(found[draw, length], expected)
    torch.testing.assert_close(ordinary(chain, x, y, 4), along(chain, x, y, None))


def test_the_help_says_what_is_measured(capsys):
    with pytest.raises(SystemExit):
        main(["paths", "--help"])
    said = capsys.readouterr().out
    for word in ("--method", "--signs", "--samples", "--max-length", "--at", "--precision"):
        assert word in said
