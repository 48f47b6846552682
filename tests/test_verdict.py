"""Verdicts point by point of an interval, and what an edit does to the error row by row."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from resnet_probe import ProbeError
from resnet_probe.findings.verdict import at_least, at_most, changes, one_of, within
from resnet_probe.stats import Estimate

ENDS = (-np.inf, -2.0, -1.0, 0.0, 1.0, 2.0, np.inf, np.nan)


@pytest.mark.parametrize(
    ("judge", "bound", "is_so"),
    [
        (at_most, 1.0, lambda x: x <= 1),
        (at_least, -1.0, lambda x: x >= -1),
        (within, 1.0, lambda x: abs(x) <= 1),
    ],
)
def test_a_verdict_is_that_of_every_point_of_the_interval(judge, bound, is_so):
    for low, high in product(ENDS, ENDS):
        if high < low:
            continue
        expected = "undecided"
        if np.isfinite([low, high]).all():
            so = [is_so(point) for point in np.linspace(low, high, 9)]
            expected = "holds" if all(so) else "undecided" if any(so) else "fails"
        assert judge(Estimate(low, low, high), bound) == expected, (low, high)


def test_what_an_edit_does_to_the_error_follows_its_own_interval_or_that_of_all_edits():
    cases = [
        (low, high, inside)
        for low, high in ((-2, -1), (-1, 0), (-1, 1), (0, 1), (1, 2), (np.nan, np.nan))
        for inside in (0, 1)
    ]

    def word(low, high, inside):
        moved = "harmful" if low > 0 else "helpful" if high < 0 else ""
        return (
            ("negligible" if inside else moved) if moved else "harmless" if inside else "undecided"
        )

    names = (("delta_low_pct", "delta_high_pct", "inside_margin"),
             ("joint_low_pct", "joint_high_pct", "joint_inside_margin"))  # fmt: skip
    pairs = list(product(cases, cases))
    table = pd.DataFrame({"kind": ["baseline", *["delete"] * (len(pairs) - 1)]})
    for side, columns in enumerate(names):
        table[list(columns)] = [pair[side] for pair in pairs]
    alone, joint = (["", *(word(*pair[side]) for pair in pairs[1:])] for side in (0, 1))
    assert changes(table).tolist() == joint
    assert changes(table, joint=False).tolist() == alone
    assert changes(table.assign(stopped="decided")).tolist() == alone
    with pytest.raises(ProbeError, match="no intervals of the change in error"):
        changes(table[["kind", *names[0]]])
    assert one_of("fails", "a", "b", "c") == "b"
