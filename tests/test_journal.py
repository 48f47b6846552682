"""The journal of an unfinished study: what it keeps, and what it does not trust."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resnet_probe.errors import ProbeError
from resnet_probe.results.journal import Journal

IDENTITY = {"arch": "resnet20", "images": 100, "exact": False}


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "answer": rng.integers(0, 10, (5, 7)).astype(np.uint8),
        "sum.loss": rng.standard_normal(5),
        "right": rng.random((5, 7)) < 0.5,
        "empty": np.zeros((0, 3), dtype=np.float32),
    }


def filled(folder: Path) -> Journal:
    journal = Journal(folder, IDENTITY)
    for seed, key in enumerate(("0", "512", "exact:17/3")):
        journal.put(key, arrays(seed))
    return journal


def same(found: dict[str, np.ndarray] | None, seed: int) -> bool:
    wanted = arrays(seed)
    return (
        found is not None
        and found.keys() == wanted.keys()
        and all(
            found[name].dtype == wanted[name].dtype and np.array_equal(found[name], wanted[name])
            for name in wanted
        )
    )


def test_what_was_put_comes_back_bit_for_bit(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    again = Journal(tmp_path / "run", dict(reversed(IDENTITY.items())))
    assert [same(again.get(key), seed) for seed, key in enumerate(("0", "512", "exact:17/3"))] == [
        True
    ] * 3
    assert again.get("1024") is None
    again.put("0", arrays(9))
    assert same(again.get("0"), 9)


def test_what_a_killed_save_has_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    left = [f".run.{'0a' * 4}", f".run.{'b1' * 4}.old"]
    others = [".run.notes", ".run2.0a0a0a0a", ".other.0a0a0a0a", "run.0a0a0a0a"]
    for name in (*left, *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.csv").write_text("half")
    with Journal(tmp_path / "run", IDENTITY):
        assert not [name for name in left if (tmp_path / name).exists()]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_a_run_that_was_killed_when_it_was_saved_is_finished(tmp_path: Path) -> None:
    journal = filled(tmp_path / "run")
    (tmp_path / ".run.0a0a0a0a.old").mkdir()
    with journal:  # somebody is at work
        Journal(tmp_path / "run", IDENTITY).finish()
        assert len(journal.steps) == 3
    journal.finish()
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "renamed"])
def test_a_damaged_step_is_made_again(tmp_path: Path, damage: str) -> None:
    journal = filled(tmp_path / "run")
    path = journal.place / "512.step"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
    if damage == "renamed":
        content = bytearray((journal.place / "0.step").read_bytes())
    path.write_bytes(b"" if damage == "empty" else content[:-1] if damage == "cut" else content)
    assert journal.get("512") is None and same(journal.get("0"), 0)
    journal.put("512", arrays(1))
    assert same(journal.get("512"), 1)


def test_another_study_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    with pytest.raises(ProbeError, match=r"run\.partial holds the unfinished run of another study"):
        Journal(tmp_path / "run", {**IDENTITY, "exact": True})
    with pytest.raises(ProbeError, match="arch is resnet20 there and resnet56 was asked for"):
        Journal(tmp_path / "run", {**IDENTITY, "arch": "resnet56"})


def test_an_identity_without_steps_stands_in_nobodys_way(tmp_path: Path) -> None:
    place = filled(tmp_path / "run").place
    for step in place.glob("*.step"):
        step.unlink()
    other = Journal(tmp_path / "run", {**IDENTITY, "arch": "resnet56"})
    other.put("0", arrays(0))
    assert same(other.get("0"), 0)


def test_without_its_identity_each_step_still_says_whose_it_is(tmp_path: Path) -> None:
    place = filled(tmp_path / "run").place
    (place / "identity.json").write_text("{")
    other = Journal(tmp_path / "run", {**IDENTITY, "arch": "resnet56"})
    assert other.get("0") is None
    (place / "identity.json").unlink()
    assert same(Journal(tmp_path / "run", IDENTITY).get("0"), 0)


def test_an_interrupted_put_leaves_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "run", IDENTITY)
    journal.put("0", arrays(0))

    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        journal.put("512", arrays(1))
    assert sorted(path.name for path in journal.place.iterdir()) == ["0.step", "identity.json"]


def test_a_full_disk_is_one_sentence_and_what_was_kept_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "run", IDENTITY)
    journal.put("0", arrays(0))

    def full(self: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ProbeError, match=r"No space left on device.*goes on from it"):
        journal.put("512", arrays(1))
    assert same(journal.get("0"), 0)


def test_entered_it_is_one_process_s_and_empty_it_leaves_nothing(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "run", IDENTITY),
        pytest.raises(ProbeError, match="another process is writing"),
        Journal(tmp_path / "run", IDENTITY),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    with Journal(tmp_path / "run", IDENTITY) as journal:
        journal.put("0", arrays(0))
    assert sorted(p.name for p in journal.place.iterdir()) == ["0.step", "identity.json"]


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; from resnet_probe.results import Journal;"
        f"Journal(Path({str(tmp_path / 'run')!r}), {IDENTITY!r}).__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "run.partial" / "lock").exists()
    with Journal(tmp_path / "run", IDENTITY) as journal:
        journal.put("0", arrays(0))


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ProbeError, match="cannot be written"),
        Journal(tmp_path / "file" / "run", IDENTITY),
    ):
        pass
