"""Code of the user's own that builds a model: by its file too, and whatever else it does."""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import resnet_probe as rp
from resnet_probe import ProbeError

X = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6) % 5
OWN = """
import os, random, sys, warnings
import numpy, torch
from toy_chains import TinyResNet
number = 3
print("imported")
def leave():
    sys.exit(0)
def fail():
    raise ValueError("no luck")
def upset():
    print("building")
    os.chdir("/")
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.manual_seed(5); random.seed(5); numpy.random.seed(5)
    warnings.simplefilter("ignore")
    return TinyResNet().float()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a_net.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("place", ["./a_net.py", "a_net.py", "{}/a_net.py"])
def test_a_model_by_its_file(own: Path, place: str, capsys: Any) -> None:
    before = (Path.cwd(), torch.get_default_dtype(), torch.is_grad_enabled(), random.getstate(),
              list(warnings.filters), np.random.get_state()[1].tolist())  # noqa: NPY002  # fmt: skip
    ready = rp.prepare(f"{place.format(own)}:upset@3x8x8", data=(X, Y))
    assert before == (
        Path.cwd(), torch.get_default_dtype(), torch.is_grad_enabled(), random.getstate(),
        list(warnings.filters), np.random.get_state()[1].tolist(),  # noqa: NPY002
    )  # fmt: skip
    said = capsys.readouterr()
    assert "building" in said.err and not said.out
    assert len(ready.chain) == 3


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("a_net.py:leave", r"a_net.py:leave ends Python by sys.exit\(0\) and gives no network"),
        ("a_net.py:fail", r"fails with ValueError \(no luck\)"),
        ("a_net.py:number", "has no callable 'number'"),
        ("none.py:build", "there is no file none.py"),
        ("broken.py:build", r"broken.py fails with SyntaxError"),
        ("leaving.py:build", r"leaving.py ends Python by sys.exit\(3\)"),
    ],
)
def test_code_that_builds_nothing(own: Path, spec: str, said: str) -> None:
    Path("broken.py").write_text("def build(:\n")
    Path("leaving.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(ProbeError, match=said) as caught:
        rp.prepare(f"{spec}@3x8x8", data=(X, Y))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"architectures": 5}', "does not name its architectures"),
        ('{"architectures": [[]]}', "does not name its architectures"),
        ('{"architectures": ["A"], "image_size": "big"}', "says that images are 3×big×big"),
        ('{"architectures": ["A"], "image_size": 1e999}', "says that images are 3×inf×inf"),
        ('{"architectures": ["A"], "num_channels": true}', "says that images are True×"),
        ('{"architectures": ["A"], "image_size": [1, 2, 3]}', "says that images are 3×1×2×3"),
        ("[1]", "is no JSON object"),
        ("[" * 200_000 + "]" * 200_000, "cannot be read as JSON"),
        (None, "it is no file"),
    ],
)
def test_a_folder_of_transformers_with_a_strange_configuration(
    tmp_path: Path, config: str | None, said: str
) -> None:
    file = tmp_path / "config.json"
    if config is None:
        os.mkfifo(file)
    else:
        file.write_text(config)
    with pytest.raises(ProbeError, match=said):
        rp.prepare(f"hf:{tmp_path}", data=(X, Y))
