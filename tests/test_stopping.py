"""Lesions that stop when they are decided: coverage, order, and the whole study beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from journals import Memory
from toy_chains import images, labels, randomized

from resnet_probe import ProbeError, chain_of, figures, lesion, models
from resnet_probe.findings import summarize_lesion
from resnet_probe.findings.verdict import changes
from resnet_probe.results import Result
from resnet_probe.stats.sequential import ConfidenceSequence
from resnet_probe.studies.stopping import ALL, DECIDED, PRECISE, UNSEEN, Watched, _placed


@pytest.fixture(scope="module")
def chain():
    return chain_of(
        randomized(models.architecture("resnet20:width=4").build(seed=0)), images(2, side=8)
    )


@pytest.fixture(scope="module")
def some(chain):
    """Images of which the network has nine in ten right."""
    x = images(600, side=8)
    with torch.no_grad():
        answer = chain(x).argmax(1)
    return x, torch.where(torch.arange(600) % 10 == 0, (answer + 1) % 10, answer)


@pytest.fixture(scope="module")
def both(chain, some):
    return lesion(chain, *some, precision=4.0), lesion(chain, *some)


def test_each_edit_has_the_outcomes_of_the_whole_study_on_the_images_it_saw(both, some):
    early, whole = both
    order = early.outcomes["order"]
    assert sorted(order) == list(range(600))
    assert np.array_equal(early.outcomes["labels"], some[1].numpy()[order])
    seen = early.outcomes["answer"]
    full = whole.outcomes["answer"][:, order]
    assert ((seen == full) | (seen == UNSEEN)).all()
    for index, row in enumerate(early.table.itertuples()):
        n = int(row.images)
        assert (seen[index, :n] != UNSEEN).all() and (seen[index, n:] == UNSEEN).all()
        right = seen[index, :n] == early.outcomes["labels"][:n]
        base = seen[0, :n] == early.outcomes["labels"][:n]
        assert row.correct == right.sum()
        assert row.lost == (base & ~right).sum() and row.gained == (~base & right).sum()
        assert row.delta_pct == pytest.approx(100 * (base.mean() - right.mean()))


def test_intervals_hold_the_change_on_all_images(chain, some, both):
    change, covered = both[1].table["delta_pct"][1:], []
    for seed in range(6):
        table = lesion(chain, *some, precision=4.0, seed=seed).table[1:]
        low, high = table["delta_low_pct"] - 1e-9, table["delta_high_pct"] + 1e-9
        covered += ((low <= change) & (change <= high)).tolist()
    assert np.mean(covered) >= 0.95


def test_an_edit_stops_for_the_reason_it_gives(both):
    table = both[0].table[1:]
    width = table["delta_high_pct"] - table["delta_low_pct"]
    assert set(table["stopped"]) <= {DECIDED, PRECISE, ALL}
    assert (width[table["stopped"] == PRECISE] <= 8 + 1e-9).all()
    decided = table[table["stopped"] == DECIDED]
    assert len(decided) and (decided["images"] < 600).any()
    for row in decided.itertuples():
        assert _placed(row.delta_low_pct, row.delta_high_pct, 0.5)
    facts = both[0].provenance
    assert facts["branch_runs"] < facts["branch_runs_of_all"] == 45 * 600


def test_the_same_seed_gives_the_same_table_whatever_the_batch(chain, some, both):
    again = lesion(chain, *some, precision=4.0, batch=7)
    counted = ["correct", "images", "lost", "gained", "delta_low_pct", "delta_high_pct", "stopped"]
    assert again.table[counted].equals(both[0].table[counted])
    other = lesion(chain, *some, precision=4.0, seed=1)
    assert not np.array_equal(other.outcomes["order"], both[0].outcomes["order"])


def test_an_interrupted_study_goes_on_to_the_same_table(chain, some, both):
    journal = Memory(stop=2)
    with pytest.raises(KeyboardInterrupt):
        lesion(chain, *some, precision=4.0, journal=journal)
    again = lesion(chain, *some, precision=4.0, journal=journal)
    assert len(journal.given) == 2 and again.table.equals(both[0].table)


def test_statements_are_made_edit_by_edit(both):
    table = both[0].table
    assert np.array_equal(changes(table), changes(table, joint=False))
    text = summarize_lesion(both[0])
    assert "each by itself" in text and "branch runs of 27,000" in text


@pytest.mark.parametrize(
    ("low", "high", "placed"),
    [
        (0.01, 0.2, True),  # harmful, and too much for the margin
        (0.001, 0.004, True),  # harmful and inside the margin
        (-0.004, 0.004, True),  # harmless
        (-0.2, -0.01, True),  # helpful
        (0.001, 0.2, False),  # harmful: by how much?
        (-0.2, 0.2, False),
        (-0.004, 0.2, False),
    ],
)
def test_what_is_decided(low, high, placed):
    assert _placed(low, high, 0.005) is placed


def simulated(change: float, churn: float, seed: int) -> tuple[float, float, int, float]:
    """Low, high, images used and the truth of one edit of a set of 2,000 images."""
    random = np.random.default_rng(seed)
    moved = random.random(2000)
    lost = np.where(moved < change + churn, 1, np.where(moved > 1 - churn, -1, 0))
    watched = Watched(
        answer=np.full((2, 2000), UNSEEN, np.int32), loss=np.zeros((2, 2000), np.float32), sums={},
        sequence=ConfidenceSequence(1, 2000, precision=0.02), margin=0.005, reason=["", ""],
    )  # fmt: skip
    start = 0
    while watched.active and start < 2000:
        part = lost[start : start + 64]
        base, other = (part != -1).astype(int), (part != 1).astype(int)
        step = {"answer": np.stack([base, other]), "loss": np.zeros((2, len(part)))}
        watched.take(start, [0, 1], step, np.concatenate([np.zeros(start), np.ones(len(part))]))
        start += 64
    low, high = watched.sequence.interval
    return float(low[0]), float(high[0]), min(start, 2000), float(lost.mean())


def test_intervals_cover_at_their_stopping_times():
    found = [simulated(change, 0.01, seed) for seed in range(60) for change in (0.0, 0.03, 0.3)]
    covered = [low - 1e-9 <= truth <= high + 1e-9 for low, high, _, truth in found]
    assert np.mean(covered) >= 0.95
    used = np.array([images for *_, images, _ in found]).reshape(60, 3)
    assert np.median(used[:, 2]) < 200 < np.median(used[:, 0])


@pytest.mark.parametrize("asked", [0.1, 0, 101, float("nan")])
def test_a_precision_that_cannot_be_is_refused(chain, asked):
    with pytest.raises(ProbeError, match="precision="):
        lesion(chain, images(40, side=8), labels(40, classes=10), precision=asked)


@pytest.mark.parametrize("margin", [0, -1, 100.5])
def test_a_margin_that_cannot_be_is_refused(chain, margin):
    with pytest.raises(ProbeError, match="margin="):
        lesion(chain, images(40, side=8), labels(40, classes=10), margin=margin)


def test_what_was_seen_of_each_edit_is_not_told_as_of_all(both):
    """Edits saw other numbers of images, and each is held against the same ones."""
    used = both[0].table["images"]
    assert figures._title(both[0]).endswith(f"{used.min()} to {used.max()} images")
    assert "points on the baseline of the same images (no interval)" in summarize_lesion(both[0])
    assert "points on the baseline (95 % CI" in summarize_lesion(both[1])


def test_a_change_of_nothing_has_no_sign_of_its_own(both):
    table = both[1].table.copy()
    table.loc[1:, ["delta_pct", "joint_low_pct"]] = -0.001
    text = summarize_lesion(Result("lesion", table, both[1].provenance))
    assert "-0.00" not in text and "+0.00" in text
