"""Every rule's number, and its ends where they have a closed form, on tables written down here."""

from __future__ import annotations

import numpy as np
import pytest
from claim_tables import (
    appended,
    control,
    draws,
    flow,
    lesion,
    paths,
    re_estimated,
    responded,
    responses,
    straight,
)
from scipy import stats

from resnet_probe.claims import CLAIMS, Evidence, lesions
from resnet_probe.stats import wilson

BY_NAME = {claim.name: claim for claim in CLAIMS if claim.kind != "exact"}
OTHERS = {"arch": "plain20", "residual": False}
CLOSER = 1.2
"""Log norms that leave their line by so much, up and down."""


def student(mean: float, sd: float, n: int) -> tuple[float, float, float]:
    half = stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n)
    return mean, mean - half, mean + half


def line(x, y) -> tuple[float, float, float]:
    """The slope of the line through these points, with Student's interval."""
    found = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * found.stderr
    return found.slope, found.slope - half, found.slope + half


def deleted(*changes: float, **network):
    """Deletions that change an error of 6 % by so many points."""
    return lesion([6 + change for change in changes], **{"images": 1000, **network})


def renewed(*changes: float, **network):
    return re_estimated(deleted(*changes, **network))


def counts(*medians: float, study: str = "lesion-counts"):
    levels = (1, 5, 10, 15, 20) if study == "lesion-counts" else (5, 10)
    return draws(study, "edits", dict(zip(levels, medians, strict=True)), spread=0.5)


def tied(pairs: int) -> tuple[float, float, float]:
    """As many draws above as below, in one of so many pairs; the upper ends hold together."""
    same = np.linspace(-0.5, 0.5, 40)
    alone, joint = (lesions.order(same, same, level) for level in (0.95, 1 - 0.05 / pairs))
    return 0.5, alone.low, joint.high


def carried(factor: float) -> stats.rv_discrete:
    """The lengths of 54 blocks' paths by count × norm, where each block multiplies by `factor`."""
    return stats.binom(54, factor / (1 + factor))


def fewest(weights: np.ndarray, share: float) -> tuple[int, int]:
    """The shortest range of lengths that holds such a share, by trying all."""
    ranges = [(a, b) for a in range(55) for b in range(a, 55)]
    held = {each: weights[each[0] : each[1] + 1].sum() for each in ranges}
    width = min(b - a for (a, b), sum_ in held.items() if sum_ >= share)
    return max((each for each in ranges if each[1] - each[0] == width), key=held.__getitem__)


def sampled(factor: float):
    return paths(straight(factor))


def ratio(*stages, quantity: str = "ratio", **more):
    return responses(quantity, np.concatenate(stages), **more)


def fresh(values, jitter: float = 0.0):
    return responses("variance_ratio", values, arch="preresnet110", seeds=4, jitter=jitter)


L = np.arange(1.0, 19)
BENT = straight(0.5) + CLOSER * (-1.0) ** np.arange(55)
WEIGHTS = carried(0.32).pmf(np.arange(55))
FIRST, LAST = fewest(WEIGHTS, 0.9)
DEPTHS, MEANS = (9, 15, 21, 27, 54), (0.9, 0.4, 0.5, 0.2, 0.1)
SLOPE = 0.01 / stats.t.ppf(0.975, 199) / np.sqrt(55 * (55**2 - 1) / 12)
"""The standard error of a line's slope whose 55 points are each known to ± 0.01 from 200 draws."""
FALLS = [deleted(*[cost] * 9, arch=arch) for arch, cost in (("resnet20", 38), ("resnet56", 3))]
NUMBERS = {
    "he2015/identity": ([appended(plain=0)], *student(50 - 20, 10, 3)),
    "he2015/nested/residual": ([appended(plain=0, residual=-0.1)], *student(-0.08, 0.01, 3)),
    "he2015/nested/plain": ([appended(plain=0.1)], *student(0.12, 0.01, 3)),
    "he2016/gradient/kept": ([flow([0.3, -0.7, -0.2, 0])], -0.7),
    "he2015/gradient/plain": ([flow([0.3, -0.7, 0], **OTHERS)], -0.7),
    "he2016/gradient/beside-plain": (
        [flow([0.4, -0.2, 0], arch="resnet20"), flow([0.5, -0.9, 0], **OTHERS)], 0.9 - 0.4,
    ),
    "he2016/half-shortcut": (
        [flow([-2, 9, 0], arch="resnet56:shortcut=scaled_shortcut", seeds=3, error=0.3),
         flow([1, 9, 0], arch="resnet56", seeds=4, error=0.1)],
        *student(-3 + 0.2, 0.2, 3),
    ),
    "he2016/orders/falls": ([flow([40, 20, 30], quantity="falling_pct", error=1)], 20),
    "chang2018/size/other-image": ([control(0.1, error=0.2)], 0.1, -0.1, 0.3),
    "chang2018/size/noise": ([control(0.1, error=0.2)], 0.1, -0.1, 0.3),
    "here/stale/shallow": (
        [deleted(*[20] * 9, arch="resnet20"), renewed(*[5] * 9, arch="resnet20")], 75,
    ),
    "here/stale/plain": ([deleted(*[20] * 9, **OTHERS), renewed(*[18] * 9, **OTHERS)], 10),
    "veit2016/delete-one": ([deleted(*[0.3] * 28, *[9] * 26, data="cifar10")], 0.3),
    "veit2016/delete-one/relative": ([deleted(*[0.3] * 28, *[9] * 26)], 100 * 0.3 / 84),
    "veit2016/delete-one/re-estimated": ([renewed(*[0.3] * 28, *[9] * 26)], 100 * 0.3 / 84),
    "veit2016/worst-blocks": ([deleted(*np.arange(54, 0, -1))], 100 * 37 / 54),
    "veit2016/worst-blocks/re-estimated": ([renewed(*np.arange(54, 0, -1))], 100 * 37 / 54),
    "veit2016/depth-order": (FALLS, 35),
    "veit2016/depth-order/re-estimated": ([*map(re_estimated, FALLS)], 35),
    "veit2016/shallow": (FALLS[:1], 100 * 38 / 84),
    "veit2016/shallow/re-estimated": ([re_estimated(FALLS[0])], 100 * 38 / 84),
    "veit2016/vgg-without-norm": (
        [deleted(*[80] * 3, *[76] * 5, *[75] * 2, *[40] * 2, arch="vgg16", residual=False)],
        100 * 8 / 12, 100 * 3 / 12, 100 * 10 / 12,
    ),
    "veit2016/plain-at-chance": (
        [deleted(*[80] * 4, *[70] * 8, arch="vgg16_bn:width=16", residual=False)],
        *[100 / 3] * 3,
    ),
    "veit2016/plain-at-chance/re-estimated": (
        [renewed(*[80] * 4, *[70] * 8, **OTHERS)], *[100 / 3] * 3,
    ),
    "veit2016/plain-worse": ([*FALLS[:1], deleted(*[80] * 9, **OTHERS)], 80 - 38),
    "veit2016/plain-worse/re-estimated": (
        [re_estimated(FALLS[0]), renewed(*[80] * 9, **OTHERS)], 80 - 38,
    ),
    "veit2016/delete-k": ([counts(7, 9, 9, 30, 40)], *tied(4)),
    "veit2016/delete-10": ([draws("lesion-counts", "edits", {10: 25}, data="cifar10")], 25),
    "veit2016/permute": (
        [draws("lesion-permute-tau", "tau", {0.99: 7, 0.95: 9, 0.91: 9, 0.87: 30})], *tied(3),
    ),
    "veit2016/duplicate": (
        [counts(7, 10, 25, 30, 40), counts(10, 9, study="lesion-duplicate")], *tied(2),
    ),
    "veit2016/gradient/decays": (
        [sampled(0.2)], 0.2, *(0.2 * np.exp(stats.norm.ppf([0.025, 0.975]) * SLOPE)),
    ),
    "veit2016/gradient/exponential": (
        [paths(BENT)], stats.linregress(np.arange(55), BENT).rvalue ** 2,
    ),
    "veit2016/gradient/short": ([sampled(0.7)], 100 * carried(0.7).cdf(26)),
    "veit2016/gradient/few": (
        [sampled(0.32)], 100 * (carried(1).cdf(LAST) - carried(1).cdf(FIRST - 1)),
    ),
    "veit2016/gradient/peak": ([paths(straight(0.23), data="cifar10")], 10),
    "veit2016/gradient/5-17": (
        [paths(straight(0.2), data="cifar10")], 100 * (carried(0.2).cdf(17) - carried(0.2).cdf(4)),
    ),
    "he2015/responses/plain": (
        [responded("resnet20", 0.8), responded("plain20", 0.9, residual=False)],
        0.1, 0.1 - np.sqrt(2) * 0.001, 0.1 + np.sqrt(2) * 0.001,
    ),
    "he2015/responses/depth": (
        [responded("resnet20", 0.9), responded("resnet56", 0.8, error=0.003)],
        0.1, 0.1 - np.sqrt(10) * 0.001, 0.1 + np.sqrt(10) * 0.001,
    ),
    "he2016/no-cancellation": (
        [paths(straight(0.2), near=0.25)],
        75, 100 * wilson(24, 32)[0], 100 * wilson(24, 32, 1 - 0.05 / 3)[1],
    ),
    "jastrzebski2018/cosine": ([responses("cosine_gradient", [-0.3, -0.1, -0.2])], -0.1),
    "jastrzebski2018/last-cosine": (
        [responses("cosine_gradient", [0.3, -0.3, -0.1], data="cifar10")], -0.1, -0.101, -0.099,
    ),
    "jastrzebski2018/ratio": ([ratio([4, 3, 2, 1], [4, 2, 3, 1], [9, 7, 5, 3])], -0.8),
    "greff2017/refinement": (
        [ratio([4, 3, 2, 1, 0], [4, 2, 3, 1, 9], [9, 7, 5, 3, 0], quantity="stage_deviation")],
        -0.8,
    ),
    "chang2018/falls": (
        [responses("ratio", [mean / 2, mean, 3 * mean / 2], arch=arch)
         for arch, mean in (("resnet20", 0.9), ("resnet56", 0.3), ("resnet110", 0.15))],
        np.log(2),
    ),
    "chang2018/inverse": (
        [responses("ratio", [mean] * n, arch=f"resnet{2 * n + 2}")
         for n, mean in zip(DEPTHS, MEANS, strict=True)],
        *line(np.log(DEPTHS), np.log(MEANS)),
    ),
    "chang2018/tiny": ([ratio([9, 0.2, 0.5], [9, 0.3, 0.1], [9, 0.4, 0.8])], 0.35),
    "chang2018/first-of-stage": (
        [ratio([0.9, 0.2, 0.1, 0.4], [0.7, 0.3, 0.3, 0.1], [2, 1, 0, 1])], 0.4,
    ),
    "de-smith2020/inverse": (
        [fresh([*L**-0.5, *L**0, *L**0], jitter=0.2)],
        *student(-0.5, 0.2 * np.std(range(4), ddof=1), 4),
    ),
    "de-smith2020/resets": ([fresh([*1 / L, *L / 2, *L])], np.log(1 / 9)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesions, "TIMES", 50)
    monkeypatch.setattr(lesions, "MOST", 50)


@pytest.mark.parametrize("name", NUMBERS)
def test_the_number_of_a_rule(name: str) -> None:
    results, *expected = NUMBERS[name]
    claim = BY_NAME[name]
    (chosen,) = claim.choose(Evidence.of(results))
    found = claim.measure(chosen, 0.95)
    assert found.value == pytest.approx(expected[0], rel=1e-6)
    if len(expected) > 1:
        assert (found.low, found.high) == pytest.approx(tuple(expected[1:]), rel=1e-3)


def test_every_rule_has_its_number_here() -> None:
    assert set(NUMBERS) == set(BY_NAME)
