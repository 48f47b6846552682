from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn
from toy_chains import NegativeStates, TinyResNet, images, randomized, scalar_chain, seeded

from resnet_probe import Edit, ProbeError, chain_of, layers_of, lesion, models
from resnet_probe.benchmarks.clock import STATUS, peak_memory
from resnet_probe.engine.fold import FoldedBlock, fold, folded
from resnet_probe.engine.memory import (
    CACHE,
    Footprint,
    batch_size,
    footprint,
    format_bytes,
    parse_bytes,
)
from resnet_probe.engine.sweep import PrefixTree, Sweep


def collect(sweep: Sweep, plan, x) -> torch.Tensor:
    shape = (len(plan), len(x), sweep.chain.classes)
    found = torch.full(shape, torch.nan, dtype=sweep.chain.dtype)
    for piece in sweep.run(plan, x):
        for index in piece.edits:
            assert torch.isnan(found[index, piece.start : piece.stop]).all()  # once only
            found[index, piece.start : piece.stop] = piece.logits
    return found


@torch.no_grad()
def one_by_one(chain, plan, x) -> torch.Tensor:
    return torch.stack([chain.run(x, edit) for edit in plan])


def every_deletion(n: int):
    return [Edit(), *(Edit.delete(b) for b in range(1, n + 1))]


def mixed(chain):
    """Edits of every kind, among them equal ones and ones that begin alike."""
    n = len(chain)
    return [
        *every_deletion(n),
        Edit.delete(1, 3),
        Edit.delete(1, 3),
        Edit.delete(*range(1, n + 1)),
        Edit.repeat(1),
        Edit.swap(2, 3),
        Edit.scale(dict.fromkeys(range(1, n + 1), 0.5)),
        Edit.scale({n: 2.0}),
    ]


@pytest.mark.many(2)
@pytest.mark.parametrize("spec", ["resnet20:width=4", "preresnet20:width=4", "resnet20:shortcut=B"])
@pytest.mark.parametrize("batch", [1, 4, 7])
def test_exact_sweep_is_the_plain_loop_bit_for_bit(spec, batch):
    model = randomized(models.architecture(spec).build(seed=0))
    x = images(7, side=8)
    chain = chain_of(model, x)
    plan = mixed(chain)
    sweep = Sweep(chain, exact=True, batch=batch)
    parts = [one_by_one(chain, plan, part) for part in x.split(batch)]
    assert torch.equal(collect(sweep, plan, x), torch.cat(parts, dim=1))


@pytest.mark.parametrize("spec", ["resnet20:width=4", "preresnet20:width=4", "resnet20:shortcut=B"])
def test_folded_sweep_is_the_plain_loop_up_to_rounding(spec):
    model = randomized(models.architecture(spec).build(seed=0)).double()
    x = images(5, side=8).double()
    chain = chain_of(model, x)
    plan = mixed(chain)
    found = collect(Sweep(chain, batch=3), plan, x)
    assert torch.allclose(found.double(), one_by_one(chain, plan, x), rtol=1e-5, atol=1e-5)


def test_a_deleted_block_leaves_the_states_of_other_edits_alone():
    chain, x = chain_of(seeded(NegativeStates), images(3)), images(6)
    plan = mixed(chain)
    found = collect(Sweep(chain), plan, x)
    assert torch.allclose(found, one_by_one(chain, plan, x), atol=1e-5)


def test_a_branch_that_gives_the_state_itself_leaves_it_alone():
    chain = scalar_chain([1.0, 1.0, 1.0])
    blocks = tuple(replace(block, branch=nn.Identity()) for block in chain)
    chain, x = replace(chain, blocks=blocks), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    plan = [*every_deletion(3), Edit.scale({1: 0.5, 3: 2.0})]
    assert torch.equal(collect(Sweep(chain), plan, x), one_by_one(chain, plan, x))


class ReadTwice(nn.Module):
    """A convolution whose output a batch norm and a sum read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_a_convolution_that_others_read_keeps_its_weights():
    module = fx.symbolic_trace(seeded(ReadTwice))
    x = torch.linspace(-1, 1, 72).reshape(2, 4, 3, 3)
    with torch.no_grad():
        assert torch.allclose(fold(module)(x), module(x), rtol=1e-5)


def test_plain_networks_are_swept_too():
    chain = layers_of(randomized(models.architecture("vgg16_bn:width=4").build(seed=0)), images(3))
    plan = every_deletion(len(chain))
    found = collect(Sweep(chain), plan, images(3))
    assert torch.allclose(found, one_by_one(chain, plan, images(3)), rtol=1e-4, atol=1e-5)


def test_folding_changes_nothing_of_the_chain_it_is_given():
    chain = chain_of(seeded(TinyResNet), images())
    before = one_by_one(chain, every_deletion(3), images())
    tensors = [p.clone() for module in chain.modules for p in module.parameters()]
    collect(Sweep(chain), every_deletion(3), images())
    after = [p for module in chain.modules for p in module.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(tensors, after, strict=True))
    assert torch.equal(one_by_one(chain, every_deletion(3), images()), before)


def test_folding_removes_batch_norm_and_keeps_the_function():
    chain = chain_of(seeded(TinyResNet).double(), images().double())
    fast = folded(chain)
    left = [m for part in fast.modules for m in part.modules() if "BatchNorm" in type(m).__name__]
    assert left == []
    assert {type(block) for block in fast} == {FoldedBlock}
    assert {type(block.after) for block in fast} == {nn.ReLU}  # which is made in the sum itself
    weights = [p for part in fast.modules for p in part.parameters() if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    x = images().double()
    with torch.no_grad():
        assert torch.allclose(fast(x), chain(x), rtol=1e-12, atol=1e-12)


class SharedConvolution(nn.Module):
    """A convolution that is called before one norm and, again, before another."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))

    def forward(self, x):
        for norm in self.norms:
            x = torch.relu(norm(self.conv(x)))
        return x


def test_one_convolution_is_folded_with_each_norm_behind_it():
    def shared():
        net = NegativeStates()
        net.inner[1] = SharedConvolution()
        return net

    model = randomized(seeded(shared)).double()
    x = images().double()
    chain = chain_of(model, x)
    with torch.no_grad():
        assert torch.allclose(folded(chain)(x), model(x), rtol=1e-12, atol=1e-12)
    plan = every_deletion(3)
    wanted = one_by_one(chain, plan, x)
    assert torch.allclose(collect(Sweep(chain), plan, x), wanted, rtol=1e-5)


@pytest.mark.parametrize(("off", "refused"), [(1e-2, True), (1e-7, False)])
def test_a_folded_chain_that_is_another_network_is_refused(off, refused, monkeypatch):
    def wrongly(chain):
        return replace(folded(chain), head=Scaled(1 + off))

    class Scaled(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, h):
            return chain.head(h) * self.factor

    chain = chain_of(seeded(TinyResNet), images())
    monkeypatch.setattr("resnet_probe.engine.sweep.folded", wrongly)
    if not refused:
        assert collect(Sweep(chain), every_deletion(3), images()).isfinite().all()
        return
    with pytest.raises(ProbeError, match=r"more than rounding; run it unfolded, with exact=True"):
        collect(Sweep(chain), every_deletion(3), images())
    collect(Sweep(chain, exact=True), every_deletion(3), images())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_images_are_taken_in_the_type_of_the_weights(dtype):
    x = images()
    chain = chain_of(seeded(TinyResNet).to(dtype), x.to(dtype))
    plan = every_deletion(3)
    found = collect(Sweep(chain, exact=True, batch=6), plan, x)
    assert torch.equal(found, one_by_one(chain, plan, x.to(dtype)))


class Video(nn.Module):
    """Two blocks of three-dimensional convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.inner = nn.ModuleList(
            nn.Sequential(nn.Conv3d(4, 4, 3, padding=1), nn.BatchNorm3d(4)) for _ in range(2)
        )

    def forward(self, x):
        x = self.stem(x)
        for inner in self.inner:
            x = torch.relu(x + inner(x))
        return self.head(x.mean((2, 3, 4)))


def test_volumes_are_swept_too():
    x = torch.randn(3, 3, 4, 6, 6, generator=torch.Generator().manual_seed(2))
    chain = chain_of(seeded(Video), x)
    plan = every_deletion(2)
    assert torch.allclose(collect(Sweep(chain), plan, x), one_by_one(chain, plan, x), rtol=1e-5)


def test_the_images_are_not_changed():
    chain = chain_of(seeded(TinyResNet), images())
    x = images()
    collect(Sweep(chain), every_deletion(3), x)
    assert torch.equal(x, images())


@given(st.integers(1, 30))
def test_single_deletions_cost_half_of_the_plain_loop(n):
    tree = PrefixTree.of(every_deletion(n), scalar_chain([1.0] * n))
    assert tree.branch_runs == n + n * (n - 1) // 2
    assert tree.programs == n + 1
    assert tree.states <= 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 5), max_size=7), min_size=1, max_size=12))
def test_any_programs_give_what_each_gives_alone(programs):
    """Also programs of different lengths, one of them the beginning of another."""
    chain = scalar_chain([0.5, -0.25, 2.0, 1.0, 3.0])
    plan = [Edit.run(steps) for steps in programs]
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    found = collect(Sweep(chain), plan, x).double()
    assert torch.allclose(found, one_by_one(chain, plan, x), rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=6, max_size=6), min_size=1, max_size=40))
def test_few_states_are_kept(gates):
    plan = [Edit.scale(dict(enumerate(row, start=1))) for row in gates]
    tree = PrefixTree.of(plan, scalar_chain([1.0] * 6))
    assert tree.states <= len(gates).bit_length()


@pytest.mark.parametrize("blocks", range(6))
def test_all_choices_of_gates_keep_a_state_a_level(blocks):
    plan = [Edit.scale(dict(enumerate(row, start=1))) for row in product([0, 1], repeat=blocks)]
    assert PrefixTree.of(plan, scalar_chain([1.0] * blocks)).states == blocks + 1


@pytest.mark.parametrize(("batch", "size"), [(2, 3), (3, 3), (7, 6), (9, 9)])
def test_a_batch_of_whole_groups(batch, size):
    sweep = Sweep(scalar_chain([1.0, 2.0]), batch=batch)
    assert sweep.whole_groups(every_deletion(2), torch.ones(20, 2), 3) == size


def test_progress_counts_up_to_all_branch_runs():
    chain = scalar_chain([1.0, 2.0, 3.0])
    seen = []
    x = torch.ones(4, 2, dtype=torch.float64)
    list(Sweep(chain, batch=2).run(every_deletion(3), x, progress=lambda *now: seen.append(now)))
    assert seen[-1] == (12, 12)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_budget_sets_the_batch_and_too_small_a_budget_says_what_is_needed():
    chain = chain_of(seeded(TinyResNet), images())
    tree = PrefixTree.of(every_deletion(3), chain)
    small = Sweep(chain, memory=200_000).batch_for(tree, images(1000))
    large = Sweep(chain, memory=2_000_000).batch_for(tree, images(1000))
    assert 1 <= small < large
    with pytest.raises(ProbeError, match=r"10\.0 KiB is too small for one image of TinyResNet: it"):
        collect(Sweep(chain, memory=10 * 2**10), every_deletion(3), images())
    with pytest.raises(ProbeError, match=r"a batch of 500 images needs .* allows") as refused:
        collect(Sweep(chain, memory=200_000, batch=500), every_deletion(3), images(500))
    fits = int(str(refused.value).partition("give batch=")[2].split()[0])
    assert Sweep(chain, memory=200_000, batch=fits).batch_for(tree, images(500)) == fits
    with pytest.raises(ProbeError, match=f"a batch of {fits + 1} images"):
        Sweep(chain, memory=200_000, batch=fits + 1).batch_for(tree, images(500))


@pytest.mark.parametrize(("state", "batch"), [(CACHE // 6, 6), (CACHE, 4), (CACHE // 200, 100)])
def test_a_batch_fits_the_cache_unless_that_is_too_few(state, batch):
    needs = Footprint("", weights=0, state=state, work=0)
    options = {"states": 1, "memory": 2**40, "images": 100, "asked": None}
    assert batch_size(needs, **options, device=torch.device("cpu")) == batch


class Full(nn.Module):
    """Asks for more than there is."""

    def forward(self, h):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 EB")


def test_a_study_that_fills_the_memory_says_which_option_takes_less():
    chain = scalar_chain([1.0, 2.0])
    chain = replace(chain, blocks=(chain.blocks[0], replace(chain.blocks[1], branch=Full())))
    x, y = torch.ones(4, 2, dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    with pytest.raises(ProbeError, match=r"lesion has filled .* cpu.*give memory=1\.0GiB, or a sm"):
        lesion(chain, x, y)


def test_the_footprint_of_a_network_by_hand():
    chain = chain_of(seeded(TinyResNet), images())
    found = footprint(chain, images(1))
    assert found.state == 4 * 8 * 8 * 4  # 4 channels of 8×8 in float32
    # Widest moment: the branch of block 1 holds the output of one convolution while the next
    # one writes; batch norm and ReLU are separate tensors in the unfolded chain.
    assert found.work == 3 * found.state
    weights = sum(p.nbytes for p in seeded(TinyResNet).parameters())
    assert found.weights > weights


@pytest.mark.parametrize(
    ("text", "size"), [("2GiB", 2**31), ("500 MB", 500 * 2**20), ("1024", 1024), ("1.5k", 1536)]
)
def test_sizes(text, size):
    assert parse_bytes(text) == size
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("text", ["", "lots", "-1GiB", "0"])
def test_what_is_no_size(text):
    with pytest.raises(ProbeError, match="is not a size"):
        parse_bytes(text)


@pytest.mark.skipif(not STATUS.exists(), reason="the system does not tell a process's peak memory")
@pytest.mark.many(2)
@pytest.mark.parametrize("spec", ["resnet20", "preresnet20", "vgg16_bn:width=32"])
def test_the_peak_stays_inside_the_budget(spec, monkeypatch):
    monkeypatch.setattr(
        "resnet_probe.engine.memory.CACHE", 2**40
    )  # as if the cache held everything
    arch, x, budget = models.architecture(spec), images(400, side=32), 48 * 2**20
    chain = (chain_of if arch.residual else layers_of)(arch.build(seed=0), x[:1], name=spec)
    plan = every_deletion(len(chain))[:4]
    with peak_memory(chain.device) as peak:
        sweep = Sweep(chain, memory=budget)
        assert sweep.batch_for(PrefixTree.of(plan, chain), x) < 400  # the budget is what limits it
        for _ in sweep.run(plan, x):
            pass
    assert peak() <= budget
