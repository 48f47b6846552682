"""What was measured before is given again only for the same question.

    pytest tests/campaigns/test_again.py --campaign-size 200

Each seed measures a network of somebody's own, changes one thing (an option, a weight, a pixel, a
label, a class map, a line of the model's code) and gives the command again in the same folder: the
table has to be the one that a folder without a past gives.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from campaigns.children import called, seeds
from PIL import Image

from resnet_probe.cli import main
from resnet_probe.runs.catalogue import ROWS

pytestmark = pytest.mark.campaign
FEW = (10,)
"""Of a run of the test suite: which images statistics are fitted on."""
CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return F.leaky_relu(x + {scale} * self.b(self.norm({act}(self.a(x)))), {slope})

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(4, 3)
        self.blocks = nn.Sequential(Block(), Block(), Block())

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).{pool}((2, 3)))
"""
START = {
    "scale": "1.0", "act": "torch.relu", "slope": "0.0", "pool": "mean",
    "weights": 0, "pixels": 0, "labels": 0, "files": 0, "fitted": 0, "classes": "abc",
    "data": "npz:here.npz", "normalize": "none", "limit": "24", "level": "inner",
}  # fmt: skip
"""What determines a table, beside the study's own options."""
CHANGES = {
    "scale": ("0.5", "-1.0"), "act": ("torch.tanh", "F.silu"), "slope": ("0.3",), "pool": ("amax",),
    "weights": (1, 2), "pixels": (1,), "labels": (1,), "files": (1,), "fitted": (1,),
    "classes": ("bca",), "normalize": ("mean=0.4,std=0.3", "imagenet"), "limit": ("20", "9"),
    "data": ("npz:there.npz", "imagefolder:val"), "preprocess": ("resize=12,crop=8", "resize=8"),
}  # fmt: skip
OPTIONS = {
    "lesion": {
        "--edit": ("permute", "duplicate", "ranges", "replace", "reverse", "looped"),
        "--counts": ("1", "1-2", "2"), "--draws": ("2", "3"), "--seed": ("1", "2"),
        "--margin": ("1",), "--precision": ("20",), "--by": ("class",),
        "--recalibrate": ("8", "12"), "--metric": ("accuracy", "auc"), "--exact": (None,),
        "--edits": ("delete 1", "scale 2 0.5", "swap 1 2"),
    },
    "control": {"--controls": ("noise", "sign"), "--seed": ("1",), "--margin": ("2",)},
    "greedy": {"--to": ("5", "30"), "--seed": ("1",), "--margin": ("2",)},
    "gates": {"--gates": ("0,0.5", "0,2"), "--seed": ("1",), "--margin": ("2",)},
    "paths": {
        "--method": ("exact", "all", "sample"), "--signs": ("2", "4"), "--samples": ("5", "9"),
        "--max-length": ("2",), "--tolerance": ("0.1",), "--at": ("stem", "input"),
        "--precision": ("float64",), "--seed": ("1",), "--images-per-path": ("2",),
    },
    "responses": {"--init": (None,), "--costs": (None,)},
    "flow": {"--init": (None,)},
    "append": {"--steps": ("2", "3"), "--blocks": ("1", "2"), "--draws": ("1",), "--seed": ("1",)},
    "lens": {"--recalibrate": ("8", "12")},
    "attribute": {
        "--methods": ("ablation", "shapley,gradients"), "--permutations": ("2", "3"),
        "--seed": ("1",), "--exact": (None,),
    },
    "interactions": {
        "--what": ("loss", "logits"), "--blocks": ("1-2", "2,3"), "--keep": ("0.9",),
        "--draws": ("5",), "--seed": ("1",),
    },
    "agreement": {"--counts": ("1", "1-2"), "--draws": ("2", "3"), "--seed": ("1",)},
    "influence": {},
}  # fmt: skip
"""Values of each study's options that are allowed."""


def pytest_generate_tests(metafunc):
    size = metafunc.config.getoption("--campaign-size")
    metafunc.parametrize("seed", seeds(metafunc.config, size) if size else FEW)


def drawn(seed):
    """(study, options, what determines the rest, the same with one thing changed)."""
    pick = random.Random(f"again {seed}")
    name = pick.choice([row.name for row in ROWS])
    options = OPTIONS[name]
    before = {flag: pick.choice(options[flag]) for flag in pick.sample(
        sorted(options), min(len(options), pick.choice([0, 1, 1, 2])))}  # fmt: skip
    first = {**START, "options": before}
    if options and pick.random() < 0.5:
        flag = pick.choice(sorted(options))
        others = [each for each in (*options[flag], ...) if each != before.get(flag, ...)]
        value = pick.choice(others)
        after = {key: each for key, each in before.items() if key != flag}
        return name, first, {**first, "options": after | ({} if value is ... else {flag: value})}
    what = pick.choice(sorted(CHANGES))
    if what in ("files", "classes", "preprocess"):
        first["data"] = "imagefolder:val"
    if what == "fitted" and "--recalibrate" in options:
        first["options"] = {**before, "--recalibrate": "8"}
    return name, first, {**first, what: pick.choice(CHANGES[what])}


def written(folder, state):
    """The files of a state, as they lie where the command is given."""
    shutil.rmtree(folder / "val", ignore_errors=True)
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "nets.py").write_text(CODE.format(**state))
    space = {}
    exec((folder / "nets.py").read_text(), space)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(state["weights"])
        torch.save(space["Net"]().state_dict(), folder / "w.pt")
    for name, more in (("here", 0), ("there", 5), ("fitted", 10 + state["fitted"])):
        pixels = np.random.default_rng([state["pixels"], more])
        labels = np.random.default_rng([state["labels"], more])
        np.savez(folder / f"{name}.npz", images=pixels.integers(0, 255, (24, 8, 8, 3), np.uint8),
                 labels=labels.integers(0, 3, 24))  # fmt: skip
    values = np.random.default_rng(state["files"])
    for each in "abc":
        (folder / "val" / each).mkdir(parents=True)
        for number in range(8):
            pixels = values.integers(0, 255, (10, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "val" / each / f"{number}.png")
    rows = [f"{each},{number}" for number, each in enumerate(state["classes"])]
    (folder / "map.csv").write_text("\n".join(rows))


def line_of(name, state):
    line = [name, "--model", "nets.py:Net", "--input", "3x8x8", "--weights", "w.pt", "--json",
            "--format", "svg"]  # fmt: skip
    for flag in ("data", "normalize", "limit", "level"):
        line += [f"--{flag}", state[flag]]
    if state["data"].startswith("imagefolder"):
        line += [
            "--class-map",
            "map.csv",
            "--preprocess",
            state.get("preprocess", "resize=9,crop=8"),
        ]
    for flag, value in state["options"].items():
        line += [flag] if value is None else [flag, value]
        if flag == "--recalibrate":
            line += ["--recalibrate-data", "npz:fitted.npz"]
    return line


def measured(folder, name, state):
    """(exit status, the table or what was said) of the command in a folder, its files written."""
    written(folder, state)
    ended = called(main, line_of(name, state), folder=folder)
    told = f"{' '.join(line_of(name, state))}: status {ended.status}\n{ended.err[-1500:]}"
    assert ended.status in (0, 2) and "Traceback" not in ended.err, told
    if ended.status == 2:
        return 2, ended.err
    found = json.loads(ended.out)
    return 0, (Path(found["folder"]) / "table.csv").read_bytes()


def test_a_table_is_found_again_only_for_its_own_question(seed, tmp_path):
    name, first, second = drawn(seed)
    known, new = tmp_path / "one" / "here", tmp_path / "other" / "here"
    before = measured(known, name, first)
    after = measured(known, name, second)
    assert after == measured(new, name, second), (name, first, second)
    assert before == measured(known, name, first), (name, first, second)
