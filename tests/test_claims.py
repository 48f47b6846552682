"""Every claim's rule on tables whose verdict is known: it can hold, fail and stay undecided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
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
    result,
    straight,
    structure,
)

from resnet_probe.claims import (
    BEYOND,
    CLAIMS,
    COLUMNS,
    FAILS,
    HOLDS,
    NOT_HERE,
    UNDECIDED,
    Evidence,
    identities,
    judge,
    lesions,
    needed,
    rules_sha256,
)
from resnet_probe.claims.claim import above, at_least, at_most, between, equal_to
from resnet_probe.claims.evidence import Chosen
from resnet_probe.stats import Estimate
from resnet_probe.stats import bootstrap as intervals


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "TIMES", 1000)
    monkeypatch.setattr(lesions, "MOST", 800)


BY_NAME = {claim.name: claim for claim in CLAIMS}
EXACT = [claim.name for claim in CLAIMS if claim.kind == "exact"]
OWN = {"data": "cifar10"}
NOISY = 1.0
KS, TAUS = (1, 5, 10, 15, 20), (0.99, 0.95, 0.91, 0.87)
CHANCE = 81.6
"""The error at which 90 % of the way from 6 % error to guessing among ten classes are gone."""


def blocks(usual: float, **others: float) -> list[float]:
    """54 errors, all the usual one but for those named, such as `b1=40`."""
    return [others.get(f"b{number}", usual) for number in range(1, 55)]


def counts(*medians: float, study: str = "lesion-counts", **more):
    return draws(study, "edits", dict(zip(KS, medians, strict=False)), **more)


def orders(*medians: float, **more):
    return draws("lesion-permute-tau", "tau", dict(zip(TAUS, medians, strict=True)), **more)


def doubled(five: float, ten: float):
    return draws("lesion-duplicate", "edits", {5: five, 10: ten})


def wavy(size: float) -> np.ndarray:
    return -0.05 * np.arange(55) + size * (-1.0) ** np.arange(55)


def stage(*values: float) -> list[float]:
    return [*values] * 3


def depths(study_of, shallow, deep):
    return [study_of("resnet20", shallow), study_of("resnet56", deep)]


def hurt(arch: str, error: float):
    return lesion([error] * 9, arch=arch)


SIZES = np.array([9.0, 15, 21, 27, 54])


def ratios(*means: float, error: float = 0.001):
    sizes = (9, 27) if len(means) == 2 else SIZES.astype(int)
    return [
        responses("ratio", [mean] * n, arch=f"resnet{6 * n // 3 + 2}", error=error)
        for n, mean in zip(sizes, means, strict=True)
    ]


def fresh(values, jitter: float = 0.01):
    return responses("variance_ratio", values, arch="preresnet110", seeds=4, jitter=jitter)


def restored(own: float, **network):
    """Deletions that cost 20 points, and so many with statistics of their own."""
    found = [lesion([6.0 + cost] * 9, images=20_000, **network) for cost in (20.0, own)]
    return [found[0], re_estimated(found[1])]


PLAIN = {"arch": "plain20", "residual": False}


def beside(plain: float):
    found = flow([0.4, 0.2, 0], arch="resnet20")
    return [found, flow([plain, 0.2, 0], arch="plain20", residual=False)]


def halves(fall: float, error: float = 0.01):
    pair = ("resnet56:shortcut=scaled_shortcut", -fall), ("resnet56", 0.0)
    return [flow([first, 0, 0], arch=arch, seeds=3, error=error) for arch, first in pair]


LS = np.arange(1.0, 19)
CASES = {
    "he2015/identity": tuple(
        [appended(plain=0, steps=steps)] for steps in ((40, 50, 60), (8, 10, 9), (19, 21, 23))
    ),
    "he2015/nested/residual": tuple(
        [appended(plain=0, residual=change)] for change in (-0.1, 0.1, -0.02)
    ),
    "he2015/nested/plain": tuple([appended(plain=change)] for change in (0.1, -0.1, -0.02)),
    "he2016/gradient/kept": tuple([flow([low, 0.1, 0])] for low in (-0.2, -2, -1.01)),
    "he2015/gradient/plain": tuple(
        [flow([low, 0.1, 0], **PLAIN)] for low in (-0.2, -2, -1.01)
    ),
    "he2016/gradient/beside-plain": (beside(-0.9), beside(0.1), beside(0.41)),
    "he2016/half-shortcut": (halves(2), halves(0.5), [flow([-1.1, 0], arch="resnet56"
        ":shortcut=scaled_shortcut", seeds=3, error=0.5), halves(0)[1]]),
    "he2016/orders/falls": tuple(
        [flow([least, 40, 30], quantity="falling_pct", error=1)] for least in (20, 4, 10)
    ),
    **{
        f"chang2018/size/{name}": tuple([control(apart)] for apart in (0.1, 3, 0.45))
        for name in ("other-image", "noise")
    },
    "here/stale/shallow": tuple(restored(own, arch="resnet20") for own in (2, 18, 10)),
    "here/stale/plain": tuple(restored(own, **PLAIN) for own in (18, 2, 10)),
    "veit2016/delete-one/re-estimated": tuple(
        [re_estimated(lesion(blocks(error)))] for error in (6.2, 9, 6.84)
    ),
    "veit2016/worst-blocks/re-estimated": (
        [re_estimated(lesion(blocks(6.4, b1=42, b19=12, b37=12)))],
        [re_estimated(
            lesion(blocks(6.4, b1=42, b37=12, **{f"b{n}": 30 for n in range(2, 12)}))
        )],
        [re_estimated(lesion(blocks(6.4, b1=42, b19=12, b37=6.9), images=300))],
    ),
    "veit2016/depth-order/re-estimated": tuple(
        [*map(re_estimated, depths(hurt, *errors))] for errors in ((44, 9), (9, 44), (9, 9))
    ),
    "veit2016/shallow/re-estimated": (
        [re_estimated(hurt("resnet20", 44))],
        [re_estimated(lesion([6.0] * 9, arch="resnet20", images=100_000))],
        [re_estimated(hurt("resnet20", 6.84))],
    ),
    "veit2016/plain-at-chance/re-estimated": tuple(
        [re_estimated(lesion([error] * 18, **PLAIN))] for error in (90, 20, CHANCE)
    ),
    "veit2016/plain-worse/re-estimated": tuple(
        [re_estimated(hurt("resnet20", 20)), re_estimated(lesion([error] * 18, **PLAIN))]
        for error in (90, 8, 20)
    ),
    "veit2016/delete-one": (
        [lesion(blocks(6.4), **OWN)], [lesion(blocks(9), **OWN)], [lesion(blocks(6.93), **OWN)],
    ),
    "veit2016/delete-one/relative": (
        [lesion(blocks(6.2))], [lesion(blocks(9))], [lesion(blocks(6.84))],
    ),
    "veit2016/worst-blocks": (
        [lesion(blocks(6.4, b1=42, b19=12, b37=12))],
        [lesion(blocks(6.4, b1=42, b37=12, **{f"b{n}": 30 for n in range(2, 12)}))],
        [lesion(blocks(6.4, b1=42, b19=12, b37=6.9), images=300)],
    ),
    "veit2016/depth-order": (depths(hurt, 44, 9), depths(hurt, 9, 44), depths(hurt, 9, 9)),
    "veit2016/shallow": (
        [hurt("resnet20", 44)],
        [lesion([6.0] * 9, arch="resnet20", images=100_000)],
        [hurt("resnet20", 6.84)],
    ),
    "veit2016/vgg-without-norm": tuple(
        [lesion([error] * 12, arch="vgg16:width=16", residual=False)] for error in (90, 20, CHANCE)
    ),
    "veit2016/plain-at-chance": tuple(
        [lesion([error] * 12, arch="vgg16_bn:width=16", residual=False)]
        for error in (90, 20, CHANCE)
    ),
    "veit2016/plain-worse": tuple(
        [hurt("resnet20", 20), lesion([error] * 18, arch="plain20", residual=False)]
        for error in (90, 8, 20)
    ),
    "veit2016/delete-k": (
        [counts(7, 10, 25, 58, 74)], [counts(7, 10, 5, 58, 74)], [counts(7, 7, 25, 58, 74)],
    ),
    "veit2016/delete-10": (
        [counts(7, 10, 25, **OWN)], [counts(7, 10, 60, **OWN)], [counts(7, 10, 14.28, **OWN)],
    ),
    "veit2016/permute": ([orders(7, 13, 30, 53)], [orders(53, 30, 13, 7)], [orders(7, 7, 30, 53)]),
    "veit2016/duplicate": (
        [counts(7, 10, 25), doubled(7, 9)],
        [counts(7, 10, 25), doubled(30, 40)],
        [counts(7, 10, 25), doubled(10, 9)],
    ),
    "veit2016/gradient/decays": (
        [paths(straight(0.2))], [paths(straight(1.1))], [paths(straight(1.0), error=NOISY)],
    ),
    "veit2016/gradient/exponential": (
        [paths(straight(0.2))], [paths(wavy(1.0))], [paths(wavy(0.17), error=0.1)],
    ),
    "veit2016/gradient/short": (
        [paths(straight(0.2))], [paths(straight(1.1))], [paths(straight(0.7), error=NOISY)],
    ),
    "veit2016/gradient/few": (
        [paths(straight(0.2))], [paths(straight(1.0))], [paths(straight(0.32), error=NOISY)],
    ),
    "veit2016/gradient/peak": (
        [paths(straight(0.23), **OWN)], [paths(straight(1.0), **OWN)],
        [paths(straight(0.157), error=NOISY, **OWN)],
    ),
    "veit2016/gradient/5-17": (
        [paths(straight(0.2), **OWN)], [paths(straight(1.0), **OWN)],
        [paths(straight(0.33), error=NOISY, **OWN)],
    ),
    "he2015/responses/plain": tuple(
        [responded("resnet20", 0.8), responded("plain20", std, residual=False)]
        for std in (0.9, 0.7, 0.8005)
    ),
    "he2015/responses/depth": (
        depths(responded, 0.9, 0.8), depths(responded, 0.8, 0.9), depths(responded, 0.8, 0.8),
    ),
    "he2016/no-cancellation": tuple([paths(straight(0.2), near=near)] for near in (0, 1, 0.5)),
    "jastrzebski2018/cosine": (
        [responses("cosine_gradient", [-0.3] * 12)],
        [responses("cosine_gradient", [-0.3] * 11 + [0.1])],
        [responses("cosine_gradient", [-0.3] * 11 + [0.0])],
    ),
    "jastrzebski2018/last-cosine": tuple(
        [responses("cosine_gradient", [-0.3] * 11 + [last], **OWN)] for last in (-0.1, -0.3, -0.05)
    ),
    "jastrzebski2018/ratio": (
        [responses("ratio", stage(0.5, 0.4, 0.3, 0.2))],
        [responses("ratio", stage(0.2, 0.3, 0.4, 0.5))],
        [responses("ratio", stage(0.3, 0.3, 0.3, 0.3), error=0.1)],
    ),
    "chang2018/falls": (ratios(0.9, 0.3), ratios(0.3, 0.9), ratios(0.3, 0.3, error=0.1)),
    "chang2018/inverse": (
        ratios(*9 / SIZES), ratios(*SIZES**0.0), ratios(0.9, 0.2, 0.9, 0.2, 0.1),
    ),
    "chang2018/tiny": (
        [responses("ratio", stage(0.9, 0.05, 0.05, 0.05))],
        [responses("ratio", stage(0.9, 0.7, 0.7, 0.7))],
        [responses("ratio", stage(0.9, 0.5, 0.5, 0.5))],
    ),
    "chang2018/first-of-stage": (
        [responses("ratio", stage(0.9, 0.1, 0.1, 0.1))],
        [responses("ratio", stage(0.1, 0.9, 0.9, 0.9))],
        [responses("ratio", stage(0.9, 0.1, 0.1, 0.1)[:8] + [0.1] * 4)],
    ),
    "greff2017/refinement": (
        [responses("stage_deviation", stage(0.5, 0.4, 0.3, 0.2, 0.0))],
        [responses("stage_deviation", stage(0.2, 0.3, 0.4, 0.5, 0.0))],
        [responses("stage_deviation", stage(0.3, 0.3, 0.3, 0.3, 0.0), error=0.1)],
    ),
    "de-smith2020/inverse": (
        [fresh(stage(*1 / LS))], [fresh(stage(*LS**0.0))], [fresh(stage(*LS**-0.5), jitter=0.2)],
    ),
    "de-smith2020/resets": (
        [fresh(stage(*1 / LS))], [fresh([*1 / np.arange(1.0, 55)], jitter=1e-4)],
        [fresh([1.0] * 54, jitter=1.0)],
    ),
}  # fmt: skip


def verdict(name: str, results) -> str:
    table = judge(results, claims=[BY_NAME[name]], beyond=())
    return table["verdict"].iloc[0]


@pytest.mark.parametrize("name", CASES)
def test_a_rule_can_hold_fail_and_stay_undecided(name: str) -> None:
    assert [verdict(name, results) for results in CASES[name]] == [HOLDS, FAILS, UNDECIDED]


def test_every_rule_is_tried() -> None:
    assert {*CASES, *EXACT} == set(BY_NAME)


def test_the_lengths_of_paths_are_counted() -> None:
    for name, measure in (("mean", identities.path_mean), ("sd", identities.path_sd)):
        bound = BY_NAME[f"veit2016/path-lengths/{name}"].bound
        found = [bound.verdict(measure(Chosen(()), 0.95, blocks=n)) for n in (54, 50)]
        assert found == [HOLDS, FAILS]
    for name, lengths in (("path-lengths/19-35", (19, 35)), ("effective/share", (5, 17))):
        bound = BY_NAME[f"veit2016/{name}"].bound
        measures = [identities.share_of_lengths(*lengths, n) for n in (54, 44)]
        found = [bound.verdict(measure(Chosen(()), 0.95)) for measure in measures]
        assert found == [HOLDS, FAILS]


def test_an_identity_term_is_there_or_not() -> None:
    found = [paths(straight(0.2), identity=size) for size in (0.1, 0.0, np.nan)]
    verdicts = [verdict("he2016/identity-term", [each]) for each in found]
    assert verdicts == [HOLDS, FAILS, UNDECIDED]


COUNTED = {
    "he2015/parameters": ("resnet20", {"parameters": 269_722}, {"parameters": 269_723}),
    "he2015/multiply-adds": (
        "resnet20", {"multiply_adds": 40_640_000}, {"multiply_adds": 40_700_000},
    ),
    "he2015/flops": (
        "resnet50:stride=v1", {"multiply_adds": 3_857_973_248}, {"multiply_adds": 4_089_284_608},
    ),
    "he2015/bottleneck": ("bottleneck/weights", {"parameters": 69_632}, {"parameters": 70_000}),
    "torchvision/resnet50/multiply-adds": (
        "resnet50", {"multiply_adds": 4_089_000_000}, {"multiply_adds": 3_800_000_000},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_right_or_wrong(name: str) -> None:
    arch, right, wrong = COUNTED[name]
    assert verdict(name, [structure(arch, **right)]) == HOLDS
    assert verdict(name, [structure(arch, **wrong)]) == FAILS


@pytest.mark.parametrize(
    ("bound", "low", "high", "expected"),
    [
        (at_most(1), 0.2, 1.0, HOLDS),
        (at_most(1), 1.1, 2, FAILS),
        (at_most(1), 0.9, 1.1, UNDECIDED),
        (at_least(1), 1.0, 2, HOLDS),
        (at_least(1), 0, 0.9, FAILS),
        (at_least(1), 0, 1.0, UNDECIDED),
        (above(0), 0.0, 1, UNDECIDED),
        (above(0), 0.1, 1, HOLDS),
        (above(0), -1, 0.0, FAILS),
        (between(1, 2), 1, 2, HOLDS),
        (between(1, 2), 0, 3, UNDECIDED),
        (between(1, 2), 3, 4, FAILS),
        (equal_to(3), 3, 3, HOLDS),
        (equal_to(3), 2.99, 2.99, FAILS),
        (above(0), np.nan, 1, UNDECIDED),
        (above(0), 0.1, np.nan, UNDECIDED),
    ],
)
def test_a_verdict_is_that_of_the_whole_interval(bound, low, high, expected) -> None:
    assert bound.verdict(Estimate((low + high) / 2, low, high)) == expected


def test_a_number_is_judged_on_its_own_data_and_network_only() -> None:
    name = "veit2016/delete-one"
    strange = [
        (lesion(blocks(6.2)), "digits instead of cifar10"),
        (lesion(blocks(6.2), note="stored as JPEG", **OWN), "JPEG"),
        (lesion(blocks(6.2), arch="resnet110", **OWN), "resnet110 instead of preresnet110"),
    ]
    for found, reason in strange:
        (row,) = judge([found], claims=[BY_NAME[name]], beyond=()).to_dict("records")
        assert row["verdict"] == row["joint_verdict"] == NOT_HERE
        assert reason in row["why"] and row["value"] == pytest.approx(0.2)


def test_a_shape_is_judged_elsewhere_and_says_so() -> None:
    (row,) = judge(
        [lesion(blocks(6.2), arch="resnet110")],
        claims=[BY_NAME["veit2016/delete-one/relative"]], beyond=(),
    ).to_dict("records")  # fmt: skip
    assert row["verdict"] == HOLDS
    assert row["differs"] == "digits instead of cifar10; resnet110 instead of preresnet110"


def everything() -> list:
    return [
        found for holds, _, _ in CASES.values() for found in holds if found.study != "responses"
    ]


def test_no_verdict_without_an_interval_and_none_without_a_reason() -> None:
    for results in ([], everything()):
        table = judge(results)
        assert list(table.columns) == list(COLUMNS)
        assert set(table["claim"]) == {claim.name for claim in (*CLAIMS, *BEYOND)}
        judged = table["verdict"].isin([HOLDS, FAILS])
        assert table.loc[judged, ["value", "ci_low", "ci_high"]].notna().all().all()
        assert (table["verdict"] == NOT_HERE).equals(table["why"] != "")
        assert (table["published"] != "").all()
        assert ((table["rule"] != "") == table["claim"].isin(list(BY_NAME))).all()


def test_many_claims_together_need_more() -> None:
    sure, unsure = [lesion(blocks(6.1))], [lesion(blocks(6.6), images=6000)]
    one = [BY_NAME["veit2016/delete-one/relative"]]
    alone = judge(unsure, claims=one, beyond=())
    assert list(alone["verdict"]) == list(alone["joint_verdict"]) == [HOLDS]
    among = judge(unsure, claims=one * 100, beyond=())
    assert set(among["verdict"]) == {HOLDS} and set(among["joint_verdict"]) == {UNDECIDED}
    assert set(judge(sure, claims=one * 5, beyond=())["joint_verdict"]) == {HOLDS}


def test_results_of_several_networks_are_taken_apart() -> None:
    one, two = (responded(arch, std) for arch, std in (("resnet20", 0.9), ("resnet56", 0.8)))
    both = pd.concat([one.table, two.table], ignore_index=True)
    found = result("responses", "resnet20, resnet56", both, blocks=[9, 27], residual=[True, True])
    assert verdict("he2015/responses/depth", [found]) == HOLDS
    assert [exhibit.blocks for exhibit in Evidence.of([found]).exhibits] == [9, 27]


def test_only_what_a_claim_would_choose_is_needed() -> None:
    alone = responded("vgg16", 1, residual=False)
    found = Evidence.of([hurt("resnet20", 9), paths(straight(0.2)), alone]).exhibits
    assert [exhibit.study for exhibit in needed(found)] == ["lesion", "paths"]


def test_a_changed_rule_is_another_fingerprint() -> None:
    changed = [
        replace(claim, bound=at_most(7)) if claim is CLAIMS[0] else claim for claim in CLAIMS
    ]
    assert rules_sha256(changed) != rules_sha256() == rules_sha256()


def test_names_are_there_once() -> None:
    names = [claim.name for claim in (*CLAIMS, *BEYOND)]
    assert len(set(names)) == len(names)
