"""Every number of a report's sentences, computed again from its table; verdicts turn with it."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import pandas as pd
import pytest
from lesion_tables import reordered, several
from report_results import NAMES, attribution, lens, lesion, responses, result
from scipy import stats as reference
from test_figures_paths import table_of

from resnet_probe.findings import (
    Finding,
    Sentence,
    answer_depth,
    block_shares,
    other_orders,
    several_deletions,
    short_paths,
    single_deletions,
    small_residuals,
)
from resnet_probe.findings.sentence import counted
from resnet_probe.findings.sweeps import listed


def ends_of_median(values: pd.Series) -> tuple[float, float, float]:
    """Between the order statistics whose ranks a fair coin leaves out with probability 5 % or so.

    Hettmansperger & Sheather 1986: λ = (n − k) I / (k + (n − 2k) I).
    """
    ranked, n = sorted(values), len(values)
    k = max(k for k in range(n) if 2 * reference.binom.cdf(k - 1, n, 0.5) <= 0.05)
    covered = [1 - 2 * reference.binom.cdf(i - 1, n, 0.5) for i in (k, k + 1)]
    share = (covered[0] - 0.95) / (covered[0] - covered[1])
    inner = (n - k) * share / (k + (n - 2 * k) * share)
    low = (1 - inner) * ranked[k - 1] + inner * ranked[k]
    high = (1 - inner) * ranked[n - k] + inner * ranked[n - k - 1]
    return float(np.median(ranked)), low, high


def said(finding: Finding) -> dict[str, float]:
    return {**(finding.answer.numbers if finding.answer else {}), **finding.sentence.numbers}


def same(found: dict[str, float], expected: dict[str, float]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("seed", range(3))
def test_single_deletions(seed):
    table = lesion(seed)
    edited = table[1:]
    worst = edited.sort_values("error_pct").iloc[-1]
    found = result("lesion", table)
    delta = found.provenance["median_delta_pct"]
    finding = single_deletions(found)
    numbers = said(finding)
    harmful = int((edited["joint_low_pct"] > 0).sum())
    harmless = int((edited["joint_inside_margin"] == 1).sum())
    expected = {
        "blocks": 9, "images": 800, "baseline": table["error_pct"][0], "margin": 0.5,
        "median": edited["error_pct"].median(), "delta": delta[0], "delta_low": delta[1],
        "delta_high": delta[2], "harmful_count": harmful, "harmless_count": harmless,
        "worst": worst["error_pct"], "worst_block": int(worst["blocks"]),
        "worst_low": worst["ci_low_pct"], "worst_high": worst["ci_high_pct"],
        "published": 44.74, "published_base": 8.495, "published_block": 4,
        "published_worst": 87.01,
    }  # fmt: skip
    for name, value in expected.items():
        assert numbers[name] == pytest.approx(value, rel=1e-9), name
    assert sum(v for name, v in numbers.items() if name.endswith("_count")) == 9
    assert numbers["exception_a"] == int(worst["blocks"])
    assert numbers["error_a"] == worst["error_pct"]
    assert finding.rule is not None and finding.rule.numbers["most"] == 1.0
    assert finding.rule.numbers["share"] == pytest.approx(
        100 * delta[0] / (90 - table["error_pct"][0])
    )
    assert NAMES[int(worst["blocks"]) - 1] in str(finding.sentence)


@pytest.mark.parametrize(
    ("middle", "verdict", "words"),
    [
        ([0.1, 0.0, 0.8], "holds", "Losing one block barely changes it"),
        ([14.0, 13.0, 15.0], "fails", "Losing one block does change it"),
        ([0.2, 0.0, 1.6], "undecided", "is not decided"),
        (None, "undecided", "is not decided"),  # no interval, no verdict
    ],
)
def test_the_median_over_images_decides_whether_a_deletion_matters(middle, verdict, words):
    finding = single_deletions(result("lesion", lesion(), median_delta_pct=middle))
    assert finding.verdict == verdict and words in str(finding.answer)


def test_a_median_that_holds_still_names_the_exceptions():
    error = np.array([42.0, 6.1, 6.0, 6.0, 6.1, 6.0, 6.1, 6.0, 6.0])
    finding = single_deletions(
        result("lesion", lesion(error=error), median_delta_pct=[0.0, -0.1, 0.1])
    )
    assert finding.verdict == "holds" and "(worst: 1 (42" in str(finding.answer)
    assert finding.answer.numbers["harmful_count"] == 1


def test_a_layer_is_no_block_and_has_no_published_network():
    finding = single_deletions(result("lesion", lesion(), residual=False))
    assert "layer" in str(finding.answer) and "published" not in str(finding.sentence)


def test_several_deletions_and_orders():
    table = several("delete", range(1, 9))
    by = table[1:].groupby("edits")["error_pct"]
    (few, few_low, few_high), (many, many_low, many_high) = (
        ends_of_median(by.get_group(count)) for count in (1, 8)
    )
    expected = {
        "few": 1, "few_error": few, "few_low": few_low, "few_high": few_high, "many": 8,
        "many_error": many, "many_low": many_low, "many_high": many_high, "draws": 30,
        "baseline": 6.0, "half": 50.0,
    }  # fmt: skip
    same(said(several_deletions(result("lesion-counts", table))), expected)
    broken = table.assign(error_pct=table["error_pct"].where(table["edits"] < 5, 70.0))
    found = said(several_deletions(result("lesion-counts", broken)))
    assert found["crossed"] == 5 and found["many_error"] == 70
    fewer = table.assign(error_pct=90 - table["error_pct"])
    text = str(several_deletions(result("lesion-counts", fewer)).sentence)
    assert "The error does not grow with the number" in text
    assert "stays" not in text and "reaches" not in text  # above a half from the first on

    table = reordered()
    far, low, high = ends_of_median(table[table["tau"] == 0.7]["error_pct"])
    near = table[table["tau"] == 1.0]["error_pct"].median()
    same(said(other_orders(result("lesion-permute-tau", table))), {
        "near": 1.0, "near_error": near, "far": 0.7, "far_error": far, "far_low": low,
        "far_high": high, "draws": 10, "baseline": 6.0,
    })  # fmt: skip
    flat = table.assign(error_pct=6.0)
    assert "does not grow" in str(other_orders(result("lesion-permute-tau", flat)).sentence)


@pytest.mark.parametrize("factor", [0.2, 0.4, 0.7])
def test_short_paths(factor):
    table = table_of(9, factor=factor)
    here = table[table["block"] == 0].astype({"length": float}).set_index("length")
    single = here[here["quantity"] == "mean_norm"]
    paths = np.array([comb(9, k) for k in range(10)])
    carried = (paths * single["relative"] / (paths * single["relative"]).sum()).to_numpy()
    bounds = []
    for short, long in (("low", "high"), ("high", "low")):
        norms = np.where(np.arange(10) < 5, single[f"relative_{short}"], single[f"relative_{long}"])
        bounds.append(100 * (paths * norms)[:5].sum() / (paths * norms).sum())
    share = here[here["quantity"] == "share"]
    found = said(short_paths(result("paths", table)))
    first, last = int(found["first"]), int(found["last"])
    assert carried[first : last + 1].sum() >= 0.95
    widths = [sum(carried[i : i + last - first]) for i in range(10 - (last - first) + 1)]
    assert max(widths) < 0.95, "a shorter window would do"
    same(found, {
        "blocks": 9, "mean": 4.5, "share": 100 * carried[:5].sum(), "share_low": bounds[0],
        "share_high": bounds[1], "peak": carried.argmax(), "window": 95.0,
        "first": first, "last": last, "factor": factor, "r_squared": 1.0,
        "paths": 100 * paths[first : last + 1].sum() / 512, "published_first": 5,
        "published_last": 17, "published_blocks": 54,
        "half": int(np.argmax(share["value"].cumsum() >= 0.5)),
        "identity": 100 * share["value"][0], "top": share["value"].to_numpy().argmax(),
        "top_share": 100 * share["value"].max(),
        "top_low": 100 * share["ci_low"][share["value"].idxmax()],
        "top_high": 100 * share["ci_high"][share["value"].idxmax()],
    })  # fmt: skip


@pytest.mark.parametrize(("factor", "verdict"), [(0.2, "holds"), (0.45, "undecided"), (3, "fails")])
def test_the_table_decides_whether_short_paths_carry_the_gradient(factor, verdict):
    finding = short_paths(result("paths", table_of(9, factor=factor)))
    assert finding.verdict == verdict
    opening = {"holds": "Short paths carry", "fails": "do not carry", "undecided": "is not decided"}
    assert opening[verdict] in str(finding.answer)


@pytest.mark.parametrize("seed", range(3))
def test_small_residuals(seed):
    table = responses(seed)
    ratio = table[table["quantity"] == "ratio"].reset_index(drop=True)
    cosine = table[table["quantity"] == "cosine_gradient_sum"]
    top, last = ratio.loc[ratio["value"].idxmax()], ratio.iloc[8]
    median = ends_of_median(ratio["value"])
    found = small_residuals(result("responses", table))
    same(said(found), {
        "blocks": 9, "median": median[0], "median_low": median[1], "median_high": median[2],
        "top": top["value"], "top_low": top["ci_low"], "top_high": top["ci_high"],
        "top_block": top["number"], "last": last["value"], "last_low": last["ci_low"],
        "last_high": last["ci_high"], "measured": 9, "against": (cosine["ci_high"] < 0).sum(),
    })  # fmt: skip


@pytest.mark.parametrize(("size", "verdict"), [(0.2, "holds"), (0.9, "fails")])
def test_the_table_decides_whether_residuals_are_small(size, verdict):
    table = responses()
    table.loc[table["quantity"] == "ratio", "value"] = size
    finding = small_residuals(result("responses", table))
    assert finding.verdict == verdict
    assert ("are not small" in str(finding.answer)) == (verdict == "fails")


def test_without_shortcuts_there_is_nothing_to_be_small_beside():
    table = responses()
    table.loc[table["quantity"] == "ratio", "value"] = np.nan
    finding = small_residuals(result("responses", table, residual=False))
    assert finding.verdict == "" and finding.answer is None
    same(said(finding), {"std": 0.7, "std_low": 0.6, "std_high": 0.8})
    nothing = str(small_residuals(result("responses", table)).sentence)
    assert nothing == "Nothing passes the shortcuts for a residual to be small beside."


def test_the_depth_of_the_answer():
    table = lens()
    table.loc[2, "agreement_pct"] = 99.0  # an early agreement that does not last
    found = said(answer_depth(result("lens", table)))
    expected = {"half": 50, "most": 90, "stem_accuracy": 10, "blocks": 9, "accuracy": 100,
                "accuracy_low": 97, "accuracy_high": 103}  # fmt: skip
    for name, block, share in (("half", 4, 50.0), ("most", 8, 90.0)):
        expected |= {f"{name}_block": block, f"{name}_share": share,
                     f"{name}_share_low": share - 3, f"{name}_share_high": share + 3}  # fmt: skip
    same(found, expected)
    early = table.assign(agreement_pct=100.0)
    assert "answer from the stem on (100.0 %" in str(answer_depth(result("lens", early)).sentence)
    never = table.assign(agreement_pct=table["agreement_pct"].clip(upper=80))
    assert "90 % of the images never" in str(answer_depth(result("lens", never)).sentence)


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_blocks(seed):
    table = attribution(seed)
    every = table[table["class"].isna()]
    shapley = every[(every["method"] == "shapley") & (every["metric"] == "accuracy")]
    pairs = every[(every["method"] == "interactions") & (every["metric"] == "margin")]
    alone = every[(every["method"] == "ablation") & (every["metric"] == "margin")]
    top = shapley.loc[shapley["value"].idxmax()]
    ranked = shapley["value"].sort_values(ascending=False).cumsum().to_numpy()
    clear = int(((pairs["ci_low"] > 0) | (pairs["ci_high"] < 0)).sum())
    wilson = reference.binomtest(clear, 36).proportion_ci(method="wilson")
    same(said(block_shares(result("attribute", table))), {
        "top": top["value"], "top_low": top["ci_low"], "top_high": top["ci_high"],
        "top_block": top["block"], "total": shapley["value"].sum(), "of": 9,
        "enough": int(np.argmax(ranked >= ranked[-1] / 2)) + 1, "pairs": 36, "clear": clear,
        "clear_share": 100 * clear / 36, "clear_low": 100 * wilson.low,
        "clear_high": 100 * wilson.high, "beyond": pairs["value"].mean(),
        "alone": alone["value"].mean(), "chance": 5.0, "images": 50,
    })  # fmt: skip


def test_few_pairs_decide_nothing_and_many_refute():
    table = attribution()
    pairs = table["method"] == "interactions"
    for shift, verdict in ((0.0, "undecided"), (1.0, "fails")):
        moved = table.copy()
        moved.loc[pairs, ["value", "ci_low", "ci_high"]] = shift, shift - 0.1, shift + 0.1
        finding = block_shares(result("attribute", moved))
        assert finding.verdict == verdict
        assert ("do not simply add up" in str(finding.sentence)) == (verdict == "fails")


def test_a_sentence_spells_out_no_number_of_its_own():
    with pytest.raises(ValueError, match="no value"):
        Sentence("all 54 blocks")
    assert str(Sentence("{a:.1f} % (95 % CI)", {"a": -2.25})) == "−2.2 % (95 % CI)"
    assert str(Sentence("{a:+.2f}", {"a": -0.001})) == "0.00"
    both = Sentence("{a}", {"a": 1}) + Sentence(" and {b}", {"b": "layer1.0"})
    assert str(both) == "1 and layer1.0" and both.numbers == {"a": 1.0}
    with pytest.raises(ValueError, match="a is both 1 and 2"):
        Sentence("{a}", {"a": 1}) + Sentence("{a}", {"a": 2})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 blocks", "1 block"), ("of 1 images are", "of 1 image is"),
        ("1 are harmful", "1 is harmful"),
        ("at most 1 form a chain", "at most 1 forms a chain"),
        ("1 random orders", "1 random order"),
        ("11 blocks", "11 blocks"), ("0.1 blocks", "0.1 blocks"), ("2–1 blocks", "2–1 blocks"),
        ("−1 blocks", "−1 blocks"), ("layer1 blocks", "layer1 blocks"), ("2^1 paths", "2^1 paths"),
    ],
)  # fmt: skip
def test_one_is_no_several(text, said):
    """In plain lines, and around the values of a sentence."""
    assert counted(text) == said
    if text[0] == "1" and text[1] == " ":
        assert str(Sentence("{n}" + text[1:], {"n": 1})) == said
        assert str(Sentence("{n}" + text[1:], {"n": 2})) == "2" + text[1:]
        assert str(Sentence("{m}–{n}" + text[1:], {"m": 0, "n": 1})) == "0–1" + text[1:]


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [(126, ".2g", "126"), (99.7, ".2g", "100"), (4.25, ".2g", "4.2"), (1e15, ".2g", "1e+15"),
     (1234, ",.3g", "1234")],
)  # fmt: skip
def test_what_can_be_counted_is_written_out(value, form, shown):
    assert str(Sentence("{n:" + form + "}", {"n": value})) == shown


def test_edits_of_every_kind_are_counted():
    """All words together are all edits."""
    table = lesion(0)
    table.loc[1:4, ["joint_low_pct", "joint_high_pct"]] = [
        [-0.4, -0.1], [0.1, 0.4], [-9.0, -2.0], [2.0, 9.0]]  # fmt: skip
    table.loc[5:, ["joint_low_pct", "joint_high_pct"]] = -1.0, 1.0
    table["joint_inside_margin"] = (table.index <= 2).astype(float)
    text = str(listed(result("lesion-edits", table)).sentence)
    assert len(table) == 1 + 1 + 2 + 1 + 5
    assert "1 is harmful, 0 harmless (within ± " in text
    assert " points), 2 negligible, 1 helpful, 5 undecided" in text


FINDERS: list[tuple[Callable[..., Finding], str, pd.DataFrame]] = [
    (single_deletions, "lesion", lesion()),
    (short_paths, "paths", table_of(9)),
    (small_residuals, "responses", responses()),
    (answer_depth, "lens", lens()),
    (block_shares, "attribute", attribution()),
]


@pytest.mark.parametrize(("find", "study", "table"), FINDERS)
def test_no_sentence_shows_what_is_not_a_number(find, study, table):
    finding = find(result(study, table))
    for sentence in (finding.sentence, finding.answer, finding.rule):
        text = str(sentence or "")
        assert "nan" not in text and "{" not in text and "  " not in text and " ." not in text
