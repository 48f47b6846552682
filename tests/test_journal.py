"""The journal of an unfinished sweep: what it keeps, and what it does not trust."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resnet_probe.errors import ProbeError
from resnet_probe.results.journal import Journal

IDENTITY = {"arch": "resnet20", "images": 100, "exact": False}


def outcome(start: int, stop: int, edits: int = 5) -> np.ndarray:
    rng = np.random.default_rng(start)
    return rng.random((edits, stop - start)) < 0.5


def filled(folder: Path) -> Journal:
    journal = Journal(folder, IDENTITY)
    for start, stop in ((64, 100), (0, 13), (13, 64)):
        journal.record(start, stop, outcome(start, stop), {"near_ties": np.int64(start)})
    return journal


def test_what_was_recorded_comes_back_in_order(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    again = Journal(tmp_path / "run", dict(reversed(IDENTITY.items())))
    shards = list(again.done())
    assert [(shard.start, shard.stop) for shard in shards] == [(0, 13), (13, 64), (64, 100)]
    for start, stop, correct, extra in shards:
        assert correct.dtype == bool
        np.testing.assert_array_equal(correct, outcome(start, stop))
        assert extra == {"near_ties": start}
    assert again.missing(100) == [] and again.damaged() == []
    assert again.missing(120) == [(100, 120)]


def test_it_lives_beside_the_run_until_it_is_discarded(tmp_path: Path) -> None:
    journal = filled(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run.partial"]
    journal.discard()
    assert list(tmp_path.iterdir()) == []
    journal.discard()


def test_files_of_others_outlive_it(tmp_path: Path) -> None:
    journal = filled(tmp_path / "run")
    (journal.place / "notes.txt").write_text("mine")
    journal.discard()
    assert [path.name for path in journal.place.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_shard_is_run_again(tmp_path: Path, damage: str) -> None:
    journal = filled(tmp_path / "run")
    path = sorted(journal.place.glob("*.shard"))[1]
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
    path.write_bytes(bytes({"cut": content[:-1], "flip": content, "empty": b""}[damage]))
    assert journal.damaged() == [path]
    assert [shard.start for shard in journal.done()] == [0, 64]
    assert journal.missing(100) == [(13, 64)]
    journal.record(13, 64, outcome(13, 64))
    assert journal.missing(100) == [] and journal.damaged() == []


def test_shards_that_overlap_count_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", IDENTITY)
    for start, stop in ((0, 20), (10, 30), (40, 50)):
        journal.record(start, stop, outcome(start, stop))
    assert [shard.start for shard in journal.done()] == [0, 40]
    assert journal.missing(60) == [(20, 40), (50, 60)]
    assert journal.missing(45) == [(20, 40)]
    assert journal.missing(30) == [(20, 30)]
    assert journal.missing(15) == []


def test_another_study_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    with pytest.raises(ProbeError, match=r"run\.partial holds the unfinished run of another study"):
        Journal(tmp_path / "run", {**IDENTITY, "exact": True})
    with pytest.raises(ProbeError, match="arch is resnet20 there and resnet56 was asked for"):
        Journal(tmp_path / "run", {**IDENTITY, "arch": "resnet56"})


def test_without_its_identity_each_shard_still_says_whose_it_is(tmp_path: Path) -> None:
    place = filled(tmp_path / "run").place
    (place / "identity.json").write_text("{")
    other = Journal(tmp_path / "run", {**IDENTITY, "arch": "resnet56"})
    assert other.missing(100) == [(0, 100)] and len(other.damaged()) == 3
    (place / "identity.json").unlink()
    assert Journal(tmp_path / "run", IDENTITY).missing(100) == []


def test_an_interrupted_record_leaves_no_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "run", IDENTITY)

    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        journal.record(0, 10, outcome(0, 10))
    assert [path.name for path in journal.place.iterdir()] == ["identity.json"]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", IDENTITY)
    with pytest.raises(ProbeError, match=r"need bool \[edits, 9\], not bool \[5, 10\]"):
        journal.record(0, 9, outcome(0, 10))
    with pytest.raises(ProbeError, match="not int64"):
        journal.record(0, 10, outcome(0, 10).astype(int))
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match="cannot be written"):
        Journal(tmp_path / "file" / "run", IDENTITY)
