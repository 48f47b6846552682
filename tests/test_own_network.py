"""A network of the user's own, by the name of what builds it."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from toy_chains import TinyResNet, images, scalar_chain, seeded

from resnet_probe import ProbeError, cli
from resnet_probe.chain import ResidualChain
from resnet_probe.cli.blocks import report
from resnet_probe.describe import size_of
from resnet_probe.loading import architecture, load_network
from resnet_probe.models.own import is_own

MODULE = """
import torch
from toy_chains import TinyResNet as Net
number = 3
def build():
    return Net()
def ten():
    net = Net()
    net.head = torch.nn.Linear(8, 10)
    return net
class Pair(Net):
    def forward(self, x):
        x = super().forward(x)
        return {"logits": x, "twice": (x, x + x)}
class Two(Net):
    def forward(self, x):
        x = super().forward(x)
        return x, x + x
def half():
    return Net().half()
class Lazy(Net):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.LazyLinear(5)
def nothing():
    return None
"""
SPEC = "own_net.nets:build@3x8x8"


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    (tmp_path / "own_net").mkdir()
    (tmp_path / "own_net" / "nets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "own_net"]:
        del sys.modules[name]


def test_which_specs_are_a_users_own():
    assert is_own("mypkg.nets:build") and is_own("nets:Net@3x224x224")
    assert not is_own("resnet20") and not is_own("resnet20:shortcut=B")
    assert not is_own("resnet20:shortcut")  # a misspelt option of a known name


def test_a_network_is_built_from_its_callable_or_class():
    arch = architecture(SPEC)
    assert arch.input_shape == (3, 8, 8)
    assert type(arch.build(seed=0)).__name__ == "TinyResNet"
    same = architecture("own_net.nets:Net@3x8x8").build(seed=0)
    for a, b in zip(arch.build(seed=0).parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("own_net.nets:build", "give input="),
        ("own_net.nets:number@3x8x8", "no callable 'number'"),
        ("own_net.nets:absent@3x8x8", "no callable 'absent'"),
        ("own_net.absent:build@3x8x8", "cannot be imported"),
        ("own_net.nets:nothing@3x8x8", "gives a NoneType"),
    ],
)
def test_what_builds_no_network_is_refused(spec, reason):
    with pytest.raises(ProbeError, match=reason):
        architecture(spec).build(seed=0)


def test_weights_from_a_file_or_as_built(tmp_path):
    model = seeded(TinyResNet)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    loaded = load_network(SPEC, tmp_path / "w.pt", None)
    with torch.no_grad():
        assert torch.equal(loaded.model(images()), model.eval()(images()))
    assert load_network(SPEC, None, None).source == f"{SPEC} as built"
    torch.save({"weight": torch.zeros(2, 2)}, tmp_path / "w.pt")
    with pytest.raises(ProbeError, match="does not fit"):
        load_network(SPEC, tmp_path / "w.pt", None)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_blocks_command(capsys, swapped):
    model, shape = ["--model", "own_net.nets:build"], ["--input", "3×8×8"]
    assert cli.main(["blocks", *(shape + model if swapped else model + shape)]) == 0
    shown = capsys.readouterr().out
    assert f"{SPEC}: 3 blocks in 2 stages" in shown
    assert "projection" in shown and "not cut: nothing" in shown
    assert (
        "\ngraph: torch.fx\nproof: the chain gives the network's output bit for bit, and so"
        in shown
    )


@pytest.mark.parametrize("output", ["logits", "twice.1"])
def test_one_of_several_outputs_by_an_option(capsys, output):
    options = ["--output", output, "--model", "own_net.nets:Pair", "--input", "3x8x8"]
    assert cli.main(["blocks", *options]) == 0
    assert f"own_net.nets:Pair@3x8x8@{output}: 3 blocks" in capsys.readouterr().out
    assert architecture(f"own_net.nets:Pair@3x8x8@{output}").output == output


def test_what_was_not_cut_and_the_residue_are_said():
    chain = ResidualChain(
        "net", torch.nn.Identity(), (), torch.nn.Identity(), (), 2, ("a: because",), 1e-7
    )
    assert "not cut:\n  a: because" in report(chain)
    assert "to rounding (a largest difference of 1e-07)" in report(chain)
    assert "graph:" not in report(chain)  # nobody has cut it
    found = replace(chain, front_end="torch.export", free=("ids[0]",), tolerance=1.2e-5)
    assert "graph: torch.export, with free sizes of its inputs: ids[0]\n" in report(found)
    assert "difference of 1e-07; 1e-05 of the largest value is allowed)" in report(found)


def test_what_lies_inside_a_block_is_said_and_what_is_missed_twice_said_once():
    block = replace(scalar_chain([1.0]).block(1), inner=("blocks.0", "blocks.1"))
    chain = ResidualChain(
        "net", torch.nn.Identity(), (block,), torch.nn.Identity(), (), 2, ("a: because",) * 3
    )
    shown = report(chain)
    assert "net: 1 block in 1 stage\n" in shown
    assert "not cut:\n  a: because (3 times)\n" in shown
    assert "inside a block, cut with it:\n  1 (block1): blocks.0, blocks.1" in shown


def test_a_lesion_of_a_users_own_network(tmp_path):
    arguments = ["--model", "own_net.nets:ten", "--input", "3x16x16", "--data", "digits"]
    more = ["--normalize", "none", "--limit", "20", "--out", str(tmp_path / "run")]
    assert cli.main(["lesion", *arguments, *more]) == 0
    table = pd.read_csv(tmp_path / "run" / "table.csv")
    assert list(table["kind"]) == ["baseline", "delete", "delete", "delete"]
    record = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert record["proof"] == {"front_end": "torch.fx", "residue": 0, "tolerance": 100 * 2**-23}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--input", "3x8x8"], "which network? give --arch, or --model for your own"),
        (["--arch", "resnet20", "--model", "a:b"], "are two networks: give one"),
        (["--model", "own_net.nets:build", "--input", "8x8"], "no image shape"),
        (["--model", "own_net.nets:build"], "give --input"),
        (["--arch", "resnet20", "--output", "0"], "--output goes with --model: resnet20"),
        (["--output", "0", "--arch", "resnet20"], "--output goes with --model: resnet20"),
        (["--model", "own_net.nets:Two", "--input", "3x8x8"], "choose one with --output"),
    ],
)
def test_options_that_do_not_name_a_network_are_refused(capsys, arguments, reason):
    assert cli.main(["blocks", *arguments]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("command", ["blocks", "describe"])
def test_a_network_in_half_precision(capsys, command):
    assert cli.main([command, "--model", "own_net.nets:half", "--input", "3x8x8"]) == 0
    assert size_of(seeded(TinyResNet).half(), (3, 8, 8)) == size_of(seeded(TinyResNet), (3, 8, 8))


def test_lazy_layers_take_the_shapes_of_a_file_of_weights(tmp_path):
    state = seeded(TinyResNet).state_dict()
    torch.save(state, tmp_path / "w.pt")
    found = load_network("own_net.nets:Lazy@3x8x8", tmp_path / "w.pt", None)
    assert all(torch.equal(value, state[name]) for name, value in found.model.state_dict().items())
