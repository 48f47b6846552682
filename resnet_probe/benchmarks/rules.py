"""How often the rules of the claims pass where a claim is true, and where it is false.

Studies are simulated whose truth is known, and judged as real ones are.  What the authors of the
2016 lesion study measured (arXiv 1605.06431) is the truth wherever it can be: blocks have the
errors of theirs, and random draws are drawn from theirs again.

    python -m resnet_probe.benchmarks.rules --raw FOLDER > resnet_probe/published/operating.csv

makes the committed figures; FOLDER holds the authors' raw results as `multi_edit.csv`, a row a run.
Without it the draws come from the published quantiles, which is near.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy import stats

from resnet_probe import published
from resnet_probe.claims import CLAIMS, HOLDS, Claim, Evidence, flows, lesions
from resnet_probe.claims.ledger import CONFIDENCE
from resnet_probe.edits import kendall_tau
from resnet_probe.findings.verdict import BARELY
from resnet_probe.results import Result
from resnet_probe.stats import Floats, path_lengths
from resnet_probe.stats import bootstrap as intervals

STUDIES = 100
RESAMPLES = 800
"""For an interval at 95 %: as few as will do."""
IMAGES = 10_000
RENEWED = 1000
"""Images on which statistics are re-estimated for each edit, as in the ledger's own runs."""
FEW = 200
"""Images on which random draws are made, as in the ledger's own runs."""
DRAWS = 40
CHURN = 0.3
"""Percent of all images that an edit gains, whatever it loses."""
SHARED = 0.5
"""How much of an image's difficulty is the same for all edits: a correlation."""
BASE = 6.03
SOURCE = "arXiv 1605.06431 and others as named by the claims: simulated studies"
COLUMNS = ("claim", "truth", "case", "passes_pct", "studies", "source")
LEVELS = {0.99: 0.98, 0.95: 0.94, 0.91: 0.90, 0.87: 0.86}
"""Kendall's τ of the rules, and where the bin of the published draws begins."""
BIN = 0.02
Levels = Mapping[int, int] | Mapping[float, float]
Errors = Mapping[tuple[str, float], Floats]
"""The errors of many random draws, by kind and number of edits, or τ."""


@dataclass(frozen=True)
class Case:
    """A truth in words, and results of studies in which it is so."""

    text: str
    results: Callable[[Generator], list[Result]]


def passes(claim: Claim, case: Case, studies: int, *, seed: int = 0) -> float:
    """In how many of so many simulated studies the rule says that the claim holds, in percent."""
    held = 0
    for place in range(studies):
        random = np.random.default_rng([seed, place])
        (chosen,) = claim.choose(Evidence.of(case.results(random)))
        held += claim.bound.verdict(claim.measure(chosen, CONFIDENCE)) == HOLDS
    return 100 * held / studies


def cases(errors: Errors) -> dict[str, tuple[Case, Case]]:
    """For every claim on something sampled, a truth by which it is true, and one by which not."""
    single = _single_edits()
    sampled = single | _re_estimated(single) | _controls() | _draws(errors)
    return sampled | _gradients() | _sizes() | _flows() | _appended()


def _single_edits() -> dict[str, tuple[Case, Case]]:
    own = _published_errors(110)
    deep = partial(_lesion, errors=own)
    shifted = own - np.median(own) + BASE
    atop = BARELY / 100 * (90 - BASE)  # of the way to chance, in points
    late = own.copy()
    late[36] = np.median(own)
    vgg = 100 - _claimed("veit2016/vgg/delete/")
    spared = vgg.copy()
    spared[::4] = 50.0
    depths = (20, 32, 44, 56, 110)
    flat = [_published_errors(56) if depth == 110 else _published_errors(depth) for depth in depths]
    plain = partial(_lesion, arch="plain20", residual=False)
    shallow = partial(_lesion, arch="resnet20")
    twenty = _published_errors(20)

    def several(rows: Sequence[Floats], random: Generator) -> list[Result]:
        found = zip(depths, rows, _bases(depths), strict=True)
        return [_lesion(random, e, base=b, arch=f"preresnet{d}") for d, e, b in found]

    at_chance = partial(_lesion, arch="vgg16", residual=False, base=6.5)
    bound = np.full(9, BASE + atop)
    return {
        "veit2016/delete-one": (
            Case("the source's own blocks", lambda r: [deep(r)]),
            Case("their median at the bound, 0.93 points",
                 lambda r: [_lesion(r, shifted + 0.93)]),
        ),
        "veit2016/delete-one/relative": (
            Case("the source's own blocks", lambda r: [deep(r)]),
            Case("their median at the bound", lambda r: [_lesion(r, shifted + atop)]),
        ),
        "veit2016/worst-blocks": (
            Case("the source's own blocks", lambda r: [deep(r)]),
            Case("block 37 as the median one", lambda r: [_lesion(r, late)]),
        ),
        "veit2016/depth-order": (
            Case("the source's five depths",
                 lambda r: several([_published_errors(d) for d in depths], r)),
            Case("110 layers as 56, from the same error",
                 lambda r: several([*flat[:4], flat[3] + _bases((110,))[0] - _bases((56,))[0]], r)),
        ),
        "veit2016/shallow": (
            Case("the source's 20 layers", lambda r: [shallow(r, twenty, base=8.5)]),
            Case("the median at the bound", lambda r: [shallow(r, bound)]),
        ),
        "veit2016/plain-at-chance": (
            Case("the source's VGG", lambda r: [at_chance(r, vgg)]),
            Case("a quarter of its layers at 50 %", lambda r: [at_chance(r, spared)]),
        ),
        "veit2016/vgg-without-norm": (
            Case("the source's VGG", lambda r: [at_chance(r, vgg)]),
            Case("a quarter of its layers at 50 %", lambda r: [at_chance(r, spared)]),
        ),
        "veit2016/plain-worse": (
            Case("the source's VGG and its 20 layers",
                 lambda r: [shallow(r, twenty, base=8.5), plain(r, vgg, base=8.5)]),
            Case("both as the 20 layers",
                 lambda r: [shallow(r, twenty, base=8.5), plain(r, twenty, base=8.5)]),
        ),
    }  # fmt: skip


def _re_estimated(single: Mapping[str, tuple[Case, Case]]) -> dict[str, tuple[Case, Case]]:
    """The same lesions with statistics of their own, on the first images."""

    def again(case: Case) -> Case:
        return Case(case.text, lambda r: [_with_own_statistics(each) for each in case.results(r)])

    same = {"delete-one": "delete-one/relative"} | {
        name: name
        for name in ("worst-blocks", "depth-order", "shallow", "plain-at-chance", "plain-worse")
    }
    found = {
        f"veit2016/{name}/re-estimated": tuple(map(again, single[f"veit2016/{like}"]))
        for name, like in same.items()
    }
    return {**found, **_stale()}  # type: ignore[dict-item]


def _stale() -> dict[str, tuple[Case, Case]]:
    def both(text: str, errors: Floats, own: Floats, **identity: Any) -> Case:
        def results(random: Generator) -> list[Result]:
            as_it_is = _lesion(random, errors, base=8.5, **identity)
            renewed = _lesion(random, own, base=8.5, **identity)
            return [as_it_is, _with_own_statistics(renewed)]

        return Case(text, results)

    def left(share: float) -> Floats:
        return 8.5 + share * (twenty - 8.5)

    twenty = _published_errors(20)
    plain = {"arch": "plain20", "residual": False}
    residual = {"arch": "resnet20"}
    return {
        "here/stale/shallow": (
            both("the source's 20 layers, a quarter left", twenty, left(0.25), **residual),
            both("the same, half left", twenty, left(0.5), **residual),
        ),
        "here/stale/plain": (
            both("as the source's 20 layers, three quarters left", twenty, left(0.75), **plain),
            both("the same, half left", twenty, left(0.5), **plain),
        ),
    }


def _controls() -> dict[str, tuple[Case, Case]]:
    def moved(kind: str, apart: float) -> Case:
        def results(random: Generator) -> list[Result]:
            error = 0.1
            found = apart + error * random.standard_normal()
            half = stats.t.ppf(0.975, IMAGES - 1) * error
            result = _lesion(random, np.full(3, BASE))
            facts = {**result.provenance, "against": {kind: [found, found - half, found + half]}}
            return [_renamed(Result("control", result.table, facts), "control")]

        return Case(f"{apart:g} points apart, known to 0.1" if apart else "no difference", results)

    return {
        f"chang2018/size/{name}": (moved(kind, 0.0), moved(kind, 0.5))
        for name, kind in (("other-image", "other image"), ("noise", "noise"))
    }


def _draws(errors: Errors) -> dict[str, tuple[Case, Case]]:
    def drawn(random: Generator, kind: str, levels: Levels, scale: float = 1.0,
              **identity: Any) -> Result:  # fmt: skip
        """Draws at each level; `levels` says which level's published draws it takes."""
        study = {"delete": "lesion-counts", "permute": "lesion-permute-tau"}.get(
            kind.partition("-")[0], "lesion-duplicate"
        )
        by, parts = "tau" if "tau" in study else "edits", []
        for level, like in levels.items():
            pool = errors[kind.partition("-")[0], like] * scale
            rate = np.minimum(random.choice(pool, DRAWS), 90) / 100
            found = 100 * random.binomial(FEW, rate) / FEW
            parts.append(pd.DataFrame({"kind": "edit", by: level, "error_pct": found}))
        base = pd.DataFrame([{"kind": "baseline", by: np.nan, "error_pct": BASE}])
        table = pd.concat([base, *parts], ignore_index=True).assign(images=FEW)
        return _result(study, table, **identity)

    counts, taus = {k: k for k in (1, 5, 10, 15, 20)}, {tau: tau for tau in LEVELS}
    step, still = {**counts, 10: 5}, {**taus, 0.91: 0.95}
    twice = {5: 5, 10: 10}
    return {
        "veit2016/delete-k": (
            Case("the source's draws again", lambda r: [drawn(r, "delete", counts)]),
            Case("ten deletions as five", lambda r: [drawn(r, "delete", step)]),
        ),
        "veit2016/delete-10": (
            Case("the source's draws again", lambda r: [drawn(r, "delete", {10: 10})]),
            Case("every error doubled", lambda r: [drawn(r, "delete", {10: 10}, 2.0)]),
        ),
        "veit2016/permute": (
            Case("the source's draws again", lambda r: [drawn(r, "permute", taus)]),
            Case("τ 0.91 as 0.95", lambda r: [drawn(r, "permute", still)]),
        ),
        "veit2016/duplicate": (
            Case("the source's draws again",
                 lambda r: [drawn(r, "delete", twice), drawn(r, "duplicate", twice)]),
            Case("duplications as deletions",
                 lambda r: [drawn(r, "delete", twice),
                            _renamed(drawn(r, "delete", twice), "lesion-duplicate")]),
        ),
    }  # fmt: skip


def _gradients() -> dict[str, tuple[Case, Case]]:
    place = np.arange(55.0)

    def paths(random: Generator, logs: Floats, *, near: float = 0.0, **identity: Any) -> Result:
        return _paths(random, logs, near, **identity)

    def case(text: str, factor: float, wave: float = 0.0, **more: Any) -> Case:
        logs = np.log(factor) * place + wave * (-1.0) ** place
        return Case(text, lambda r: [paths(r, logs, **more)])

    return {
        "veit2016/gradient/decays": (case("0.23 a block", 0.23), case("no decay", 1.0)),
        "veit2016/gradient/exponential": (
            case("a straight line", 0.8), case("R² of 0.95 with alternate lengths apart", 0.95,
                                               0.1867),
        ),
        "veit2016/gradient/short": (
            case("0.23 a block", 0.23), case("0.7 a block, 88 % of them", 0.7),
        ),
        "veit2016/gradient/few": (
            case("0.23 a block", 0.23), case("0.34 a block, 2 % of paths", 0.34),
        ),
        "veit2016/gradient/peak": (
            case("0.23 a block, at 10", 0.23), case("0.35 a block, at 14", 0.35),
        ),
        "veit2016/gradient/5-17": (
            case("0.23 a block", 0.23), case("0.34 a block, 88 % of them", 0.34),
        ),
        "he2016/no-cancellation": (
            case("one image in five", 0.23, near=0.2), case("half of the images", 0.23, near=0.5),
        ),
    }  # fmt: skip


def _sizes() -> dict[str, tuple[Case, Case]]:
    fall, flat = np.linspace(0.5, 0.2, 9), np.full(9, 0.3)
    ratio = partial(_responses, quantity="ratio")
    cosine = partial(_responses, quantity="cosine_gradient", error=0.02)
    deviation = partial(_responses, quantity="stage_deviation")
    zero = np.r_[np.full(26, -0.1), 0.0]
    stage = np.r_[0.9, np.full(8, 0.3)]
    small, large = np.r_[0.9, np.full(8, 0.4)], np.r_[0.9, np.full(8, 0.5)]
    grow = np.r_[0.3, np.full(8, 0.3)]

    def depths(random: Generator, means: Iterable[float], scatter: float = 0.0) -> list[Result]:
        return [
            ratio(random, np.full(n, mean * np.exp(scatter * random.standard_normal())),
                  arch=f"resnet{2 * n + 2}")
            for n, mean in zip((9, 15, 21, 27, 54), means, strict=True)
        ]  # fmt: skip

    def network(random: Generator, *named: tuple[str, float]) -> list[Result]:
        return [_responded(random, arch, std) for arch, std in named]

    blocks = np.array([9.0, 15, 21, 27, 54])
    order = np.arange(1.0, 19)
    return {
        "he2015/responses/plain": (
            Case("a twentieth above", lambda r: network(r, ("resnet20", 0.80), ("plain20", 0.84))),
            Case("as large", lambda r: network(r, ("resnet20", 0.80), ("plain20", 0.80))),
        ),
        "he2015/responses/depth": (
            Case("a twentieth a step",
                 lambda r: network(r, ("resnet20", 0.9), ("resnet56", 0.86), ("resnet110", 0.82))),
            Case("no fall in the last step",
                 lambda r: network(r, ("resnet20", 0.9), ("resnet56", 0.8), ("resnet110", 0.8))),
        ),
        "jastrzebski2018/cosine": (
            Case("−0.1 in every block", lambda r: [cosine(r, np.full(27, -0.1))]),
            Case("0 in one block", lambda r: [cosine(r, zero)]),
        ),
        "jastrzebski2018/last-cosine": (
            Case("−0.1", lambda r: [cosine(r, np.full(27, -0.1), error=0.005)]),
            Case("−0.15", lambda r: [cosine(r, np.full(27, -0.15), error=0.005)]),
        ),
        "jastrzebski2018/ratio": (
            Case("0.5 to 0.2 in every stage", lambda r: [ratio(r, np.tile(fall, 3))]),
            Case("one stage of three without a trend",
                 lambda r: [ratio(r, np.r_[fall, fall, flat])]),
        ),
        "chang2018/falls": (
            Case("a fifth from each depth to the next",
                 lambda r: depths(r, 0.5 * 0.8 ** np.arange(5))),
            Case("no fall in the last step", lambda r: depths(r, (0.5, 0.45, 0.4, 0.35, 0.35))),
        ),
        "chang2018/inverse": (
            Case("1/N, trainings apart by 5 %", lambda r: depths(r, 9 / blocks, 0.05)),
            Case("1/N^0.75, at the bound, the same",
                 lambda r: depths(r, (9 / blocks) ** 0.75, 0.05)),
        ),
        "chang2018/tiny": (
            Case("0.4", lambda r: [ratio(r, np.tile(small, 3))]),
            Case("0.5, at the bound", lambda r: [ratio(r, np.tile(large, 3))]),
        ),
        "chang2018/first-of-stage": (
            Case("0.9 before 0.3", lambda r: [ratio(r, np.tile(stage, 3))]),
            Case("as large as the others in one stage",
                 lambda r: [ratio(r, np.r_[stage, stage, grow])]),
        ),
        "greff2017/refinement": (
            Case("0.5 to 0.2 in every stage", lambda r: [deviation(r, np.tile(fall, 3))]),
            Case("one stage of three without a trend",
                 lambda r: [deviation(r, np.r_[fall, fall, flat])]),
        ),
        "de-smith2020/inverse": (
            Case("1/l, seeds apart by 0.1", lambda r: [_fresh(r, np.tile(1 / order, 3))]),
            Case("1/√l, at the bound, the same", lambda r: [_fresh(r, np.tile(order**-0.5, 3))]),
        ),
        "de-smith2020/resets": (
            Case("1/l from each stage's start", lambda r: [_fresh(r, np.tile(1 / order, 3))]),
            Case("no step at one transition",
                 lambda r: [_fresh(r, np.r_[1 / order, 1 / order, np.full(18, 1 / 18)])]),
        ),
    }  # fmt: skip


def _flows() -> dict[str, tuple[Case, Case]]:
    def case(text: str, *named: tuple[str, float], seeds: int = 0) -> Case:
        return Case(text, lambda r: [_flow(r, arch, value, seeds=seeds) for arch, value in named])

    def falling(text: str, least: float) -> Case:
        return Case(text, lambda r: [_flow(r, "resnet56", least, quantity="falling_pct")])

    half = f"resnet56{flows.HALF}"
    return {
        "he2016/gradient/kept": (
            case("a third at block 1", ("resnet56", -0.5)),
            case("a tenth at block 1, at the bound", ("resnet56", -1.0)),
        ),
        "he2015/gradient/plain": (
            case("a third at layer 1", ("plain20", -0.5)),
            case("a tenth at layer 1, at the bound", ("plain20", -1.0)),
        ),
        "he2016/gradient/beside-plain": (
            case("0.3 farther in a plain one", ("resnet20", 0.4), ("plain20", 0.7)),
            case("as far", ("resnet20", 0.4), ("plain20", 0.4)),
        ),
        "he2016/half-shortcut": (
            case("1.5 below, seeds apart by 0.1", (half, -1.5), ("resnet56", 0.0), seeds=5),
            case("1 below, at the bound, the same", (half, -1.0), ("resnet56", 0.0), seeds=5),
        ),
        "he2016/orders/falls": (
            falling("15 % in one block", 15.0), falling("10 % in one block, at the bound", 10.0),
        ),
    }  # fmt: skip


def _appended() -> dict[str, tuple[Case, Case]]:
    def case(text: str, steps: float = 30.0, **changes: float) -> Case:
        return Case(text, lambda r: [_append(r, steps, changes)])

    return {
        "he2015/identity": (
            case("30 steps more, draws apart by 5", 30.0), case("as many steps", 0.0),
        ),
        "he2015/nested/residual": (
            case("0.1 below, draws apart by 0.02", residual=-0.1),
            case("as before, the same"),
        ),
        "he2015/nested/plain": (
            case("0.1 above, draws apart by 0.02", plain=0.1), case("as before, the same"),
        ),
    }  # fmt: skip


def _append(random: Generator, steps: float, changes: Mapping[str, float]) -> Result:
    """Three draws: so many steps more to the identity, and losses changed by so much, in nats."""
    rows: list[tuple[str, int, str, int, float]] = [("whole", 0, "loss", 0, 0.2)]
    for kind in ("residual", "plain"):
        for draw in (1, 2, 3):
            longer = steps if kind == "plain" else 0.0
            last = max(0, round(100 + longer + 5 * random.standard_normal()))
            loss = 0.2 + changes.get(kind, 0.0) + 0.02 * random.standard_normal()
            rows += [(kind, draw, "identity_error", last, 1e-4), (kind, draw, "loss", 60, loss)]
    table = pd.DataFrame(rows, columns=["kind", "draw", "quantity", "step", "value"])
    return _result("append", table.assign(images=64), 9, arch="resnet20")


def _lesion(
    random: Generator,
    errors: Floats,
    *,
    base: float = BASE,
    residual: bool = True,
    **identity: Any,
) -> Result:
    """Single deletions with these errors in percent, of images that all of them find hard alike."""
    images = IMAGES
    whole = random.random(images) < base / 100
    difficulty = np.sqrt(SHARED) * random.standard_normal(images)
    own = np.sqrt(1 - SHARED) * random.standard_normal((len(errors), images))
    lose = np.clip((errors - base + CHURN) / (100 - base), 1e-9, 1 - 1e-9)
    lost = difficulty + own > stats.norm.isf(lose)[:, None]
    gained = difficulty + own < stats.norm.ppf(CHURN / base)
    wrong = np.vstack([whole, np.where(whole, ~gained, lost)])
    stage = np.repeat([1, 2, 3], -(-len(errors) // 3))[: len(errors)]
    count = wrong.sum(axis=1)
    table = pd.DataFrame({
        "kind": ["baseline", *["delete"] * len(errors)], "stage": ["", *map(str, stage)],
        "images": images, "error_pct": 100 * count / images,
        "delta_pct": 100 * (count - count[0]) / images,
        "lost": (wrong & ~whole).sum(axis=1), "gained": (~wrong & whole).sum(axis=1),
    })  # fmt: skip
    found = _result("lesion", table, len(errors), residual=residual, **identity)
    outcomes: dict[str, np.ndarray] = {
        "answer": wrong.astype(np.uint8),
        "labels": np.zeros(images, dtype=np.int64),
    }
    return Result(found.study, found.table, found.provenance, outcomes)


def _paths(random: Generator, logs: Floats, near: float, **identity: Any) -> Result:
    """Sampled paths with these log norms by length, each known to about 8 % (95 %)."""
    spread = 0.04
    found = np.exp(logs + spread * random.standard_normal(len(logs)))
    half = np.exp(stats.t.ppf(0.975, 199) * spread)
    rows = pd.DataFrame({
        "method": "sample", "quantity": "mean_norm", "block": 0, "length": np.arange(len(logs)),
        "relative": found, "relative_low": found / half, "relative_high": found * half,
    })  # fmt: skip
    images = 64
    shares = random.binomial(images, near, 3) / images
    more = pd.DataFrame({"method": "exact", "quantity": "near_cancellation", "block": [1, 2, 3],
                         "length": 0, "value": shares})  # fmt: skip
    table = pd.concat([rows, more], ignore_index=True)
    missing = [name for name in path_lengths.NEEDED if name not in table]
    table = table.assign(**dict.fromkeys(missing, np.nan), images=images, draws=200)
    return _result("paths", table, len(logs) - 1, **identity)


def _responses(
    random: Generator, means: Floats, *, quantity: str, error: float = 0.01, **identity: Any
) -> Result:
    """One quantity by block in three stages, each mean known to a standard error of `error`."""
    found = means + error * random.standard_normal(len(means))
    half = stats.t.ppf(0.975, FEW - 1) * error
    table = pd.DataFrame({
        "place": "block", "number": range(1, len(means) + 1), "quantity": quantity,
        "stage": np.repeat([1, 2, 3], -(-len(means) // 3))[: len(means)].astype(str),
        "value": found, "ci_low": found - half, "ci_high": found + half, "images": FEW,
    })  # fmt: skip
    return _result("responses", table, len(means), **identity)


def _responded(random: Generator, arch: str, std: float) -> Result:
    """The mean response of a network, known to a standard error of a hundredth."""
    error = 0.005
    found = std + error * random.standard_normal()
    half = stats.t.ppf(0.975, 19) * error
    rows = [
        {"place": place, "taken": "norm", "quantity": "response_std", "value": found,
         "ci_low": found - half, "ci_high": found + half, "images": FEW}
        for place in ("network", "layer")
    ]  # fmt: skip
    residual = not arch.startswith("plain")
    return _result("responses", pd.DataFrame(rows), 9, arch=arch, residual=residual)


def _flow(
    random: Generator, arch: str, first: float, *, quantity: str = "gradient_log10", seeds: int = 0
) -> Result:
    """A quantity of 27 blocks that differs in the first, each mean known to a standard error.

    Where there are seeds the first differs among them by a tenth, and each is exact.
    """
    usual, error = (0.0, 0.02) if quantity == "gradient_log10" else (40.0, 1.0)
    means = np.r_[first, np.full(26, usual)]
    parts = []
    for seed in range(seeds or 1):
        apart = 0.1 * random.standard_normal(27) * (np.arange(27) == 0)
        noise = apart if seeds else error * random.standard_normal(27) * (np.arange(27) < 26)
        half = stats.t.ppf(0.975, FEW - 1) * error * (np.arange(27) < 26)
        parts.append(pd.DataFrame({
            "quantity": quantity, "block": range(1, 28), "name": "block", "seed": seed,
            "value": means + noise, "ci_low": means + noise - half,
            "ci_high": means + noise + half, "images": FEW,
        }))  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    residual, init = not arch.startswith("plain"), seeds > 0
    return _result("flow", table, 27, arch=arch, residual=residual, init=init)


def _fresh(random: Generator, values: Floats) -> Result:
    """Ratios of variances by block at five initial weights, each apart by a tenth."""
    parts = [
        _responses(random, values * np.exp(0.1 * random.standard_normal(len(values))),
                   quantity="variance_ratio", error=0.0).table.assign(seed=seed)
        for seed in range(5)
    ]  # fmt: skip
    return _result("responses", pd.concat(parts, ignore_index=True), len(values), init=True)


def _result(
    study: str, table: pd.DataFrame, blocks: int = 54, *, residual: bool = True, **identity: Any
) -> Result:
    given = {"study": study, "arch": "preresnet110", "data": "simulated", **identity}
    record = {"identity": given, "blocks": blocks, "residual": residual, "classes": 10}
    return Result(study, table, record)


def _with_own_statistics(result: Result) -> Result:
    """The lesion taken as that with re-estimated statistics, on the first `RENEWED` images."""
    right = (result.outcomes["answer"] == result.outcomes["labels"])[:, :RENEWED]
    error = 100 * (1 - right.mean(axis=1))
    table = result.table.assign(images=right.shape[1])
    columns = {"recalibrated_error_pct": error, "recalibrated_delta_pct": error - error[0]}
    identity = {**result.identity, "recalibrate": 500}
    record = {**result.provenance, "identity": identity}
    outcomes = {**result.outcomes, "recalibrated_correct": right}
    return Result(result.study, table.assign(**columns), record, outcomes)


def _renamed(result: Result, study: str) -> Result:
    identity = {**result.identity, "study": study}
    return Result(study, result.table, {**result.provenance, "identity": identity})


def _published_errors(depth: int) -> Floats:
    """The errors of single deletions, in percent: block by block, or spread by their quantiles."""
    if depth == 110:
        return published.comparison("veit2016", "lesion")["error_pct"].to_numpy(float)
    columns = ["n", "least_pct", "q1_pct", "median_pct", "q3_pct", "worst_pct"]
    count, *quantiles = _depths()[columns].T[f"preresnet{depth}"].astype(float)
    return np.interp(np.linspace(0, 1, round(count)), np.linspace(0, 1, 5), quantiles)


def _bases(depths: Iterable[int]) -> list[float]:
    found = _depths()["baseline_pct"]
    return [float(found[f"preresnet{depth}"]) for depth in depths]


def _depths() -> pd.DataFrame:
    return published.load("veit2016_depths").set_index("arch")


def _claimed(prefix: str) -> Floats:
    table = published.load("claims")
    return table.loc[table["claim"].str.startswith(prefix), "value"].to_numpy(float)


def published_draws() -> Errors:
    """As many draws as one likes, spread by the published quantiles, on a log scale between."""
    table = published.load("veit2016_multi_edit")
    wanted = table[(table["by"] == "edits") ^ (table["kind"] == "permute")]
    by_tau = {low: tau for tau, low in LEVELS.items()}
    level = wanted["tau_low"].map(by_tau).fillna(wanted["edits"]).astype(float)
    columns = ["least_pct", "q1_pct", "median_pct", "q3_pct", "worst_pct"]
    logs = np.log(wanted[columns].to_numpy(dtype=np.float64))
    places = np.linspace(0, 1, 401), np.linspace(0, 1, 5)
    keys = zip(wanted["kind"].tolist(), level.tolist(), strict=True)
    return {
        key: np.exp(np.interp(*places, row)) for key, row in zip(keys, logs, strict=True)
        if not np.isnan(key[1])
    }  # fmt: skip


def raw_draws(folder: Path) -> Errors:
    """The authors' own draws, from their raw results."""
    table = pd.read_csv(folder / "multi_edit.csv").query("model == 'preresnet110'")
    found: dict[tuple[str, float], Floats] = {}
    for kind in ("delete", "duplicate"):
        for count, part in table[table["kind"] == kind].groupby("edits"):
            found[kind, float(str(count))] = part["top1_error"].to_numpy()
    swapped = table[table["kind"] == "permute"]
    tau = swapped["detail"].map(_tau_of_swaps)
    for level, low in LEVELS.items():
        inside = (tau >= low) & (tau < low + BIN)
        found["permute", level] = swapped["top1_error"][inside].to_numpy()
    return found


def _tau_of_swaps(detail: str, blocks: int = 54) -> float:
    order = list(range(blocks))
    for swap in detail.split():
        one, other = (int(block) - 1 for block in swap.split("-"))
        order[one], order[other] = order[other], order[one]
    return kendall_tau(order)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="those of that name (all)")
    parser.add_argument("--raw", type=Path, metavar="FOLDER")
    parser.add_argument("--studies", type=int, default=STUDIES, metavar="N")
    given = parser.parse_args(words)
    lesions.TIMES = intervals.TIMES = RESAMPLES
    lesions.MOST = 4 * RESAMPLES
    known = cases(raw_draws(given.raw) if given.raw else published_draws())
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(COLUMNS)
    for claim in CLAIMS:
        if given.claims and claim.name not in given.claims:
            continue
        for truth, case in zip(("true", "false"), known.get(claim.name, ()), strict=False):
            share = round(passes(claim, case, given.studies), 1)
            row = (claim.name, truth, case.text, share, given.studies, SOURCE)
            out.writerow(row)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
