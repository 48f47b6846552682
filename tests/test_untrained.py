"""The untrained twin: the same architecture before training, and what it is for."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from claim_tables import lesion, responses
from PIL import Image
from small_networks import images, seeded
from torch import nn

from resnet_probe import ProbeError, prepare, untrained
from resnet_probe.claims import HOLDS, judge
from resnet_probe.cli import main
from resnet_probe.results import Result
from resnet_probe.runs.evidence import twin_asks


@pytest.fixture(scope="module")
def ready():
    return prepare("resnet20", limit=12)


def test_a_named_network_is_built_anew_with_the_statistics_of_training_images(ready):
    state = torch.random.get_rng_state()
    before = copy.deepcopy(ready.network.model.state_dict())
    twin, again, other = untrained(ready), untrained(ready), untrained(ready, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in ready.network.model.state_dict().items())
    assert twin.network.weights_sha256 == again.network.weights_sha256
    assert len({t.network.weights_sha256 for t in (ready, twin, other)}) == 3
    assert "seed 0, batch-norm statistics of 200 training images" in twin.network.source
    fresh = ready.network.arch.build(10, seed=0).state_dict()
    weights = dict(twin.network.model.named_parameters())
    assert all(torch.equal(weight, fresh[name]) for name, weight in weights.items())
    x = twin.images
    with torch.no_grad():
        assert torch.equal(twin.chain(x), twin.network.model(x))
    assert twin.images is ready.images and not twin.network.model.training


def test_the_statistics_are_those_of_what_each_norm_sees(ready):
    x = torch.randn(30, *ready.images.shape[1:], generator=torch.Generator().manual_seed(0))
    model = untrained(ready, images=x).network.model
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda m, given, n=name: seen.update({n: given[0]}))
    with torch.no_grad():
        model(x)
    assert len(seen) == 19
    for name, given in seen.items():
        norm, rows = model.get_submodule(name), given.transpose(0, 1).flatten(1)
        assert ((norm.running_mean - rows.mean(1)).abs() < 0.02 * rows.std(1)).all()
        torch.testing.assert_close(norm.running_var, rows.var(1), rtol=0.05, atol=1e-5)


def parquet(path: Path, bright: int) -> str:
    """Eight grey pictures in a file, brighter from each to the next."""
    rows = []
    for place in range(8):
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), (bright + place,) * 3).save(picture, "PNG")
        rows.append({"bytes": picture.getvalue()})
    pq.write_table(pa.table({"img": rows, "label": [i % 4 for i in range(8)]}), path)
    return f"parquet:{path}"


def test_of_a_test_file_the_statistics_are_those_of_the_training_file_beside_it(tmp_path):
    shallow = {"weights": "initial:0", "normalize": "none"}
    tested = parquet(tmp_path / "test-0.parquet", 40)
    alone = untrained(prepare("resnet:depth=8,width=4", data=tested, **shallow))
    assert "8 of the images measured, which have no other split" in alone.network.source
    train = parquet(tmp_path / "train-0.parquet", 200)
    ready = prepare("resnet:depth=8,width=4", data=tested, **shallow)
    twin = untrained(ready)
    assert "batch-norm statistics of 8 training images" in twin.network.source
    seen = prepare("resnet:depth=8,width=4", data=train, **shallow).images
    same = untrained(ready, images=seen).network.model.state_dict()
    assert all(torch.equal(v, same[k]) for k, v in twin.network.model.state_dict().items())


class Block(nn.Module):
    def __init__(self, scaled: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(1)) if scaled else 1.0
        self.head = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x + self.scale * self.conv(x).relu()
        return self.head(h.mean((2, 3)))


def test_a_model_of_ones_own_draws_again_module_by_module():
    data = (images(6, 3, 8, 8), torch.arange(6) % 4)
    with seeded(0):
        plain, scaled = Block(scaled=False), Block(scaled=True)
    ready = prepare(plain, data=data)
    twin = untrained(ready, seed=3)
    assert not torch.equal(twin.network.model.conv.weight, ready.network.model.conv.weight)
    assert len(twin.chain) == 1
    refused = prepare(scaled, data=data)
    with pytest.raises(ProbeError, match=r"untrained twin: Block \(Block\) cannot be initialised"):
        untrained(refused)
    with pytest.raises(ProbeError, match="at least 2 of 3×8×8 are needed"):
        untrained(ready, images=torch.zeros(1, 3, 8, 8))


def test_the_command_line_asks_for_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["lesion", "--arch", "resnet20", "--twin", "untrained", "--limit", "4"]) == 0
    assert "weights: untrained twin, seed 0" in capsys.readouterr().out
    found = Result.load(tmp_path / "runs" / "lesion-resnet20-digits")
    assert "--twin untrained" in found.provenance["command"]
    assert main(["lesion", "--arch", "resnet20", "--twin", "x"]) == 2
    assert {ask.study for ask in twin_asks()} >= {"lesion", "paths", "responses"}


def test_what_a_twin_satisfies_stands_beside_the_verdict():
    """The ratio's fall within a stage needs no training where the twin shows it too."""
    falls, rises = [0.5, 0.4, 0.3, 0.2] * 3, [0.2, 0.3, 0.4, 0.5] * 3
    twin = {"more": {"weights": "untrained twin, seed 0"}}
    for values, verdict in ((falls, HOLDS), (rises, "fails")):
        table = judge([responses("ratio", falls), responses("ratio", values, **twin)])
        rows = table[table["claim"] == "jastrzebski2018/ratio"]
        assert rows["verdict"].tolist() == [HOLDS] and rows["twin"].tolist() == [verdict]
        assert rows["twin_low"].iloc[0] <= rows["twin_value"].iloc[0] <= rows["twin_high"].iloc[0]
    alone = judge([responses("ratio", falls)]).set_index("claim").loc["jastrzebski2018/ratio"]
    assert alone["twin"] == "" and np.isnan(alone["twin_value"])


def test_each_network_stands_beside_the_twin_that_saw_the_same_images():
    def normalized(values, how, weights):
        return responses("ratio", values, more={"weights": weights, "normalize": how})

    falls, rises = [0.5, 0.4, 0.3, 0.2] * 3, [0.2, 0.3, 0.4, 0.5] * 3
    table = judge([
        normalized(falls, "a", "bundled x"), normalized(falls, "b", "mine.th"),
        normalized(falls, "a", "untrained twin"), normalized(rises, "b", "untrained twin"),
    ])  # fmt: skip
    rows = table[table["claim"] == "jastrzebski2018/ratio"]
    assert rows["twin"].tolist() == [HOLDS, "fails"]


def test_a_twin_at_chance_has_no_way_to_lose():
    chance = lesion([90.0] * 54, base=90.0, more={"weights": "untrained twin, seed 0"})
    table = judge([lesion([6.1] * 54), chance]).set_index("claim")
    assert table.loc["veit2016/delete-one/relative", ["verdict", "twin"]].tolist() == [HOLDS, ""]
