"""A lesion of layers: the attention and the MLP of an encoder layer are left out together."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import VisionTransformer
from toy_chains import TinyResNet, images, labels, scalar_chain, seeded

from resnet_probe import ProbeError, chain_of, cli, draw, lesion
from resnet_probe.findings import summarize_lesion
from resnet_probe.studies.plan import plan
from resnet_probe.studies.units import Layers


def transformer() -> torch.nn.Module:
    def build():
        return VisionTransformer(
            image_size=16, patch_size=8, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=16,
            num_classes=5,
        )  # fmt: skip

    model = seeded(build)
    torch.nn.init.normal_(model.heads.head.weight, generator=torch.Generator().manual_seed(3))
    return model


@pytest.fixture(scope="module")
def chain():
    with torch.random.fork_rng([]):
        return chain_of(transformer(), images(2, side=16), name="vit")


def test_the_layers_of_a_transformer_are_pairs_of_blocks(chain):
    assert chain.layers == ((1, 2), (3, 4), (5, 6))
    assert [block.role for block in chain] == ["attention", "mlp"] * 3
    names = [block.name.removeprefix("encoder.layers.encoder_layer_") for block in chain]
    assert names == [f"{i}.{part}" for i in range(3) for part in ("self_attention", "mlp")]
    assert list(chain.table()["layer"]) == [1, 1, 2, 2, 3, 3]


def test_in_a_convolutional_network_every_block_is_a_layer():
    assert chain_of(seeded(TinyResNet), images()).layers == ((1,), (2,), (3,))
    assert scalar_chain([1.0, 2.0]).layers == ((1,), (2,))


def test_deleting_a_layer_leaves_out_both_of_its_branches(chain):
    edits = plan(chain, unit="layer")
    assert [edit.blocks for edit in edits] == ["", "1 2", "3 4", "5 6"]
    assert [edit.edits for edit in edits] == [0, 1, 1, 1]
    model, x = transformer(), images(3, side=16)
    layer = model.encoder.layers[1]

    def zeros(module, arguments, output):
        return torch.zeros_like(output) if torch.is_tensor(output) else (output[0] * 0, None)

    for part in (layer.self_attention, layer.mlp):
        part.register_forward_hook(zeros)
    with torch.no_grad():
        assert torch.equal(chain.run(x, edits[2]), model(x))


def test_what_is_done_to_layers_is_done_to_their_blocks(chain):
    run = [(b, 1.0) for b in range(1, 7)]
    for edit in plan(chain, "duplicate", unit="layer", counts=[1], draws=5)[1:]:
        i, j = map(int, edit.blocks.split())
        at = run.index((j, 1.0)) + 1
        assert list(edit.steps(chain)) == [*run[:at], (i, 1.0), (j, 1.0), *run[at:]]
        assert edit.edits == 1
    for edit in plan(chain, "permute", unit="layer", counts=[1], draws=5)[1:]:
        assert edit.blocks == "3+4-5+6"  # the first layer of a stage stays, as published
        assert [b for b, _ in edit.steps(chain)] == [1, 2, 5, 6, 3, 4]
    for edit in plan(chain, "permute", unit="layer", tau=[1.0, 1 / 3], draws=3)[1:]:
        assert [b for b, _ in edit.steps(chain)] == list(map(int, edit.blocks.split()))
    for edit in plan(chain, unit="layer", counts=[2], draws=5)[1:]:
        assert edit.edits == 2 and len(edit.blocks.split()) == 4


def test_there_are_no_other_units_and_no_more_layers_than_there_are(chain):
    with pytest.raises(ProbeError, match="unknown unit 'head': edits are of a block, a layer or"):
        plan(chain, unit="head")
    with pytest.raises(ProbeError, match=r"vit has 3 layers, so counts= goes from 1 to 3"):
        plan(chain, unit="layer", counts=[4])


def test_layers_lie_in_the_stage_in_which_they_begin(chain):
    layers = Layers(chain)
    assert layers.stages == ((1, 2, 3),)
    assert len(layers) == 3 and all(layer.keeps_shape for layer in layers)


def test_the_study_of_layers_its_table_summary_and_figure(chain):
    x, y = images(16, side=16), labels(16)
    result = lesion(chain, x, y, unit="layer")
    table = result.table
    assert list(table["blocks"]) == ["", "1 2", "3 4", "5 6"]
    assert list(table["edits"]) == [0, 1, 1, 1]
    assert list(table["stage"])[1:] == ["1", "1", "1"]
    edits = plan(chain, unit="layer")
    with torch.no_grad():
        for edit, row in zip(edits, table.itertuples(), strict=True):
            right = int((chain.run(x, edit.steps(chain)).argmax(1) == y).sum())
            assert abs(row.correct - right) <= row.near_ties
    assert result.provenance["unit"] == "layer"
    assert "1 2" in summarize_lesion(result)
    figure = draw(result)
    assert figure.axes[0].get_xlabel() == "layer deleted"


def test_the_option_is_there_and_offers_two_units(capsys):
    assert cli.main(["lesion", "--arch", "resnet20", "--unit", "head"]) == 2
    assert "--unit" in capsys.readouterr().err
