"""The examples for clusters, run with the engines that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

from resnet_probe.cli import main
from resnet_probe.results import Result

CLUSTER = ROOT / "analyses" / "cluster"
STUDY = ["lens", "--arch", "preresnet:depth=8,width=4", "--weights", "initial:0"]
STUDY += ["--data", "digits", "--limit", "20", "--batch", "1"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to run in, in which `python` is this one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    kept = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, [str(ROOT), kept])))
    return tmp_path


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    monkeypatch.setattr("resnet_probe.runs.job._drawn", lambda *_: {})


def whole_table() -> bytes:
    assert main([*STUDY, "--out", "one"]) == 0
    return Path("one/table.csv").read_bytes()


def test_each_is_short():
    files = [path for path in CLUSTER.iterdir() if path.is_file()]
    assert {path.name for path in files} == {"slurm.sh", "parts_by_submitit.py", "Snakefile"}
    assert all(len(path.read_text().splitlines()) <= 20 for path in files)


def test_a_slurm_array(place, monkeypatch):
    """Its tasks call a `python` that notes what it is asked, and this process does that."""
    Path("bin").mkdir()
    noting = Path("bin/python")
    noting.write_text('#!/bin/bash\nprintf "%s\\n" "$@" > "asked-$SLURM_ARRAY_TASK_ID"\n')
    noting.chmod(0o755)
    monkeypatch.setenv("PATH", f"{noting.parent.absolute()}:{os.environ['PATH']}")
    script = (CLUSTER / "slurm.sh").read_text()
    assert "#SBATCH --array=1-8\n" in script
    for task in ("1", "2"):
        slurm = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"}
        command = ["bash", str(CLUSTER / "slurm.sh"), *STUDY]
        subprocess.run(command, env={**os.environ, **slurm}, check=True, capture_output=True)
        words = Path(f"asked-{task}").read_text().splitlines()
        assert words[:2] == ["-m", "resnet_probe"]
        assert main(words[2:]) == 0
    assert main(["merge", *map(str, Path("runs").iterdir()), "--out", "put"]) == 0
    assert Path("put/table.csv").read_bytes() == whole_table()
    assert Result.load("put").provenance["parts"] == 2


@pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed")
def test_submitit(place):
    command = ["python", str(CLUSTER / "parts_by_submitit.py"), "2", "put", *STUDY]
    subprocess.run(command, check=True, capture_output=True)
    assert Path("put/table.csv").read_bytes() == whole_table()


@pytest.mark.skipif(shutil.which("snakemake") is None, reason="snakemake is not installed")
def test_a_snakefile(place):
    given = f"study={' '.join(STUDY)}"
    command = ["snakemake", "--snakefile", str(CLUSTER / "Snakefile"), "--cores", "1"]
    subprocess.run([*command, "--config", given, "parts=2"], check=True, capture_output=True)
    assert Path("whole/table.csv").read_bytes() == whole_table()


def test_the_commands_of_the_snakefile(place):
    """The shell commands of its rules, filled in as Snakemake fills them in."""
    text = (CLUSTER / "Snakefile").read_text()
    shells = [line.partition('shell: "')[2][:-1] for line in text.splitlines() if "shell:" in line]
    whole, part = shells
    study = " ".join(STUDY)
    for number in ("1", "2"):
        filled = part.replace("{STUDY}", study).replace("{wildcards.part}", number)
        assert main(filled.replace("{wildcards.parts}", "2").split()[3:]) == 0
    assert main(whole.replace("{FOLDERS}", "parts/1-of-2 parts/2-of-2").split()[3:]) == 0
    assert Path("whole/table.csv").read_bytes() == whole_table()
