"""The command line as a user meets it: what it writes, what it says, what it refuses."""

from __future__ import annotations

import json
import os
import pickle

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from resnet_probe import models, settings, zoo
from resnet_probe.cli import main
from resnet_probe.results import Result

SMALL = ["--arch", "resnet20", "--limit", "40"]
COLUMNS = """
kind edits blocks names draw seed tau correct images error_pct delta_pct ci_low_pct ci_high_pct
p_value
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(capsys, arguments) -> str:
    """The one sentence of a refusal: exit status 2, no traceback, nothing on standard output."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert "baseline:" not in captured.out
    return captured.err


def test_lesion_writes_a_run_folder_and_says_where(tmp_path, capsys):
    assert main(["lesion", *SMALL]) == 0
    said = capsys.readouterr()
    folder = tmp_path / "runs" / "lesion-resnet20-digits"
    assert str(folder) in said.out and "baseline:" in said.out and "known error" in said.out
    assert said.err == ""
    files = {path.name for path in folder.iterdir()}
    assert files == {"table.csv", "provenance.json", "outcomes.npz", "figure.png", "figure.svg"}
    assert not (tmp_path / "runs" / "lesion-resnet20-digits.partial").exists()
    table = pd.read_csv(folder / "table.csv")
    assert set(COLUMNS.split()) <= set(table.columns)
    assert list(table["kind"]) == ["baseline"] + ["delete"] * 9
    record = json.loads((folder / "provenance.json").read_text())
    for key in ("identity", "command", "versions", "device", "seconds"):
        assert key in record
    for key in ("weights_sha256", "data_sha256", "images", "seed", "normalize"):
        assert key in record["identity"]
    assert Result.load(folder).study == "lesion"


def test_the_same_run_again_gives_the_same_table(tmp_path):
    for _ in range(2):
        assert main(["lesion", *SMALL, "--out", "a"]) == 0
    first = Result.load(tmp_path / "a").table
    assert main(["lesion", *SMALL, "--batch", "7", "--exact", "--out", "b"]) == 0
    other = Result.load(tmp_path / "b").table
    counted = ["correct", "lost", "gained", "p_value", "joint_low_pct", "changed_pct"]
    assert other[counted].equals(first[counted])
    assert (other["loss"] - first["loss"]).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("arguments", "study", "rows"),
    [
        (["--counts", "1,3", "--draws", "4"], "lesion-counts", 9),
        (["--edit", "permute", "--counts", "1-2", "--draws", "4"], "lesion-permute", 9),
        (["--edit", "permute", "--tau", "1.0:0.9:0.05", "--draws", "3"], "lesion-permute-tau", 10),
        (["--edit", "duplicate", "--counts", "1", "--draws", "4"], "lesion-duplicate", 5),
    ],
)
def test_other_edits(tmp_path, capsys, arguments, study, rows):
    assert main(["lesion", *SMALL, *arguments, "--compare", "veit2016"]) == 0
    assert "median error" in capsys.readouterr().out
    result = Result.load(tmp_path / "runs" / f"{study}-resnet20-digits")
    assert result.study == study and len(result.table) == rows


def test_a_plain_network_says_that_layers_are_replaced_by_stand_ins(capsys):
    assert main(["lesion", "--arch", "plain20", "--limit", "20"]) == 0
    said = capsys.readouterr().out
    assert "18 layers" in said and "stand-in" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "a\nb"], r"unrecognized arguments: a\\nb "),
        (["lesi\r\non"], r"unknown command 'lesi\\r\\non'"),
        (["lens", "--arch", "resnet20", "--model", "new\nline"], r"and --model new\\nline are two"),
        (["lens", *SMALL, "--preprocess", "a\u2028b"], r"--preprocess a\\u2028b: the images of"),
        (["lens", *SMALL, "--weights", "\x1b[31mred.pt"], r"\\x1b\[31mred.pt"),
        (["lens", *SMALL, "--input=--"], "--input=-- gives no value"),
        (["merge", "\nparts"], r"\\nparts"),
        (["lesio"], "unknown command 'lesio': there are lesion, .*did you mean lesion"),
        (["lesion"], "which network. give --arch, or --model for your own"),
        (["lesion", "--arch", "resnet21"], 'unknown architecture "resnet21": resnet cannot'),
        (["lesion", "--arch", "resnet20:width=0"], "width takes a whole number"),
        (
            ["lesion", "--arch", "plain20", "--limit", "4", "--compare", "veit2016"],
            "--compare veit2016: there are single deletions .* 27 and 54 blocks, not of 18",
        ),
        (
            ["lesion", "--arch", "resnet20", "--data", "digit"],
            "no data set 'digit': there are .*did you mean digits",
        ),
        (["lesion", "--arch", "resnet1202"], "the zoo has no weights of resnet1202 for digits"),
        (["lesion", "--arch", "resnet50"], "resnet50 is ImageNet's and comes without weights here"),
        (["lesion", *SMALL, "--counts", "10"], "delete 10 is out of range: resnet20 has 9 blocks"),
        (["lesion", *SMALL, "--counts", "x"], "is no list of numbers"),
        (["lesion", *SMALL, "--edit", "permute", "--tau", "0.1"], "cannot be reached"),
        (["lesion", *SMALL, "--memory", "10k"], "too small for one image of resnet20: it takes"),
        (["lesion", *SMALL, "--memory", "much"], "is not a size"),
        (["lesion", *SMALL, "--batch", "0"], "--batch 0: at least 1 is needed"),
        (["lesion", *SMALL, "--normalize", "best"], "is not a normalization"),
        (["lesion", "--arch", "resnet20", "--limit", "0"], "--limit 0: at least 1 is needed"),
        (["lesion", *SMALL, "--edit", "explode"], "invalid choice: 'explode'"),
        (["lesion", *SMALL, "--data", "parquet:no.parquet"], "no.parquet"),
        (["describe"], "describe needs --arch NAME"),
        (["describe", "--arch", "resnet20", "--input", "32"], "is no image shape"),
        (["train", "--arch", "resnet20", "--epochs", "0"], "epochs must be at least 1"),
        (["bench", "lesion", *SMALL, "--rounds", "0"], "--rounds 0: at least 1 is needed"),
    ],
)
def test_bad_requests_are_one_sentence_and_leave_nothing(tmp_path, capsys, arguments, message):
    import re

    assert re.search(message, refused(capsys, arguments))
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("*.csv"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_no_cuda(capsys):
    message = refused(capsys, ["lesion", *SMALL, "--device", "cuda"])
    assert "torch finds no CUDA device here" in message


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch ran",))


def weights_file(tmp_path, kind):
    path = tmp_path / f"{kind}.pt"
    state = models.architecture("resnet32").build(seed=0).state_dict()
    if kind == "depth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    elif kind == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "empty":
        path.touch()
    else:
        path.write_bytes(pickle.dumps(Malicious()))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("depth", "does not fit resnet20: .*its shapes fit resnet32"),
        ("truncated", "is truncated"),
        ("empty", "is empty"),
        ("malicious", "may run code is refused"),
    ],
)
def test_weights_that_cannot_be_used(tmp_path, capsys, kind, message):
    import re

    path = weights_file(tmp_path, kind)
    arguments = ["--data", "digits", "--normalize", "none", "--weights", str(path)]
    assert re.search(message, refused(capsys, ["lesion", *SMALL, *arguments]))
    assert not (tmp_path / "ran").exists()


def test_weights_from_a_file_need_images_and_a_normalization(tmp_path, capsys):
    path = tmp_path / "w.pt"
    torch.save(models.architecture("resnet20").build(seed=0).state_dict(), path)
    given = ["lesion", *SMALL, "--weights", str(path)]
    assert "give --data" in refused(capsys, given)
    assert "give --normalize" in refused(capsys, [*given, "--data", "digits"])
    assert main([*given, "--data", "digits", "--normalize", "none"]) == 0


def parquet(path, labels, *, side=16, column="img"):
    import io

    def png(value):
        held = io.BytesIO()
        Image.new("RGB", (side, side), (value, value, value)).save(held, "PNG")
        return {"bytes": held.getvalue(), "path": ""}

    rows = {column: [png(10 * i) for i in range(len(labels))], "label": labels}
    pq.write_table(pa.table(rows), path)
    return ["--data", f"parquet:{path}", "--normalize", "none"]


def test_labels_outside_the_head_and_missing_columns(tmp_path, capsys):
    path = tmp_path / "w.pt"
    torch.save(models.architecture("resnet20").build(seed=0).state_dict(), path)
    given = ["lesion", "--arch", "resnet20", "--weights", str(path)]
    outside = parquet(tmp_path / "a.parquet", [0, 12, 3])
    message = refused(capsys, [*given, *outside])
    assert "label 12 of image 1 is outside the head's classes: resnet20 has 10 (0–9)" in message
    pq.write_table(pa.table({"text": ["a", "b"], "label": [0, 1]}), tmp_path / "b.parquet")
    other = ["--data", f"parquet:{tmp_path / 'b.parquet'}", "--normalize", "none"]
    assert "expected one column of encoded images" in refused(capsys, [*given, *other])


def test_a_folder_that_holds_something_else_is_refused(tmp_path, capsys):
    assert main(["lesion", *SMALL, "--out", "a"]) == 0
    capsys.readouterr()
    before = (tmp_path / "a" / "table.csv").read_bytes()
    message = refused(capsys, ["lesion", "--arch", "resnet20", "--limit", "30", "--out", "a"])
    assert "holds another study: images is 40 there and 30 was asked for" in message
    assert (tmp_path / "a" / "table.csv").read_bytes() == before
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").touch()
    assert "does not say what made it" in refused(capsys, ["lesion", *SMALL, "--out", "b"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path, capsys):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "cannot be written" in refused(capsys, ["lesion", *SMALL, "--out", "closed/run"])


@pytest.mark.parametrize(
    "option", ["--out={}", "--weights={}", "--data=parquet:{}", "--data=imagefolder:{}",
               "--data=npz:{}"],
)  # fmt: skip
def test_a_name_that_no_file_can_have_is_one_sentence(tmp_path, capsys, option):
    line = ["lesion", *SMALL, "--weights=initial:0", "--normalize=none", option.format("w" * 300)]
    assert "File name too long" in refused(capsys, line)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line", [["lesion", *SMALL, "--out=loop"], ["report", *SMALL, "--out=loop"],
             ["lesion", *SMALL, "--weights=loop"], ["lesion", *SMALL, "--weights=initial:0",
              "--normalize=none", "--data=csv:loop"]],
)  # fmt: skip
def test_a_link_to_itself_is_one_sentence(tmp_path, capsys, line):
    (tmp_path / "loop").symlink_to("loop")
    assert "loop" in refused(capsys, line)
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


@pytest.mark.parametrize("option", ["--data-root", "--out", "--weights"])
def test_a_word_that_no_result_can_keep_is_refused(tmp_path, capsys, option):
    said = refused(capsys, ["lesion", *SMALL, option, "a\udcff"])
    assert said.startswith("error: 'a\\udcff' is not text in UTF-8")
    assert not list(tmp_path.iterdir())


def test_a_shape_beyond_any_image_is_refused(capsys):
    for command in (["describe"], ["lesion", "--weights", "initial:0"]):
        line = [*command, "--arch", "resnet20", "--input", "3x100000x100000"]
        assert "of at most 67,108,864 numbers" in refused(capsys, line)


def test_an_output_below_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(capsys, ["lesion", *SMALL, "--out", "file/run"])


def test_ctrl_c_leaves_no_half_written_table_and_the_same_command_goes_on(
    tmp_path, capsys, monkeypatch
):
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.studies import outcomes as study

    monkeypatch.setattr(study, "KEEP_EVERY", 10)
    run = Sweep.run

    def interrupted(self, *given, **named):
        for piece in run(self, *given, **named):
            if piece.start == 30:
                raise KeyboardInterrupt
            yield piece

    monkeypatch.setattr(Sweep, "run", interrupted)
    arguments = ["lesion", *SMALL, "--batch", "5", "--out", "a"]
    assert main(arguments) == 130
    said = capsys.readouterr().err
    assert "interrupted: nothing was written" in said and "the same command goes on" in said
    assert not (tmp_path / "a").exists()
    monkeypatch.setattr(Sweep, "run", run)
    assert main(arguments) == 0
    assert main([*arguments[:-1], "b"]) == 0
    assert (tmp_path / "a" / "table.csv").read_bytes() == (
        tmp_path / "b" / "table.csv"
    ).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_describe_prints_counts(capsys):
    assert main(["describe", "--arch", "resnet56"]) == 0
    said = capsys.readouterr().out
    assert "27 blocks in 3 stages" in said
    assert "853,018 parameters" in said and "(125.5 M)" in said
    assert main(["describe", "--list"]) == 0
    assert "resnet110" in capsys.readouterr().out.split()


def test_zoo_list_and_verify(capsys, monkeypatch):
    assert main(["zoo", "list"]) == 0
    said = capsys.readouterr().out
    for name in (
        "resnet20",
        "resnet56",
        "resnet110",
        "preresnet110",
        "plain20",
        "vgg16_bn:width=16",
    ):
        assert name in said
    two = [zoo.find(arch, "digits") for arch in ("resnet20", "plain20")]
    monkeypatch.setattr(zoo, "cards", lambda: two)
    assert main(["zoo", "verify"]) == 0
    assert capsys.readouterr().out.count("as its card says") == 2


def test_train_saves_weights_that_lesion_reads(tmp_path, capsys):
    arguments = ["train", "--arch", "resnet20:width=4", "--epochs", "1", "--out", "t"]
    arguments += ["--processes", "1"]
    assert main(arguments) == 0
    assert "test error" in capsys.readouterr().out
    stem = "resnet20-width-4-digits"
    assert {path.name for path in (tmp_path / "t").iterdir()} == {
        f"{stem}.safetensors",
        f"{stem}.json",
        "history",
    }
    card = json.loads((tmp_path / "t" / f"{stem}.json").read_text())
    weights = [
        "--arch",
        "resnet20:width=4",
        "--weights",
        str(tmp_path / "t" / f"{stem}.safetensors"),
    ]
    assert main(["lesion", *weights, "--out", "l"]) == 0
    table = pd.read_csv(tmp_path / "l" / "table.csv")
    assert table["correct"][0] == card["correct"] and table["images"][0] == card["images"]


def test_bench_lesion_reports_equal_predictions(capsys):
    assert main(["bench", "lesion", *SMALL, "--limit", "8", "--size", "8", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    assert "predictions that differ: 0" in said
    assert "branches run: 81 plain, 45 engine" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1-3", [1, 2, 3]), ("5", [5]), ("1-2,9,2", [1, 2, 9])],
)
def test_counts(text, expected):
    assert settings.numbers(text) == tuple(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.0:0.7:0.1", [1.0, 0.9, 0.8, 0.7]), ("0.5", [0.5]), ("0.9,0.8", [0.9, 0.8])],
)
def test_taus(text, expected):
    assert settings.taus(text) == tuple(expected)
