"""responses, lens, attribute, agreement and lesion --recalibrate as a user meets them."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from resnet_probe import models
from resnet_probe.cli import main
from resnet_probe.results import Result

SMALL = ["--arch", "resnet20", "--limit", "12"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(capsys, arguments) -> str:
    """The one sentence of a refusal: exit status 2, and no run folder."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


RUNS = [
    (["responses", *SMALL], "responses-resnet20-digits", {"figure", "blocks"}, "holds|median"),
    (["lens", *SMALL], "lens-resnet20-digits", {"figure"}, "have the final answer from"),
    (
        ["agreement", *SMALL, "--counts", "1-2", "--draws", "3"],
        "agreement-resnet20-digits", {"figure", "pairs"}, "φ of their errors",
    ),
    (
        ["attribute", *SMALL, "--methods", "ablation,interactions"],
        "attribute-resnet20-digits", {"figure", "classes", "interactions"},
        "two blocks deleted together",
    ),
    (
        ["lesion", *SMALL, "--recalibrate", "32"],
        "lesion-recalibrated-resnet20-digits", {"figure", "recalibrated"}, "on 32 training images",
    ),
]  # fmt: skip


@pytest.mark.rendered
@pytest.mark.many(2)
@pytest.mark.parametrize(("arguments", "name", "figures", "words"), RUNS)
def test_a_run_folder_a_summary_and_where(tmp_path, capsys, arguments, name, figures, words):
    assert main(arguments) == 0
    said = capsys.readouterr()
    folder = tmp_path / "runs" / name
    assert re.search(words, said.out) and str(folder) in said.out and said.err == ""
    drawn = {f"{stem}.{kind}" for stem in figures for kind in ("png", "svg")}
    kept = {"outcomes.npz"} if arguments[0] == "lesion" else set()
    files = {"table.csv", "provenance.json", *kept, *drawn}
    assert {path.name for path in folder.iterdir()} == files
    assert min((folder / name).stat().st_size for name in drawn) > 5000
    result = Result.load(folder)
    assert result.study == arguments[0] == result.identity["study"]
    for key in ("arch", "weights_sha256", "data_sha256", "images", "normalize"):
        assert key in result.identity
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {name}


def test_the_same_again_is_no_other_study(tmp_path):
    arguments = ["lens", *SMALL, "--out", "a"]
    assert main(arguments) == main(arguments) == 0
    assert main(["lens", "--arch", "resnet20", "--limit", "10", "--out", "a"]) == 2


def test_several_networks_in_one_figure(tmp_path, capsys):
    assert main(["responses", "--arch", "resnet20", "plain20", "--limit", "12"]) == 0
    assert "residual below plain, resnet20 < plain20" in capsys.readouterr().out
    result = Result.load(tmp_path / "runs" / "responses-resnet20+plain20-digits")
    assert list(dict.fromkeys(result.table["arch"])) == ["resnet20", "plain20"]
    assert result.identity["arch"] == "resnet20, plain20" and result.identity["images"] == 12


def test_freshly_initialised_networks(tmp_path):
    arguments = ["responses", "--arch", "preresnet20:width=4", "--init", "--limit", "12"]
    assert main([*arguments, "--out", "a"]) == 0
    assert main([*arguments, "--seed", "1", "--out", "b"]) == 0
    first, other = (Result.load(tmp_path / name) for name in "ab")
    assert first.identity["weights"] == "initial, seed 0" and first.identity["init"]
    assert not first.table["value"].equals(other.table["value"])
    ratio = first.table[first.table["quantity"] == "variance_ratio"]["value"]
    assert ratio.iloc[0] > 0.8 > 0.5 > ratio.iloc[2]  # about 1/l with the images' own statistics


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["responses", "--arch", "resnet20", "--limit", "1"], "responses needs at least 2 images"),
        (["lens", "--arch", "resnet20", "--limit", "1"], "lens needs at least 2 images, found 1"),
        (["attribute", "--arch", "resnet20", "--limit", "1"], "attribute needs at least 2"),
        (["agreement", "--arch", "resnet20", "--limit", "1"], "agreement needs at least 2"),
        (["responses", "--arch", "resnet20", "resnet21"], 'unknown architecture "resnet21"'),
        (["responses", "--arch", "resnet20", "resnet20"], "each network once"),
        (
            ["responses", "--arch", "resnet20", "resnet56", "--weights", "a", "b", "c"],
            "2 architectures and 3 weights",
        ),
        (
            ["responses", "--arch", "resnet20", "--init", "--weights", "a"],
            "--init is of networks without weights",
        ),
        (["responses", *SMALL, "--memory", "10k"], "too small for one image of resnet20"),
        (["attribute", *SMALL, "--methods", "lime"], "'lime' is not a method of attribution"),
        (["attribute", *SMALL, "--permutations", "1"], "1 permutations have no spread"),
        (["attribute", "--arch", "plain20", "--methods", "gradients"], "open gradually"),
        (["agreement", *SMALL, "--draws", "1"], "1 draws have nothing to agree with"),
        (["agreement", *SMALL, "--counts", "10"], "delete 10 is out of range"),
        (["lesion", *SMALL, "--recalibrate", "1"], "at least 2 training images are needed"),
        (["lesion", *SMALL, "--recalibrate", "5000"], "digits has 899 images"),
        (
            ["lesion", *SMALL, "--recalibrate-data", "digits"],
            "goes with --recalibrate or --calibrate: say how many",
        ),
        (["lesion", *SMALL, "--recalibrate", "800", "--memory", "9m"], "on fewer images"),
        (["bench", "attribute", *SMALL, "--permutations", "0"], "--permutations 0: at least 1 is"),
    ],
)
def test_bad_requests_are_one_sentence_and_leave_nothing(tmp_path, capsys, arguments, message):
    assert message in refused(capsys, arguments)
    assert not list(tmp_path.rglob("*.csv"))


def test_weights_with_nan_are_named(tmp_path, capsys):
    state = models.architecture("resnet20").build(seed=0).state_dict()
    state["layer2.1.conv2.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "w.pt")
    arguments = [*SMALL, "--weights", "w.pt", "--data", "digits", "--normalize", "none"]
    assert "layer2.1.conv2.weight" in refused(capsys, ["responses", *arguments])


def parquet(path, seed: int, n: int = 12) -> str:
    generator, rows = np.random.default_rng(seed), []
    for _ in range(n):
        held = io.BytesIO()
        pixels = generator.integers(256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(held, "PNG")
        rows.append({"bytes": held.getvalue(), "path": ""})
    pq.write_table(pa.table({"img": rows, "label": [i % 10 for i in range(n)]}), path)
    return f"parquet:{path}"


@pytest.mark.parametrize("command", ["lens"])
def test_statistics_come_from_training_images_never_from_those_tested_on(tmp_path, capsys, command):
    arch = "preresnet20" if command == "lens" else "resnet20"
    torch.save(models.architecture(arch).build(seed=0).state_dict(), tmp_path / "w.pt")
    test, train = parquet(tmp_path / "test.parquet", 0), parquet(tmp_path / "train.parquet", 1)
    given = [command, "--arch", arch, "--weights", "w.pt", "--normalize", "none",
             "--data", test, "--recalibrate", "8"]  # fmt: skip
    assert "give --recalibrate-data, the training images" in refused(capsys, given)
    same = refused(capsys, [*given, "--recalibrate-data", test])
    assert "8 of the 8 images of" in same and "also among those that are tested on" in same
    assert main([*given, "--recalibrate-data", train, "--out", "run"]) == 0
    identity = json.loads((tmp_path / "run" / "provenance.json").read_text())["identity"]
    assert identity["recalibrate"] == 8 and identity["recalibrate_data"] == train
    assert len(identity["recalibrate_sha256"]) == 64


def test_ctrl_c_keeps_what_is_finished(tmp_path, capsys, monkeypatch):
    from resnet_probe.studies.attribution import chunk, study

    monkeypatch.setattr(study, "CHUNK", 4)
    run, seen = chunk.Attributor.__call__, []

    def interrupted(self, *given, **named):
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return run(self, *given, **named)

    monkeypatch.setattr(chunk.Attributor, "__call__", interrupted)
    arguments = ["attribute", *SMALL, "--methods", "ablation", "--out", "a"]
    assert main(arguments) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert not (tmp_path / "a").exists() and (tmp_path / "a.partial").exists()
    assert main(arguments) == 0 and len(seen) == 4
    assert main([*arguments[:-1], "b"]) == 0
    tables = [pd.read_csv(tmp_path / name / "table.csv") for name in "ab"]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_bench_attribute_reports_equal_values(capsys):
    arguments = ["bench", "attribute", *SMALL, "--limit", "6", "--size", "8", "--rounds", "1"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "resnet20, 6 x random images of 8 pixels" in said and "2 random orders" in said
    assert "engine against the plain model:" in said
    assert "branches run: 180 plain" in said
    gap = float(re.search(r"and margin (\S+) of the largest", said)[1])
    assert gap < 1e-4
