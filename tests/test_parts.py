"""Parts of the images: each measured apart, and together the run of all of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from teams import STUDY, by_torchrun, studied
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from resnet_probe import ProbeError
from resnet_probe.cli import main
from resnet_probe.engine.images import ImageStream, picked
from resnet_probe.loading import Prepared
from resnet_probe.loading.request import Request
from resnet_probe.loading.training_images import Recalibration
from resnet_probe.results import Result
from resnet_probe.runs.catalogue import ROWS, row
from resnet_probe.runs.job import Job
from resnet_probe.runs.parts import Parts
from resnet_probe.studies.parts import Part, joined
from resnet_probe.studies.study import Resources, Run, Share
from resnet_probe.training import Team

SMALL = Request(arch="preresnet:depth=8,width=4", weights="initial:0", data="digits", limit=18)
ONE = Resources(batch=1)
"""Batches of one image, so that no rounding of the forward pass depends on the other images."""
ASKED = {
    "paths": {"signs": 2, "samples": 7, "images_per_path": 2},
    "attribute": {"permutations": 2},
    "agreement": {"counts": (1, 2), "draws": 2},
}
PREPARED = functools.cache(Request.prepared)
"""Each network is cut once, for all commands."""
IN_PARTS = [each.name for each in ROWS if each.study.sums is not None]


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("resnet_probe.studies.outcomes.KEEP_EVERY", 4)
    monkeypatch.setattr("resnet_probe.studies.attribution.study.CHUNK", 8)
    monkeypatch.setattr(Request, "prepared", lambda self: PREPARED(self))


@pytest.fixture(scope="module")
def ready() -> Prepared:
    return SMALL.prepared()


def job_of(name: str, ready: Prepared, part: Part | None = None, **asked: object) -> Job:
    study = row(name).study
    settings = study.settings.of({**ASKED.get(name, {}), **asked})
    renewed = Recalibration(recalibrate=16) if study.training else None
    return Job.of(row(name), settings, [SMALL], networks=[ready], recalibration=renewed, part=part)


def resources(name: str) -> Resources:
    return Resources(batch=16) if name == "control" else ONE  # its pictures come in sixteens


def in_parts(job: Job, of: int, name: str = "run") -> list[Path]:
    """The folders of all parts, the last one first."""
    parts = [replace(job, part=Part(number, of)) for number in range(of, 0, -1)]
    return [
        part.obtain(Path(name).resolve() / str(part.part.number), resources=resources(job.row.name))
        .folder
        for part in parts
    ]  # fmt: skip


@pytest.mark.many(2)
@pytest.mark.parametrize("name", IN_PARTS)
def test_parts_together_are_the_run_of_all_images(name, ready):
    job = job_of(name, ready)
    whole = job.measure(Run(resources(name)))
    merged = job.measure(Run(), Parts.of(in_parts(job, 2)))
    assert merged.identity == whole.identity and merged.provenance["parts"] == 2
    assert list(merged.table) == list(whole.table) and len(merged.table) == len(whole.table)
    for column in whole.table:
        one, other = whole.table[column], merged.table[column]
        if one.dtype.kind == "f":
            np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12, err_msg=column)
        else:
            assert one.equals(other), column
    for kind, values in whole.outcomes.items():
        np.testing.assert_array_equal(merged.outcomes[kind], values)


def test_a_table_of_counts_is_the_same_to_the_byte(ready):
    job = job_of("lens", ready)
    job.obtain(Path("whole"), resources=ONE)
    job.obtain(Path("merged"), parts=Parts.of(in_parts(job, 5)))
    assert Path("merged/table.csv").read_bytes() == Path("whole/table.csv").read_bytes()
    files = {file.name for file in Path("merged").iterdir()}
    assert files == {file.name for file in Path("whole").iterdir()} >= {"figure.png"}


@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 5))
def test_the_parts_are_all_images_each_once(images, of, together):
    parts = [Part(number, of).rows(images, together) for number in range(1, of + 1)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(images))
    groups = [{row // together for row in part.tolist()} for part in parts]
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    assert sum(map(len, groups)) == -(-images // together)  # no group is torn
    finer = [Part(number, 2 * of).rows(images, together) for number in range(1, 2 * of + 1)]
    for number, part in enumerate(parts):
        halves = np.concatenate([finer[number], finer[number + of]])
        assert sorted(halves.tolist()) == part.tolist()


def test_a_part_is_spread_over_the_images():
    rows = Part(2, 8).rows(50_000)
    shares = np.histogram(rows, bins=10, range=(0, 50_000))[0] / len(rows)
    assert abs(shares - 0.1).max() < 0.02
    assert abs(np.bincount(rows % 10) / len(rows) - 0.1).max() < 0.02


def test_arrays_are_put_together_as_their_names_say():
    shares = [Share(np.array([0, 3]), 4), Share(np.array([1, 2]), 4)]
    parts = [
        {"loss": np.array([[0.0, 3.0]]), "sum.ties": np.array([1]), "any.on": np.array([True]),
         "x.count": np.array(2.0), "x.mean": np.array(1.0), "x.m2": np.array(2.0)},
        {"loss": np.array([[1.0, 2.0]]), "sum.ties": np.array([2]), "any.on": np.array([False]),
         "x.count": np.array(2.0), "x.mean": np.array(5.0), "x.m2": np.array(8.0)},
    ]  # fmt: skip
    found = joined(parts, shares)
    assert found["loss"].tolist() == [[0, 1, 2, 3]]
    assert found["sum.ties"] == 3 and found["any.on"].all()
    # 0, 2 and 3, 7: the mean is 3, and 9 + 1 + 0 + 16 what they are apart from it
    assert (found["x.count"], found["x.mean"], found["x.m2"]) == (4, 3, 26)


def test_missing_doubled_and_foreign_parts_are_named(ready, capsys):
    job = job_of("lens", ready)
    one, two, three = reversed(in_parts(job, 3))
    (other,) = in_parts(job_of("agreement", ready), 1, "other")
    whole = job.measure(Run(), Parts.of([one, two, three])).save("whole")
    with pytest.raises(ProbeError, match=r"^2 of 3 parts are missing: 1, 3$"):
        Parts.of([two])
    with pytest.raises(ProbeError, match=rf"^{one} and {one} are both part 1/3$|are both part 1/3"):
        twin = one.with_name("twin")
        twin.symlink_to(one)
        Parts.of([one, twin, two, three])
    with pytest.raises(
        ProbeError, match=r"other/1 is no part of the run .*: study is agreement there"
    ):
        Parts.of([one, other])
    with pytest.raises(ProbeError, match=r"whole holds no part of a run"):
        Parts.of([whole])
    (half,) = in_parts(job, 1, "half")
    with pytest.raises(ProbeError, match=r"half/1 is part 1/1, and the others are of 3"):
        Parts.of([one, half])
    assert main(["merge", str(one), str(two), "--out", "m"]) == 2
    assert capsys.readouterr().err == "error: 1 of 3 parts are missing: 3\n"
    assert not Path("m").exists()


def test_what_cannot_be_put_together_is_refused_when_the_part_is_asked_for(ready):
    half = Part(1, 2)
    with pytest.raises(ProbeError, match=r"part= is not for this lesion: precision= stops"):
        job_of("lesion", ready, half, precision=20.0)
    with pytest.raises(ProbeError, match=r"part= is not for this responses: init= takes"):
        job_of("responses", ready, half, init=True)
    with pytest.raises(ProbeError, match=r"18 images that go together by 16 make 2 parts at most"):
        job_of("control", ready, Part(1, 4))
    for text in ("0/2", "3/2", "2", "a/b", "1/", "1/999999"):
        with pytest.raises(ProbeError, match="is no part: write which of how many"):
            Part.read(text)
    for name in {each.name for each in ROWS} - set(IN_PARTS):
        with pytest.raises(ProbeError, match=f"part= is not for {name}: it needs all images in"):
            job_of(name, ready, half)
    assert not list(Path().iterdir())


def test_a_part_that_was_stopped_goes_on(ready, monkeypatch):
    from resnet_probe.results import Journal

    job = replace(job_of("agreement", ready), part=Part(2, 2))
    whole = job.obtain(Path("whole"), resources=ONE)
    put = Journal.put

    def stopped(self, key, arrays):
        put(self, key, arrays)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "put", stopped)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt, match="same command goes on"):
                job.obtain(Path("again"), resources=ONE)
    assert len(list(Path("again.partial").glob("*.step"))) == 2
    again = job.obtain(Path("again"), resources=ONE)
    for name, values in whole.result.outcomes.items():
        np.testing.assert_array_equal(again.result.outcomes[name], values)


def test_a_part_of_a_stream_is_that_of_the_tensor():
    held = torch.arange(60.0).view(20, 3)
    read = []

    def rows(start, stop):
        read.append((start, stop))
        return held[start:stop]

    stream = ImageStream(rows, range(2, 20), (3,), device=torch.device("cpu"))
    mine = Part(1, 3).rows(18).tolist()
    some = picked(stream, mine)
    assert not read and len(some) == 6 and some.shape == (6, 3)
    assert torch.equal(some[1:4].to(), picked(held[2:], mine)[1:4])
    assert torch.equal(some[5], held[2:][mine[5]])


@dataclass(frozen=True)
class Turn(Team):
    """A process of a team whose others have been waited for already."""

    def agreed(self, wish: int) -> int:
        return wish


def test_a_team_measures_what_one_process_does(ready):
    job = job_of("lens", ready)
    whole = job.measure(Run(ONE))
    folder = Path("team").resolve()
    assert job.obtain_with(Turn(1, 2), folder, resources=ONE) is None
    assert Path("team-part-2-of-2/table.csv").exists() and not folder.exists()
    found = job.obtain_with(Turn(0, 2), folder, resources=ONE)
    np.testing.assert_allclose(
        found.result.table.select_dtypes("number"), whole.table.select_dtypes("number"), rtol=1e-12
    )
    assert sorted(path.name for path in Path().iterdir()) == ["team"]


def test_several_networks_each_by_its_own_run_or_in_one(capsys, monkeypatch):
    monkeypatch.setattr("resnet_probe.runs.job._drawn", lambda *_: {})
    names = ["resnet20:width=4", "preresnet:depth=8,width=4"]
    given = ["--arch", *names, "--weights", "initial:0", "initial:1", "--data", "digits"]
    few = [*given, "--limit", "8"]
    assert main(["lens", *few, "--part", "1/2"]) == 0
    assert main(["lens", *few, "--part", "2/2", "--out", "mine"]) == 0
    said = capsys.readouterr().out
    assert said.count("part 1/2: 4 of 8 images") == 2 and said.count("part 2/2: 4 of 8") == 2
    folders = [*Path("runs").iterdir(), *Path("mine").iterdir()]
    assert len(folders) == 4
    own = [str(path) for path in folders if "resnet20" in path.name]
    assert main(["merge", *own]) == 0
    assert Result.load("runs/lens-resnet20-width-4-digits").identity["arch"] == names[0]
    # Of networks in one table every part holds all of them.
    for part in ("1/2", "2/2"):
        assert main(["responses", *few, "--batch", "1", "--part", part]) == 0
    assert main(["merge", *map(str, Path("runs").glob("responses-*"))]) == 0
    assert main(["responses", *few, "--batch", "1", "--out", "whole"]) == 0
    whole = Result.load("whole").table
    (there,) = (path for path in Path("runs").glob("responses-*") if "part" not in path.name)
    merged = Result.load(there).table
    assert set(merged["arch"]) == set(names)
    np.testing.assert_allclose(merged["value"], whole["value"], rtol=1e-12)


def test_torchrun_with_a_rank_that_was_killed_is_one_process(tmp_path):
    with pytest.raises(ChildFailedError):
        by_torchrun(studied, tmp_path, True)
    left = list(Path("team-part-2-of-2.partial").glob("*.step"))
    assert len(left) == 1 and not Path("team").exists()
    by_torchrun(studied, tmp_path, False)
    assert main([*STUDY, "--out", "whole"]) == 0
    team, whole = Result.load("team").table, Result.load("whole").table
    counts = [name for name in whole if whole[name].dtype.kind != "f"]
    assert team[counts].equals(whole[counts])
    np.testing.assert_allclose(team["error_pct"], whole["error_pct"], rtol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["team", "whole"]
