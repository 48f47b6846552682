"""Responses recomputed by other means: hooks on the model, numpy, closed forms."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from conftest import SHARED
from torch import nn
from torch.nn import functional as F
from toy_chains import TinyPlain, TinyResNet, images, labels, randomized, scalar_chain, seeded

from resnet_probe import ProbeError, chain_of, data, layers_of, models, responses
from resnet_probe.engine.observe import without_gradients
from resnet_probe.studies.responses import COLUMNS, QUANTITIES, together
from resnet_probe.studies.responses.collect import Collector
from resnet_probe.studies.responses.passes import Passes
from resnet_probe.zoo import checkpoint

LOSSLESS = SHARED / "cifar10-lossless" / "test-00000-of-00001.parquet"
PUBLISHED = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}


def network(spec: str, seed: int = 0) -> nn.Module:
    return randomized(models.architecture(spec).build(seed=seed), seed)


def quantity(table: pd.DataFrame, name: str, column: str = "value") -> list[float]:
    return table[(table["place"] != "network") & (table["quantity"] == name)][column].tolist()


@torch.no_grad()
def hooked(model: nn.Module, names: list[str], x: torch.Tensor) -> list[np.ndarray]:
    """Copies of what these modules give, before anything behind them can write into it."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name):
        return lambda m, args, out: seen.__setitem__(name, out.detach().clone())

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return [seen[name].double().numpy() for name in names]


def norm_names(model: nn.Module) -> list[str]:
    """Batch norms behind the convolutions of stem and branches, in order."""
    found = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    return [name for name in found if "shortcut" not in name and "downsample" not in name]


def test_a_copy_without_gradients_shares_every_tensor_and_leaves_the_model_as_it_is():
    model = network("resnet20:width=4")
    found = dict(without_gradients(model).state_dict(keep_vars=True))
    for name, tensor in model.state_dict(keep_vars=True).items():
        assert found[name].data_ptr() == tensor.data_ptr() and not found[name].requires_grad
        assert tensor.requires_grad == isinstance(tensor, nn.Parameter)


def test_stds_of_layers_are_those_of_all_activations():
    model = network("resnet20:width=4").double()
    x, y = images(40, side=8).double(), labels(40, classes=10)
    found = responses(chain_of(model, x[:2]), x, y, batch=7).table
    expected = [values.std() for values in hooked(model, norm_names(model), x)]
    np.testing.assert_allclose(quantity(found, "response_std"), expected, rtol=1e-9)
    whole = found[found["place"] == "network"].iloc[0]
    np.testing.assert_allclose(whole["value"], np.mean(expected), rtol=1e-9)
    layers = found[found["place"] == "layer"]
    assert layers["name"].tolist()[:3] == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    assert layers["block"].tolist() == [0, *np.repeat(range(1, 10), 2)]
    assert set(layers["taken"]) == {"norm"} and set(layers["kernel"]) == {"3×3"}


def test_the_table_does_not_depend_on_the_batch():
    model = seeded(TinyResNet).double()
    x, y = images(30).double(), labels(30)
    chain = chain_of(model, x[:2])
    first, *others = (responses(chain, x, y, batch=batch).table for batch in (30, 7, 1))
    for other in others:
        pd.testing.assert_frame_equal(first, other, rtol=1e-9)


def test_intervals_of_layers_are_jackknifed_over_groups_of_images():
    model = network("resnet20:width=4").double()
    x, y = images(40, side=8).double(), labels(40, classes=10)
    found = responses(chain_of(model, x[:2]), x, y).table.iloc[4]
    (values,) = hooked(model, ["layer1.1.bn2"], x)
    assert found["name"] == "layer1.1.conv2"
    without = np.array([values[np.arange(40) % 20 != g].std() for g in range(20)])
    half = 2.093024 * np.sqrt(19 / 20 * ((without - without.mean()) ** 2).sum())
    assert found["ci_low"] == pytest.approx(values.std() - half, rel=1e-6)
    assert found["ci_high"] == pytest.approx(values.std() + half, rel=1e-6)


def terms_by_hand(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[dict]:
    """What each block of a `TinyResNet` adds, with gradients, written out without in-place."""
    h = model.stem(x).relu().detach().requires_grad_()
    found = []
    for block in model.blocks:
        inner = block.bn1(block.conv1(h)).relu()
        branch = block.bn2(block.conv2(inner))
        short = h if block.down is None else block.down(h)
        total = branch + short
        out = total.relu()
        for tensor in (h, total):
            tensor.retain_grad()
        found.append({"h": h, "branch": branch, "short": short, "sum": total, "out": out,
                      "inner": inner})  # fmt: skip
        h = out
    F.cross_entropy(model.head(h.mean((2, 3))), y, reduction="sum").backward()
    return found


def flat(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().flatten(1).numpy()


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_blocks_against_autograd_and_numpy():
    model = seeded(TinyResNet).double()
    x, y = images(30).double(), labels(30)
    table = responses(chain_of(model, x[:2]), x, y, batch=7).table
    terms = terms_by_hand(copy.deepcopy(model), x, y)
    ends = [terms[0]["out"], terms[2]["out"], terms[2]["out"]]
    for number, (term, end) in enumerate(zip(terms, ends, strict=True), start=1):
        rows = table[(table["place"] == "block") & (table["number"] == number)]
        value = rows.set_index("quantity")["value"]
        f, s = flat(term["branch"]), flat(term["short"])
        ratio = np.linalg.norm(f, axis=1) / np.linalg.norm(s, axis=1)
        assert value["ratio"] == pytest.approx(ratio.mean())
        row = rows[rows["quantity"] == "ratio"].iloc[0]
        for column, share in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
            assert row[column] == pytest.approx(np.quantile(ratio, share))
        half = 2.045230 * ratio.std(ddof=1) / np.sqrt(30)
        assert row["ci_low"] == pytest.approx(ratio.mean() - half, rel=1e-6)
        assert value["cosine_shortcut"] == pytest.approx(cosines(f, s).mean())
        assert value["cosine_gradient_sum"] == pytest.approx(
            cosines(f, flat(term["sum"].grad)).mean()
        )
        if number == 2:  # another shape
            assert np.isnan(value["cosine_gradient"])
        else:
            expected = cosines(f, flat(term["h"].grad)).mean()
            assert value["cosine_gradient"] == pytest.approx(expected)
        variances = [
            term[name].detach().transpose(0, 1).flatten(1).var(1, correction=0).mean()
            for name in ("branch", "short")
        ]
        assert value["variance_ratio"] == pytest.approx(float(variances[0] / variances[1]))
        apart = np.linalg.norm(flat(term["out"]) - flat(end), axis=1)
        expected = (apart / np.linalg.norm(flat(end), axis=1)).mean()
        assert value["stage_deviation"] == pytest.approx(expected, abs=1e-12)
        matrix = term["branch"].detach().transpose(0, 1).flatten(1).numpy()
        singular = np.linalg.svd(matrix, compute_uv=False)
        assert value["stable_rank"] == pytest.approx((singular**2).sum() / singular[0] ** 2)
        on = np.concatenate([(flat(term[name]) > 0) for name in ("inner", "out")], axis=1)
        assert value["dead_pct"] == pytest.approx(100 * (~on.any(0)).mean())
        assert value["always_on_pct"] == pytest.approx(100 * on.all(0).mean())


def test_a_chain_with_a_known_answer():
    chain = scalar_chain([0.5, -0.25])
    x = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    table = responses(chain, x, torch.tensor([0, 1, 0])).table
    assert quantity(table, "ratio") == pytest.approx([0.5, 0.25])
    assert quantity(table, "cosine_shortcut") == pytest.approx([1, -1])
    assert quantity(table, "variance_ratio") == pytest.approx([0.25, 0.0625])
    assert quantity(table, "stage_deviation") == pytest.approx([1 / 3, 0])
    assert np.isnan(quantity(table, "dead_pct")).all()  # no ReLU anywhere
    assert "layer" not in set(table["place"]) and "network" not in set(table["place"])


@pytest.mark.many(2)
@pytest.mark.parametrize(("name", "width"), [("resnet18", 64), ("resnet50", 16)])
def test_in_place_operations_corrupt_nothing(name, width):
    """torchvision adds and rectifies in place: a kept reference would become the block's output."""
    wide = {"width_per_group": width} if width != 64 else {}  # basic blocks have but one width
    with torch.random.fork_rng(devices=[]):
        model = randomized(torchvision.models.get_model(name, **wide))
    x, y = images(4, side=32), labels(4, classes=1000)
    table = responses(chain_of(model, x[:1], name=name), x, y, batch=2).table
    names = norm_names(model)
    layers = table[table["place"] == "layer"]
    assert len(layers) == len(names) == (17 if name == "resnet18" else 49)
    expected = [values.std() for values in hooked(model, names, x)]
    np.testing.assert_allclose(layers["value"], expected, rtol=1e-4)
    last = "bn2" if name == "resnet18" else "bn3"
    blocks = [
        f"layer{stage}.{i}"
        for stage in range(1, 5)
        for i in range(len(model.get_submodule(f"layer{stage}")))
    ]
    branch = hooked(model, [f"{block}.{last}" for block in blocks], x)
    shorts = shortcuts_by_hand(model, blocks, x)
    ratios = [
        (np.linalg.norm(f.reshape(4, -1), axis=1) / np.linalg.norm(s.reshape(4, -1), axis=1)).mean()
        for f, s in zip(branch, shorts, strict=True)
    ]
    np.testing.assert_allclose(quantity(table, "ratio"), ratios, rtol=1e-4)


@torch.no_grad()
def shortcuts_by_hand(model: nn.Module, blocks: list[str], x: torch.Tensor) -> list[np.ndarray]:
    h = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    found = []
    for name in blocks:
        block = model.get_submodule(name)
        short = h if block.downsample is None else block.downsample(h)
        found.append(short.clone().double().numpy())
        h = block(h.clone())
    return found


def test_a_plain_network_has_layers_but_no_two_terms():
    model = seeded(TinyPlain)
    x, y = images(8), labels(8)
    table = responses(layers_of(model, x[:1]), x, y).table
    names = [f"features.{i}" for i in (1, 4, 8, 11)]
    expected = [values.std() for values in hooked(model, names, x)]
    np.testing.assert_allclose(quantity(table, "response_std"), expected, rtol=1e-5)
    for name in ("ratio", "cosine_gradient", "variance_ratio"):
        assert np.isnan(quantity(table, name)).all()
    assert not np.isnan(quantity(table, "stable_rank")).any()
    assert not np.isnan(quantity(table, "stage_deviation")).any()


def test_pre_activation_layers_are_the_convolutions_themselves():
    model = network("preresnet20:width=4")
    x, y = images(6), labels(6, classes=10)
    table = responses(chain_of(model, x[:1]), x, y).table
    layers = table[table["place"] == "layer"]
    assert set(layers["taken"]) == {"convolution"}
    expected = [values.std() for values in hooked(model, layers["name"].tolist(), x)]
    np.testing.assert_allclose(layers["value"], expected, rtol=1e-5)


@pytest.mark.skipif(not LOSSLESS.exists(), reason="../shared/cifar10-lossless is not here")
@pytest.mark.parametrize(("spec", "n"), [("resnet20", 64), ("resnet56", 24)])
def test_published_weights_recomputed(spec, n):
    path = SHARED / "checkpoints" / PUBLISHED[spec]
    model = models.architecture(spec).build(seed=0).eval()
    checkpoint.load_into(model, checkpoint.read(path), arch=spec, path=path)
    found = data.load(f"parquet:{LOSSLESS}", limit=n)
    x, y = data.normalization("imagenet").apply(found.images), found.labels
    table = responses(chain_of(model, x[:1], name=spec), x, y, batch=16).table
    expected = [values.std() for values in hooked(model, norm_names(model), x)]
    np.testing.assert_allclose(quantity(table, "response_std"), expected, rtol=1e-4)
    names = [n for n, _ in model.named_modules() if n.count(".") == 1 and n.startswith("layer")]
    branch = hooked(model, [f"{name}.bn2" for name in names], x)
    # What a block adds is its output's argument less the branch; the shortcut is its own module.
    shorts = hooked(model, [f"{name}.shortcut" for name in names], x)
    ratios = [
        (np.linalg.norm(f.reshape(n, -1), axis=1) / np.linalg.norm(s.reshape(n, -1), axis=1)).mean()
        for f, s in zip(branch, shorts, strict=True)
    ]
    np.testing.assert_allclose(quantity(table, "ratio"), ratios, rtol=1e-4)


class Gated(nn.Module):
    """A projection and a branch of one number a channel, which is read at every position."""

    def __init__(self):
        super().__init__()
        self.stem, self.project = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 1, 2)
        self.branch, self.norm = nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        h = self.stem(x)
        h = torch.relu(self.project(h)) + self.branch(h.mean((2, 3), keepdim=True)).relu()
        return self.head(h.mean((2, 3)))


def test_what_a_branch_reads_for_its_shape_is_none_of_its_layers():
    x, y = images(8), labels(8)
    model = seeded(Gated)
    table = responses(chain_of(model, x[:2]), x, y).table
    layers = table[table["place"] == "layer"]
    assert list(layers["name"]) == ["stem", "branch"]
    assert list(layers["value"]) == pytest.approx(
        [float(out.std()) for out in hooked(model, ["stem", "branch"], x)], rel=1e-5
    )
    units = model.branch(model.stem(x).mean((2, 3), keepdim=True)).relu()
    dead = table.loc[table["quantity"] == "dead_pct", "value"].item()
    assert dead == pytest.approx(100 * (units == 0).all(0).double().mean().item())


def test_a_norm_that_is_called_as_a_function_is_a_norm():
    class Called(nn.BatchNorm2d):
        def forward(self, h):
            return nn.functional.batch_norm(
                h, self.running_mean, self.running_var, self.weight, self.bias
            )

    x, y = images(8), labels(8)
    tables = []
    for norm in (nn.BatchNorm2d, Called):
        model = seeded(lambda norm=norm: nn.Sequential(
            nn.Conv2d(3, 4, 3), norm(4), nn.ReLU(), Inner(norm), nn.Flatten(), nn.Linear(144, 5)
        ))  # fmt: skip
        tables.append(responses(chain_of(model, x[:2]), x, y).table)
        assert (tables[-1].loc[tables[-1]["place"] == "layer", "taken"] == "norm").all()
    columns = ["quantity", "block", "value"]
    pd.testing.assert_frame_equal(*(table[columns] for table in tables), rtol=1e-5)


class Inner(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), norm(4)

    def forward(self, h):
        return h + self.norm(self.conv(h))


def test_the_model_stays_as_it_was():
    model = network("resnet20:width=4")
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = images(4)
    chain = chain_of(model, x[:1])
    responses(chain, x, labels(4, classes=10))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(module.training for module in model.modules())
    inner = [m for module in (model, *chain.modules) for m in module.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in inner)


def test_every_column_and_quantity_is_documented():
    model = network("resnet20:width=4")
    chain, x, y = chain_of(model, images(1)), images(4), labels(4, classes=10)
    table = responses(chain, x, y, costs=True).table
    assert list(table.columns) == list(COLUMNS)
    assert set(table["quantity"]) == set(QUANTITIES)
    more = set(QUANTITIES) - set(responses(chain, x, y).table["quantity"])
    assert more == {"deletion_cost", "influence_rank", "ratio_rank"}
    for what in QUANTITIES.values():
        assert what.unit and what.source and what.meaning and what.interval


def test_several_networks_in_one_table():
    x, y = images(4), labels(4, classes=10)
    results = [
        responses(chain_of(network(f"resnet{depth}:width=4"), x[:1], name=f"r{depth}"), x, y)
        for depth in (20, 32)
    ]
    both = together(results)
    assert list(dict.fromkeys(both.table["arch"])) == ["r20", "r32"]
    assert both.identity["arch"] == ["r20", "r32"] and both.provenance["blocks"] == [9, 15]
    assert together(results[:1]) is results[0]


def test_a_constant_response_has_no_ratio_and_no_warning():
    model = seeded(TinyResNet)
    with torch.no_grad():
        model.stem.weight.zero_()  # the first state is 0 everywhere
    x, y = images(4), labels(4)
    table = responses(chain_of(model, x[:1]), x, y).table
    first = table[(table["place"] == "block") & (table["number"] == 1)].set_index("quantity")
    for name in ("ratio", "cosine_shortcut", "variance_ratio"):
        assert np.isnan(first["value"][name])
    assert table[table["place"] == "layer"]["value"].iloc[0] == 0


def test_of_a_batch_no_more_is_kept_than_what_belongs_to_its_images():
    chain = chain_of(network("resnet20:width=4"), images(4)[:1])
    collector, passes = Collector(chain, 0, 4), Passes(chain)
    collector.add(replace(passes(images(4), labels(4, classes=10)), layers=()))
    for values in collector.blocks:
        for parts in values.per_image.values():
            assert [part.shape for part in parts] == [(4,)]
            assert all(part.base is None for part in parts)  # no view of all that was fetched


def test_what_cannot_be_measured_is_refused():
    model = network("resnet20:width=4")
    x, y = images(4), labels(4, classes=10)
    chain = chain_of(model, x[:1], name="resnet20:width=4")
    with pytest.raises(ProbeError, match="needs at least 2 images, found 1"):
        responses(chain, x[:1], y[:1])
    with pytest.raises(ProbeError, match="label 12 of image 0 is outside"):
        responses(chain, x, y + 12 - y[0])
    with pytest.raises(ProbeError, match="too small for one image of resnet20:width=4"):
        responses(chain, x, y, memory=1000)
    with pytest.raises(ProbeError, match="logits of images 2–3 are not finite"):
        responses(chain, torch.where(torch.arange(4).view(-1, 1, 1, 1) == 3, torch.nan, x), y,
                  batch=2)  # fmt: skip
    with torch.no_grad():
        model.layer2[1].conv2.weight[0, 0] = torch.nan
    with pytest.raises(ProbeError, match=r"layer2\.1\.conv2\.weight of .* holds 9 NaN or infinite"):
        responses(chain, x, y)


def test_a_stage_whose_layers_have_several_shapes_is_compared_where_they_agree():
    """On small images VGG's last pooling leaves two resolutions' layers in one stage."""
    model = models.architecture("vgg16_bn:width=16").build(seed=0).eval()
    chain = layers_of(model, images(1, side=16), name="vgg16_bn")
    table = responses(chain, images(3, side=16), labels(3)).table
    found = table[table["quantity"] == "stage_deviation"].set_index("block")["value"]
    shapes = {block.number: block.out_shape for block in chain}
    mixed = [stage for stage in chain.stages if len({shapes[n] for n in stage}) > 1]
    assert mixed
    for stage in chain.stages:
        for number in stage:
            assert np.isfinite(found[number]) or stage in mixed
        assert found[stage[-1]] == 0
