"""Values in the place of branches, fitted before a study on images that it does not test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from resnet_probe.edits import VALUES
from resnet_probe.errors import ProbeError
from resnet_probe.studies.study import Arrays, Measured, Run, Subject

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualChain
    from resnet_probe.edits import Edit
    from resnet_probe.engine.sweep import Sweep

EXPLAINED = ".explained"
KEPT = "value."
"""Of a run's outcomes, those whose name begins so are fitted values: `value.BLOCK.NAME`."""


def wanted(edits: Iterable[Edit]) -> set[tuple[int, str]]:
    """The values that these edits need, by block and name; zero needs none."""
    every = {one for edit in edits for one in edit.values}
    return {(number, value) for number, value in every if value in VALUES[1:]}


def check(subject: Subject, edits: Sequence[Edit]) -> None:
    """Raises `ProbeError` where the edits need calibration images that are not there, or others."""
    from resnet_probe.engine.values import check

    asked, given = wanted(edits), subject.calibration
    if asked and given is None:
        number, value = min(asked)
        raise ProbeError(
            f"replacing {subject.chain.unit} {number} by {value} needs images that it is fitted "
            "on, never those that are tested: give calibrate="
        )
    if asked:
        assert given is not None
        check(subject.chain, asked, len(given.images), given.labels is not None)


def with_values(
    subject: Subject, edits: Sequence[Edit], seed: int, run: Run
) -> tuple[ResidualChain, Arrays]:
    """The chain with what stands in for its branches, and that as arrays.

    A journal keeps them, so that an interrupted run goes on with the same.
    """
    from resnet_probe.engine.values import fitted, modules

    chain, asked, given = subject.chain, wanted(edits), subject.calibration
    if not asked:
        return chain, {}
    assert given is not None
    arrays = run.kept(
        "values",
        lambda: fitted(chain, asked, given.images, given.labels, memory=run.memory, seed=seed),
    )
    return replace(chain, values={**chain.values, **modules(chain, arrays)}), arrays


def kept(found: Measured, values: Arrays) -> Measured:
    """With the fitted values beside the outcomes, and what linear maps explain in the table."""
    if not values:
        return found
    shares = {name: float(share) for name, share in values.items() if name.endswith(EXPLAINED)}
    rows = [f"{block}.linear{EXPLAINED}" for block in found.table["blocks"]]
    linear = found.table["edit"].str.match(r"replace \d+ linear$")
    explained = np.where(linear, [shares.get(name, np.nan) for name in rows], np.nan)
    arrays = {f"{KEPT}{name}": array for name, array in values.items()}
    table = found.table.assign(explained=explained)
    return found._replace(table=table, outcomes={**found.outcomes, **arrays})


def in_whole_groups(sweep: Sweep, edits: Sequence[Edit], subject: Subject) -> None:
    """Batches of whole groups where images are given others' outputs in turn."""
    from resnet_probe.engine.disturb import GROUP

    if any(value == "resample" for edit in edits for _, value in edit.values):
        sweep.batch = sweep.whole_groups(edits, subject.images, GROUP)
