"""What a deletion is beside other disturbances of the same size: the control of a lesion.

Deleting a block takes F(h) away, which moves the state by ‖F(h)‖.  "Blocks can be deleted because
their residuals are small" says that any move of that size is as mild.  So beside each deletion
stand moves of the same norm in other directions: along another image's branch, and along white
noise; and the reversed branch, whose move is twice as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.settings import Settings, listed, option
from resnet_probe.stats import paired_difference
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.lesion import LesionSettings, lost, rows_of
from resnet_probe.studies.scores import judged, metric_for
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualChain
    from resnet_probe.edits import Edit

SIGN = "sign"
CONTROLS = ("other image", "noise", SIGN)
DELETION = "delete"


@dataclass(frozen=True, kw_only=True)
class ControlSettings(Settings):
    """Which disturbances stand beside the deletions."""

    controls: tuple[str, ...] = option(
        CONTROLS,
        "some of other image, noise, sign (default: all); sign is twice as long as the others",
        read=lambda text: tuple(part.strip() for part in text.split(",")),
        write=listed,
        metavar="A,B",
    )
    margin: float = option(
        0.5,
        "points of error: a change that is shown to be smaller is harmless (default: 0.5)",
        metavar="POINTS",
    )
    seed: int = option(0, "of the noise (default: 0)", least=0, metavar="N", group="run")

    def __post_init__(self) -> None:
        super().__post_init__()
        LesionSettings(margin=self.margin)
        unknown = [each for each in self.controls if each not in CONTROLS]
        if unknown or not self.controls:
            named = repr(unknown[0]) if unknown else "nothing"
            there = ", ".join(CONTROLS) + did_you_mean("".join(unknown[:1]), CONTROLS)
            raise ProbeError(f"{named} is no control: there are {there}")


def fit(subject: Subject, settings: ControlSettings) -> ControlSettings:
    from resnet_probe.studies.checks import check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    if not subject.chain.residual:
        raise ProbeError(
            f"{subject.chain.name} is a plain network: its layers have no branch beside a "
            "shortcut, so that there is no disturbance of the branch's size"
        )
    return settings


def gather(subject: Subject, settings: ControlSettings, run: Run) -> Arrays:
    from resnet_probe.engine.disturb import GROUP
    from resnet_probe.engine.sweep import Sweep

    disturbed, edits = disturbed_chain(subject.chain, settings)
    sweep = Sweep(disturbed, batch=run.batch, memory=run.memory)
    sweep.batch = sweep.whole_groups(edits, subject.images, GROUP)
    return judged(sweep, edits, subject, run, metric=metric_for(subject, None))


def of_answers(subject: Subject, settings: ControlSettings, found: Arrays) -> Measured:
    _, edits = disturbed_chain(subject.chain, settings)
    kinds = [kind_of(edit) for edit in edits]
    lesion = LesionSettings(margin=settings.margin, seed=settings.seed)
    (table, facts, _), right = rows_of(subject, edits, found, lesion)
    table = table.drop(columns=["edits", "tau", "draw"]).rename(columns={"blocks": "block"})
    table = table.assign(kind=kinds, **beside(edits, right))
    return Measured(table, {**facts, "against": against(kinds, right)})


def together(settings: ControlSettings, images: int) -> int:
    """Images that lend each other their branches."""
    from resnet_probe.engine.disturb import GROUP

    return GROUP


def disturbed_chain(
    chain: ResidualChain, settings: ControlSettings
) -> tuple[ResidualChain, list[Edit]]:
    """The chain with disturbances in the place of every branch, and the edits that run them."""
    from resnet_probe.edits import Edit
    from resnet_probe.engine.disturb import Disturbed

    values, edits = dict(chain.values), [Edit()]
    for block in chain.blocks:
        edits.append(Edit.delete(block.number))
        for control in settings.controls:
            if control == SIGN:
                edits.append(Edit.scale({block.number: -1.0}))
                continue
            twin = Disturbed(block.branch, control, seed=settings.seed, number=block.number)
            values[block.number, control] = twin
            edits.append(Edit.replace(block.number, control))
    return replace(chain, values=values), edits


def kind_of(edit: Edit) -> str:
    """baseline, delete, or the control."""
    if edit.kind == "scale":
        return SIGN
    return str(edit.changes[0].more) if edit.kind == "replace" else edit.kind


def beside(edits: Sequence[Edit], correct: np.ndarray) -> Arrays:
    """How much more each edit costs than deleting the same block, paired on the same images.

    From bool `[edits, images]`, or of several answers an image the share of each that is right.
    """
    deletion = {edit.blocks: row for row, edit in enumerate(edits) if edit.kind == DELETION}
    rows = np.array([deletion.get(edit.blocks, 0) for edit in edits])
    low, high = _between(correct[rows], correct)
    own = [edit.kind == DELETION or edit.edits == 0 for edit in edits]
    columns = {
        "beside_deletion_pct": 100.0 * (correct[rows].mean(1) - correct.mean(1)),
        "beside_deletion_low_pct": 100 * low,
        "beside_deletion_high_pct": 100 * high,
    }
    return {name: np.where(own, np.nan, values) for name, values in columns.items()}


def _between(first: np.ndarray, second: np.ndarray) -> tuple[Any, Any]:
    """The interval of how much more of the first is right than of the second, row by row."""
    if first.dtype == bool:
        more, fewer = (first & ~second).sum(1), (~first & second).sum(1)
        return paired_difference(more, fewer, first.shape[1])
    change = Moments.over(first - second, axis=1)
    return change.of_changes()


def against(kinds: Sequence[str], correct: np.ndarray) -> dict[str, list[float]]:
    """Of each control, the mean over blocks by which a deletion costs more, in points.

    With Student's interval over images, of each image's own mean over the blocks.
    """
    named = np.array(kinds)
    change = lost(correct)
    found = {}
    for kind in dict.fromkeys(named[2:]):
        if kind == DELETION:
            continue
        apart = change[named == DELETION].mean(0) - change[named == kind].mean(0)
        mean = Moments.over(100 * apart)
        low, high = mean.of_changes()
        found[str(kind)] = [float(mean.mean), float(low), float(high)]
    return found


STUDY = Study(
    "control",
    description="""\
Beside the deletion of each block, disturb its output by as much in another direction: along
another image's branch, along white noise, and by reversing the branch (twice as far).  If blocks
could be deleted because their residuals are small, all of them would be as mild.""",
    examples=("--arch resnet56", "--arch resnet110 --controls noise --limit 200"),
    settings=ControlSettings,
    fit=fit,
    sums=Summed(gather, of_answers, together),
    labels=("classes", "places", "numbers"),
)
control = STUDY.function(
    """The error after each deletion, and after disturbances of the same size, on the same images.

    A row is an edit of one `block`; `kind` is baseline, delete, or the control:

    other image: F(h) + the next image's branch, scaled to this image's ‖F(h)‖.  Images lend each
    other theirs in groups of 16, so that a batch holds whole groups, 16 images at least.
    noise: F(h) + white noise of that norm.  sign: −F(h), a move of 2 ‖F(h)‖.

    Columns as in `lesion`; `beside_deletion_pct` is how much more it costs than deleting the block,
    with the interval of Bonett & Price 2012 (of tokens, pixels or numbers,
    Student's).  The provenance's `against` has, for each control, by how much a deletion costs more
    in the mean over blocks, with Student's interval over images.

    Raises `ProbeError` for a plain network, one image alone, unknown controls, and data that do not
    fit."""
)
