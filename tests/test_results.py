"""Run folders: what comes back, what is refused, and what survives a failure."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from resnet_probe import results
from resnet_probe.errors import ProbeError
from resnet_probe.results import Result, provenance, refuse_other

pytestmark = pytest.mark.rendered
IDENTITY = {"study": "lesion", "arch": "resnet20", "images": 846, "seed": 0}


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "kind": ["baseline", "delete", "permute", "permute"],
            "blocks": ["", "7", "4-9", "1-2 5-3"],
            "names": ["", "NA", 'layer1.0, "x"', "línea\nnan"],
            "edits": [0, 1, 1, 2],
            "tau": [np.nan, np.nan, 0.1 + 0.2, 1 / 3],
            "exact": [True, False, True, False],
            "draw": pd.array([None, 1, 2, 3], dtype="Int64"),
        }
    )


def result(**identity: object) -> Result:
    facts = {"identity": {**IDENTITY, **identity}, "seconds": 1.5, "versions": {"numpy": "2"}}
    return Result("lesion", table(), facts)


def drawing() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2], label="τ")
    figure.suptitle("a title")
    return figure


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = result()
    folder = run.save(tmp_path / "deep" / "run", figures={"figure": drawing()})
    back = Result.load(folder)
    pd.testing.assert_frame_equal(back.table, run.table)
    assert (back.study, back.provenance) == (run.study, run.provenance)
    assert {path.name for path in folder.iterdir()} == {
        "table.csv",
        "provenance.json",
        "figure.png",
        "figure.svg",
    }
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_text_without_words_stays_text(tmp_path: Path) -> None:
    folder = result().save(tmp_path / "run")
    back = results.load(folder).table
    assert back["blocks"].tolist() == ["", "7", "4-9", "1-2 5-3"]
    assert back["names"].tolist()[1] == "NA"
    assert (folder / "table.csv").read_text("utf-8").startswith("kind,blocks,names,")


def test_provenance_carries_the_hash_of_each_file(tmp_path: Path) -> None:
    folder = result().save(tmp_path / "run", figures={"figure": drawing()})
    record = json.loads((folder / "provenance.json").read_text("utf-8"))
    assert set(record["files"]) == {"table.csv", "figure.png", "figure.svg"}
    for name, digest in record["files"].items():
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_provenance_is_plain_json() -> None:
    value = {"n": np.int64(3), "x": np.float32(0.5), "bad": float("nan"), "p": Path("a"), 1: (2,)}
    expected = {"n": 3, "x": 0.5, "bad": None, "p": "a", "1": [2]}
    assert provenance.plain(value) == expected
    assert provenance.plain({"s": {"b", "a"}, "v": np.arange(2)}) == {"s": ["a", "b"], "v": [0, 1]}


def test_figures_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    for suffix in ("svg", "png", "pdf"):
        for turn in (1, 2):
            results.save_figure(drawing(), tmp_path / f"{turn}.{suffix}")
        assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"2.{suffix}").read_bytes()
    svg = (tmp_path / "1.svg").read_text("utf-8")
    assert ">a title</text>" in svg and "dc:date" not in svg
    assert "DejaVu Sans, Verdana, Arial, Helvetica, sans-serif" in svg.replace("'", "")
    pdf = (tmp_path / "1.pdf").read_bytes()
    assert b"/CreationDate" not in pdf and b"/Type3" not in pdf


@pytest.mark.parametrize("what", ["pipe", "deep"])
def test_a_record_that_is_none_is_refused(tmp_path: Path, what: str) -> None:
    folder = result().save(tmp_path / "run")
    (folder / "provenance.json").unlink()
    if what == "pipe":
        os.mkfifo(folder / "provenance.json")
    else:
        (folder / "provenance.json").write_text("[" * 10**5)
    with pytest.raises(ProbeError, match=r"provenance\.json cannot be read"):
        Result.load(folder)


def test_the_same_study_replaces_itself(tmp_path: Path) -> None:
    result().save(tmp_path / "run", figures={"figure": drawing()})
    folder = result(images=np.int64(846)).save(tmp_path / "run")
    assert {path.name for path in folder.iterdir()} == {"table.csv", "provenance.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


class Interrupted:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def savefig(self, fname: Path, **options: object) -> None:
        Path(fname).write_bytes(b"half")
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError(28, "disk full")])
def test_a_failure_leaves_the_old_run(tmp_path: Path, error: BaseException) -> None:
    folder = result().save(tmp_path / "run")
    before = files(tmp_path)
    expected = ProbeError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        result().save(folder, figures={"figure": Interrupted(error)})
    with pytest.raises(expected):
        result().save(tmp_path / "new", figures={"figure": Interrupted(error)})
    assert files(tmp_path) == before


def test_a_failed_move_puts_the_old_run_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = result().save(tmp_path / "run")
    before, rename = files(tmp_path), Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if target == folder and not self.name.endswith(".old"):
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ProbeError, match="run cannot be written: Permission denied"):
        result().save(folder, figures={"figure": drawing()})
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["table.csv", "figure.png", "figure.svg", "provenance.json"])
def test_a_lost_or_cut_file_is_noticed(tmp_path: Path, name: str) -> None:
    folder = result().save(tmp_path / "run", figures={"figure": drawing()})
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ProbeError, match=rf"{name} .*cut short"):
        results.load(folder)
    (folder / name).unlink()
    with pytest.raises(ProbeError, match=f"{name} is missing|there is no {name}"):
        results.load(folder)


def test_two_runs_mixed_are_noticed(tmp_path: Path) -> None:
    one = result().save(tmp_path / "one")
    other = Result("lesion", table().iloc[:2], {"identity": {}}).save(tmp_path / "other")
    (one / "table.csv").write_bytes((other / "table.csv").read_bytes())
    with pytest.raises(ProbeError, match="from another run"):
        results.load(one)


@pytest.mark.parametrize("text", ["[]", "{}", '{"files": {}, "columns": {}}', "\x00"])
def test_a_provenance_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(ProbeError, match=r"provenance\.json"):
        results.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.csv", b""),
        ("table.csv", b"kind,blocks\na,b,c,d\n"),
        ("table.csv", b"\xff\xfe\x00"),
        ("table.csv", b'"' * 70_000),
        ("outcomes.npz", b"PK\x03\x04" + bytes(40)),
        ("outcomes.npz", b"no archive"),
        ("../table.csv", b""),
    ],
)
def test_files_of_another_kind_with_the_right_sum_are_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    folder = result().save(tmp_path / "run")
    (folder / name).write_bytes(content)
    record = json.loads((folder / "provenance.json").read_text())
    record["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "provenance.json").write_text(json.dumps(record))
    with pytest.raises(ProbeError, match=r"no run that can be read|does not lie") as caught:
        Result.load(folder)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_holds_no_run(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="holds no run"):
        results.load(tmp_path)
    with pytest.raises(ProbeError, match="holds no run"):
        results.load(tmp_path / "nowhere")


def test_a_result_to_save_needs_an_identity(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="no 'identity'"):
        Result("lesion", table(), {}).save(tmp_path / "run")


def test_another_study_is_not_written_over(tmp_path: Path) -> None:
    folder = result().save(tmp_path / "run")
    before = files(folder)
    asked = {**IDENTITY, "arch": "resnet56", "images": 10}
    with pytest.raises(ProbeError) as caught:
        refuse_other(folder, asked)
    assert str(caught.value) == (
        f"{folder} holds another study: arch is resnet20 there and resnet56 was asked for; "
        "images is 846 there and 10 was asked for; choose another folder (out=)"
    )
    with pytest.raises(ProbeError, match="holds another study: seed is 0 there"):
        result(seed=1).save(folder)
    assert files(folder) == before


def test_differences_name_the_first_and_count_the_rest() -> None:
    found = {"a": 1, "b": 2, "c": 3, "d": 4, "gone": "x" * 80}
    text = provenance.difference({"a": 1.0, "b": 0, "c": 0, "new": None}, found)
    assert text == (
        "b is 2 there and 0 was asked for; c is 3 there and 0 was asked for; "
        "new is not set there and null was asked for; and 2 more"
    )
    assert "…" in provenance.difference({}, {"gone": "x" * 80})
    assert provenance.difference({"t": (1, 2)}, {"t": [1, 2]}) == ""


def test_what_we_did_not_write_stays(tmp_path: Path) -> None:
    folder = result().save(tmp_path / "run")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ProbeError, match=r"holds notes\.txt, which no run wrote"):
        result().save(folder)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "table.csv").write_text("mine")
    with pytest.raises(ProbeError, match="does not say what made it"):
        result().save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "table.csv").read_text() == "mine"


def test_a_cut_table_may_be_written_again(tmp_path: Path) -> None:
    folder = result().save(tmp_path / "run")
    (folder / "table.csv").write_text("")
    result().save(folder)
    assert len(results.load(folder).table) == 4


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match="is a file"):
        refuse_other(tmp_path / "file", IDENTITY)
    with pytest.raises(ProbeError, match=r"cannot be written: .*out="):
        refuse_other(tmp_path / "file" / "run", IDENTITY)
    with pytest.raises(ProbeError, match="name a folder inside it"):
        refuse_other("/", IDENTITY)
    with pytest.raises(ProbeError, match="cannot be written: File name too long"):
        refuse_other(tmp_path / ("x" * 300), IDENTITY)
    refuse_other(tmp_path / "new" / "run", IDENTITY)
    assert not (tmp_path / "new" / "run").exists()

    def read_only(**options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(results.result.tempfile, "TemporaryFile", read_only)
    with pytest.raises(ProbeError, match="run cannot be written: Read-only file system"):
        refuse_other(tmp_path / "run", IDENTITY)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(ProbeError, match="Permission denied"):
        refuse_other(tmp_path / "run", IDENTITY)
    tmp_path.chmod(0o755)


def test_what_is_shown_of_a_result_fits_a_line() -> None:
    table = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    shown = repr(Result("lesion", table, {"identity": {"arch": "resnet20", "data": "digits"}}))
    assert shown == "Result(lesion of resnet20 on digits: 2 rows × 2 columns)"


def test_outcomes_come_back_bit_for_bit_and_a_cut_file_is_noticed(tmp_path: Path) -> None:
    kept = {
        "answer": np.arange(12, dtype=np.uint8).reshape(3, 4),
        "loss": np.linspace(0, 1, 12).reshape(3, 4).astype(np.float16),
        "labels": np.array([1, 2, 3, 4]),
    }
    table = pd.DataFrame({"a": [1, 2, 3]})
    folder = Result("lesion", table, {"identity": IDENTITY}, kept).save(tmp_path / "run")
    found = Result.load(folder).outcomes
    assert found.keys() == kept.keys()
    for name, value in kept.items():
        assert found[name].dtype == value.dtype and np.array_equal(found[name], value)
    path = folder / "outcomes.npz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ProbeError, match=r"outcomes\.npz is not what this run wrote"):
        Result.load(folder)


def test_a_refusal_takes_back_the_empty_folders_that_were_made_for_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for late in (ProbeError("no"), KeyboardInterrupt()):
        with pytest.raises(type(late)), results.unless_refused(tmp_path / "there" / "a" / "b"):
            refuse_other(tmp_path / "there" / "a" / "b", IDENTITY)
            assert (tmp_path / "there" / "a").is_dir()
            raise late
        assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    with pytest.raises(ProbeError), results.unless_refused(tmp_path / "there" / "a" / "b"):
        (tmp_path / "there" / "a").mkdir()
        (tmp_path / "there" / "a" / "kept").write_text("what was finished")
        raise ProbeError("no")
    assert (tmp_path / "there" / "a" / "kept").is_file()
    with results.unless_refused(tmp_path / "c" / "d"):
        refuse_other(tmp_path / "c" / "d", IDENTITY)
    assert (tmp_path / "c").is_dir()
