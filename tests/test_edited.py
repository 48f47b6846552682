"""Edited networks as modules of their own: the chain's logits, the user's names, elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy_chains import TinyPlain, TinyResNet, images, labels, scalar_chain, seeded

from resnet_probe import ProbeError, chain_of, edited, layers_of, models
from resnet_probe.cli import main
from resnet_probe.describe import size_of
from resnet_probe.edits import Edit
from resnet_probe.engine.edited import save

TEXTS = ("delete 2", "delete 1 3", "swap 3 3", "scale 1 0.5 3 2", "cut 3", "repeat 3 3",
         "parallel 3", "delete 1; scale 2 0", "replace 2 zero")  # fmt: skip


@pytest.fixture(scope="module")
def net():
    model = seeded(TinyResNet)
    return model, chain_of(model, images(2)), images(9)


@pytest.mark.parametrize("text", TEXTS)
def test_the_module_gives_the_logits_of_the_edited_chain(net, text):
    _, chain, x = net
    module = edited(chain, text, x)
    with torch.no_grad():
        assert torch.equal(module(x), chain.run(x, Edit.parse(text)))
    assert module.meta["edit"] == text and not module.training


def test_a_deletion_is_the_model_with_that_branch_set_to_zero(net):
    model, chain, x = net
    handle = model.blocks[1].bn2.register_forward_hook(lambda _m, _i, out: out * 0)
    with torch.no_grad():
        wanted = model(x)
    handle.remove()
    with torch.no_grad():
        torch.testing.assert_close(edited(chain, Edit.delete(2), x)(x), wanted)


def test_blocks_from_one_state_are_averaged():
    chain = scalar_chain([0.5, 1.0, 2.0])
    x = torch.ones(2, 2, dtype=torch.float64)
    module = edited(chain, "parallel 1..2 2", x)
    torch.testing.assert_close(module(x), x * (1 + 0.75) ** 2 * 3)


def test_what_is_left_has_its_own_names_and_is_a_copy(net):
    model, chain, x = net
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with edited(chain, "delete 3", x) as module:
        left = module.state_dict()
    gone = {name for name in before if name.startswith("blocks.2.")}
    assert set(left) == set(before) - gone
    assert module.meta["removed"] == [f"blocks.2.{n}" for n in ("conv1", "bn1", "conv2", "bn2")]
    module.train()
    loss = torch.nn.functional.cross_entropy(module(x), labels(9))
    loss.backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.sub_(0.1 * parameter.grad)
    assert torch.nn.functional.cross_entropy(module(x), labels(9)) < loss
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())


def test_without_whole_blocks_their_outermost_names_are_removed():
    spec = "preresnet:depth=14,width=4"
    model = models.architecture(spec).build(seed=1).eval()
    module = edited(chain_of(model, images(2)), "delete 2 4", images(3))
    assert module.meta["removed"] == ["layer1.1", "layer2.1"]
    small = models.architecture(f"{spec},deleted=2+4").build(seed=5).eval()
    missing = set(small.state_dict()) ^ set(module.state_dict())
    small.load_state_dict(module.state_dict())
    with torch.no_grad():
        assert not missing and torch.equal(small(images(5)), module(images(5)))
    one, other = (size_of(each, (3, 8, 8)) for each in (small, module))
    assert one == other


def test_layers_of_plain_networks_and_modules_that_are_no_graphs(net):
    x = images(4)
    plain = layers_of(seeded(TinyPlain), x[:2])
    with torch.no_grad():
        assert torch.equal(edited(plain, "delete 2", x)(x), plain.run(x, Edit.delete(2)))
    chain = scalar_chain([0.5, 1.0])
    found = edited(chain, "scale 2 3", torch.ones(1, 2, dtype=torch.float64))
    assert found(torch.ones(1, 2, dtype=torch.float64)).flatten().tolist() == [6.0, 6.0]
    assert set(found.state_dict()) == {"block1.branch.factor", "block2.branch.factor"}


def test_a_state_dict_fits_the_users_own_class(net, tmp_path):
    _, chain, x = net
    module = edited(chain, "delete 3", x)
    save(module, tmp_path / "small.pt", x)
    kept = torch.load(tmp_path / "small.pt", weights_only=True)
    assert kept["edit"] == "delete 3" and "blocks.2.conv1" in kept["removed"]
    own = seeded(TinyResNet, 7)
    own.blocks[2] = torch.nn.ReLU()
    own.load_state_dict(kept["state_dict"])
    with torch.no_grad():
        assert torch.equal(own(x), module(x))


def test_a_program_takes_any_number_of_images_without_this_package(net, tmp_path):
    _, chain, x = net
    module = edited(chain, "delete 3", x)
    save(module, tmp_path / "small.pt2", x)
    assert [path.name for path in tmp_path.iterdir()] == ["small.pt2"]
    program = torch.export.load(tmp_path / "small.pt2").module()
    with torch.no_grad():
        for count in (1, 2, 9):
            torch.testing.assert_close(program(x[:count]), module(x[:count]))
    assert set(program.state_dict()) == set(module.state_dict())


@pytest.mark.campaign
def test_a_program_runs_in_a_process_that_has_never_heard_of_it(net, tmp_path):
    _, chain, x = net
    module = edited(chain, "delete 3; parallel 1", x)
    save(module, tmp_path / "small.pt2", x)
    with torch.no_grad():
        torch.save((x, module(x)), tmp_path / "io.pt")
    code = """
import sys, torch
sys.modules["resnet_probe"] = None
x, wanted = torch.load("io.pt")
with torch.no_grad():
    torch.testing.assert_close(torch.export.load("small.pt2").module()(x), wanted)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_what_cannot_be_made_or_saved_is_said(net, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, chain, x = net
    for edit, said in (
        ("delete 9", "block 9 is out of range"),
        ("delete x", "cannot be read at character 8"),
        ("replace 2 mean", "give calibrate="),
        ("swap 1 2", "the head|takes"),
    ):
        with pytest.raises(ProbeError, match=said):
            edited(chain, edit, x)
    with pytest.raises(ProbeError, match="proven on an example"):
        edited(chain, "delete 1")
    given = ["edit", "--arch", "resnet20:width=4", "--weights", "initial:0", "--data", "digits"]
    for more, said in (
        (["delete 2", "--out", "a.onnx"], "--out a.onnx says no form: end it in .pt2"),
        (["delete 2", "--out", "no/a.pt"], "there is no folder no"),
        (["delete 2", "--batch", "0"], "--batch 0: at least 1"),
    ):
        assert main([*given, "--limit", "4", *more]) == 2
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    for path in (Path("/proc/none.pt"), Path("/proc/none.pt2")):  # where nobody may write
        with pytest.raises(ProbeError, match=f"{path} cannot be written: "):
            save(edited(chain, "delete 1", x), path, x)


def test_the_command_tells_and_saves(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("resnet_probe.cli.edit.ROUNDS", 1)
    given = ["edit", "--arch", "resnet20:width=4", "--weights", "initial:0", "--data", "digits"]
    assert main([*given, "--limit", "8", "delete 2 3", "--out", "small.pt"]) == 0
    said = capsys.readouterr().out
    assert "10 modules are gone (layer1.1.conv1" in said and "error on 8 images" in said
    kept = torch.load("small.pt", weights_only=True)
    numbers = sum(
        v.numel() for k, v in kept["state_dict"].items() if "running" not in k and "num" not in k
    )
    assert f"{numbers:,}" in said
