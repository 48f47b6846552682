from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SHARED
from journals import Memory
from scipy.stats import binomtest
from toy_chains import TinyPlain, TinyResNet, images, labels, randomized, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, chain_of, data, layers_of, lesion, models
from resnet_probe.findings.lesion import summarize_lesion
from resnet_probe.studies.lesion import LesionSettings, title_of
from resnet_probe.studies.plan import plan, swappable
from resnet_probe.zoo import checkpoint

LOSSLESS = SHARED / "cifar10-lossless" / "test-00000-of-00001.parquet"
PUBLISHED = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}


@pytest.fixture(scope="module")
def chain():
    return chain_of(
        randomized(models.architecture("resnet20:width=4").build(seed=0)), images(2, side=8)
    )


@pytest.fixture(scope="module")
def some():
    return images(40, side=8), labels(40, classes=10)


def test_the_table_of_single_deletions(chain, some):
    x, y = some
    table = lesion(chain, x, y, exact=True).table
    assert list(table["kind"]) == ["baseline"] + ["delete"] * 9
    assert list(table["blocks"]) == ["", *map(str, range(1, 10))]
    assert table["names"][4] == "layer2.0" and table["stage"][4] == "2"
    assert table["shortcut"][4] == "parameter-free"
    with torch.no_grad():
        base = chain(x).argmax(1) == y
        for row in table.itertuples():
            gone = int(row.blocks or 0)
            steps = [(b.number, float(b.number != gone)) for b in chain]
            right = chain.run(x, steps).argmax(1) == y
            assert row.correct == int(right.sum()) and row.images == 40
            assert row.error_pct == pytest.approx(100 - 100 * row.correct / 40)
            assert row.delta_pct == pytest.approx(row.error_pct - table["error_pct"][0])
            interval = binomtest(40 - row.correct, 40).proportion_ci(method="wilson")
            assert row.ci_low_pct == pytest.approx(100 * interval.low)
            assert row.ci_high_pct == pytest.approx(100 * interval.high)
            worse, better = int((base & ~right).sum()), int((~base & right).sum())
            p = binomtest(worse, worse + better).pvalue if worse + better else 1.0
            assert row.p_value == pytest.approx(p)


def test_one_image_has_answers_and_no_interval(chain, some):
    found = lesion(chain, some[0][:1], some[1][:1])
    assert len(found.table) == 1 + len(chain) and "median_delta_pct" not in found.provenance
    said = summarize_lesion(found)
    assert "(no interval)" in said and "nan" not in said


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"counts": [1, 4], "draws": 5},
        {"edit": "permute", "counts": [2], "draws": 5},
        {"edit": "permute", "tau": [0.95, 0.9], "draws": 5},
        {"edit": "duplicate", "counts": [1, 3], "draws": 5},
    ],
)
def test_the_table_does_not_depend_on_the_batch(chain, some, options):
    tables = [lesion(chain, *some, **options, seed=3, batch=batch).table for batch in (1, 7, 40)]
    rounded = ["loss", "delta_loss", "delta_loss_low", "delta_loss_high", "kl_from_whole",
               "margin_drop"]  # fmt: skip
    for other in tables[1:]:
        assert tables[0].drop(columns=rounded).equals(other.drop(columns=rounded))
        np.testing.assert_allclose(tables[0][rounded], other[rounded], atol=1e-5)
    other = lesion(chain, *some, **options, seed=4).table
    assert options == {} or not other["blocks"].equals(tables[0]["blocks"])


def test_a_draw_does_not_depend_on_what_else_is_drawn(chain):
    few, many = plan(chain, counts=[4], draws=2), plan(chain, counts=[2, 4], draws=5)
    assert [e for e in many if e.edits == 4][:2] == few[1:]


def test_what_may_be_swapped_and_duplicated():
    model = models.architecture("resnet110:width=2").build(seed=0)
    chain = chain_of(model, images(1, side=8))
    published = [list(range(2, 19)), list(range(20, 37)), list(range(38, 55))]
    assert swappable(chain) == published
    duplicates = plan(chain, "duplicate", counts=[52], draws=1)[1]
    assert duplicates.blocks == " ".join(str(b) for b in range(1, 55) if b not in (19, 37))
    with pytest.raises(ProbeError, match="has 52 blocks that keep the shape"):
        plan(chain, "duplicate", counts=[53])


def test_reached_tau_is_in_the_table(chain, some):
    table = lesion(chain, *some, edit="permute", tau=[1.0, 0.9], draws=2).table
    assert list(table["tau"][1:3]) == [1.0, 1.0]
    assert table["tau"][3] == pytest.approx(0.9, abs=2 / 36)
    assert (table["error_pct"][1:3] == table["error_pct"][0]).all()


def test_a_plain_network_says_what_stands_in():
    chain = layers_of(seeded(TinyPlain), images())
    table = lesion(chain, images(), labels()).table
    assert list(table["shortcut"][1:]) == [
        "identity stand-in",
        "option-A stand-in",
        "identity stand-in",
    ]


def test_near_ties_are_counted():
    class Tie(TinyResNet):
        def forward(self, x):
            return super().forward(x)[:, :1].repeat(1, 5)

    table = lesion(chain_of(seeded(Tie), images()), images(), labels()).table
    assert (table["near_ties"] == 6).all()
    table = lesion(chain_of(seeded(TinyResNet), images()), images(), labels()).table
    assert table["near_ties"].sum() == 0


def test_an_interrupted_study_goes_on_where_it_stopped(chain, monkeypatch):
    monkeypatch.setattr("resnet_probe.studies.outcomes.KEEP_EVERY", 10)
    x, y = images(40, side=8), labels(40, classes=10)
    whole, journal = lesion(chain, x, y, batch=5), Memory(stop=2)
    with pytest.raises(KeyboardInterrupt):
        lesion(chain, x, y, batch=5, journal=journal)
    assert list(journal.steps) == ["0", "10"]
    calls = []
    again = lesion(chain, x, y, batch=5, journal=journal, progress=lambda *of: calls.append(of))
    assert again.table.equals(whole.table)
    assert journal.given == ["0", "10"] and list(journal.steps) == ["0", "10", "20", "30"]
    assert calls[0][0] >= 20 and calls[-1] == (40, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edit": "break"}, "unknown edit 'break': there are delete, permute, duplicate"),
        ({"counts": [10]}, r"delete 10 is out of range: .* has 9 blocks, so counts= goes"),
        ({"counts": [0]}, r"delete 0 is out of range"),
        ({"counts": [1], "draws": 0}, "0 draws are none"),
        ({"tau": [0.9]}, "tau= goes with edit='permute'"),
        ({"edit": "permute", "tau": [0.1]}, "τ = 0.1 cannot be reached"),
        ({"edit": "permute", "tau": [0.9], "counts": [1]}, "not both"),
        ({"edit": "permute", "tau": [float("nan")]}, "τ = nan cannot be reached"),
        ({"edit": "permute", "tau": [0.9, float("inf")]}, "τ = inf cannot be reached"),
        ({"counts": [1, 2], "draws": 10**9}, r"2,000,000,000 networks.* draws= goes up to 500,000"),
        ({"edit": "permute", "tau": [1.0], "draws": 10**9}, r"draws= goes up to 1,000,000"),
    ],
)
def test_what_cannot_be_drawn_is_refused(chain, some, options, message):
    with pytest.raises(ProbeError, match=message):
        lesion(chain, *some, **options)


def test_data_that_does_not_fit_is_refused(chain, some):
    x, y = some
    with pytest.raises(ProbeError, match=r"label 12 of image 3 is outside .* 10 \(0–9\)"):
        lesion(chain, x, torch.where(torch.arange(40) == 3, 12, y))
    with pytest.raises(ProbeError, match=r"images of shape \(3, 16, 16\) do not fit"):
        lesion(chain, images(40, side=16), y)
    with pytest.raises(ProbeError, match="40 images and 39 labels"):
        lesion(chain, x, y[:-1])
    with pytest.raises(ProbeError, match="are not finite"):
        lesion(chain, torch.where(torch.arange(40).view(-1, 1, 1, 1) == 7, torch.nan, x), y)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda z: z[:, :, None, None].expand(-1, -1, 2, 3), r"logits \[n, 5, 2, 3\], and labels"),
        (lambda z: z[:, None].expand(-1, 7, -1), r"logits \[n, 7, 5\], and labels \[n\]"),
    ],
)
@pytest.mark.parametrize("study", ["lesion", "responses", "paths", "attribute", "agreement"])
def test_one_label_for_answers_at_many_positions_is_refused(study, change, said):
    class Net(TinyResNet):
        def forward(self, x):
            return change(super().forward(x))

    x = images(6, side=8)
    chain = chain_of(seeded(Net), x)
    with pytest.raises(ProbeError, match=said):
        getattr(rp, study)(chain, x, torch.zeros(6, dtype=torch.long))


def test_names_of_studies():
    def named(**given):
        return title_of(LesionSettings(**given))

    assert named() == "lesion"
    assert named(counts=(1,)) == "lesion-counts"
    assert named(edit="permute", tau=(0.9,)) == "lesion-permute-tau"
    assert named(edit="duplicate") == "lesion-duplicate"


@pytest.mark.skipif(not LOSSLESS.exists(), reason="../shared/cifar10-lossless is not here")
@pytest.mark.parametrize(("spec", "few"), [("resnet20", (0, 3, 8)), ("resnet56", (0, 26))])
def test_published_weights_image_by_image(spec, few):
    """The engine against a loop over the untouched model, branches silenced by hooks."""
    path = SHARED / "checkpoints" / PUBLISHED[spec]
    model = models.architecture(spec).build(seed=0).eval()
    checkpoint.load_into(model, checkpoint.read(path), arch=spec, path=path)
    found = data.load(f"parquet:{LOSSLESS}")
    x, y = data.normalization("imagenet").apply(found.images[:40]), found.labels[:40]
    table = lesion(chain_of(model, x[:1], name=spec), x, y).table
    for row in [table.iloc[0], *(table.iloc[1 + each] for each in few)]:
        assert row["correct"] == _accuracy_without(model, row["names"], x, y)


@torch.no_grad()
def _accuracy_without(model, name, x, y) -> int:
    handle = None
    if name:
        last = model.get_submodule(name).bn2
        handle = last.register_forward_hook(lambda m, args, out: torch.zeros_like(out))
    try:
        right = [model(part).argmax(1) for part in x.split(128)]
    finally:
        if handle:
            handle.remove()
    return int(np.sum((torch.cat(right) == y).numpy()))
