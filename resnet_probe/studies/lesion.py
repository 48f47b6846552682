"""Accuracy after deleting, permuting and duplicating blocks (Veit et al. 2016, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from resnet_probe.edits import GRAMMAR, Edit, given, read
from resnet_probe.errors import ProbeError
from resnet_probe.settings import Settings, listed, numbers, option, taus
from resnet_probe.stats import equivalent, mcnemar, paired_difference, wilson
from resnet_probe.stats.bootstrap import median_of_edits
from resnet_probe.stats.moments import Moments
from resnet_probe.stats.simultaneous import SignFlips
from resnet_probe.studies import calibration, classes
from resnet_probe.studies.scores import Given, judged, metric_for, name_of, tabulate_by, valued
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed
from resnet_probe.studies.sweeps import SWEEPS, by_kind, made

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualBlock, ResidualChain
    from resnet_probe.engine.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class LesionSettings(Settings):
    """Which edits are made, and how they are run."""

    edit: str = option(
        "delete",
        "what is done to blocks (default: delete); delete, permute and duplicate are random draws "
        "(delete without counts: every block once), the others lists that papers make: ranges, "
        "neighbours (swapped), cut (the shortcut left out), replace (the branch by each value), "
        "and to the middle blocks of every stage, ever more of them, skip, reverse, shuffle, "
        "repeat, parallel, looped, or all of these: middles",
        choices=("delete", "permute", "duplicate", *SWEEPS),
        metavar="EDIT",
    )
    edits: tuple[Edit, ...] | None = option(
        None,
        f"a list instead, or files that hold one edit a line: {GRAMMAR}",
        read=read,
        write=str,
        several=True,
        metavar="EDIT",
    )
    counts: tuple[int, ...] | None = option(
        None,
        "how many random edits at once (default: delete every block once; permute and duplicate "
        "1-20)",
        read=numbers,
        write=listed,
        metavar="1-20",
    )
    draws: int = option(60, "random draws for each count or τ (default: 60)", metavar="N")
    tau: tuple[float, ...] | None = option(
        None,
        "permute to these values of Kendall's τ instead of counting swaps",
        read=taus,
        write=listed,
        metavar="FROM:TO:STEP",
    )
    seed: int = option(0, "of all random draws (default: 0)", least=0, metavar="N", group="run")
    unit: str = option(
        "block",
        "edit single blocks, or whole layers: the attention and the MLP of a transformer's layer "
        "together, or each branch of a sum of several, which needs level=branch (default: block)",
        choices=("block", "layer", "branch"),
    )
    margin: float = option(
        0.5,
        "points of error: a change that is shown to be smaller is harmless (default: 0.5)",
        metavar="POINTS",
    )
    precision: float | None = option(
        None,
        "points of error: take images in random order, and each edit until its change is known to "
        "± so many points, or which side of 0 and of the margin it lies on (default: all images)",
        metavar="POINTS",
    )
    metric: Given = option(
        None,
        "accuracy, auc, iou or mse; in Python also a function of logits and labels that gives each "
        "image a share from 0 to 1 (default: accuracy, and mse of numbers)",
        metavar="NAME",
    )
    by: str | None = option(
        None,
        "class: a row for each edit and class, which classes a block serves (default: all images "
        "together)",
        choices=("class",),
    )
    exact: bool = option(
        False,
        "run the network's own modules, nothing folded: the arithmetic of the plain loop",
        group="run",
    )

    def __post_init__(self) -> None:
        if self.edits is not None:
            object.__setattr__(self, "edits", given(self.edits))
        super().__post_init__()
        self._check_list()
        if not 0 < self.margin <= 100:
            raise ProbeError(
                f"margin={self.margin:g} is no margin of equivalence: give points of error above 0 "
                "and at most 100"
            )

    @property
    def listed(self) -> bool:
        """Whether the edits are a list, given or named, and no random draws."""
        return self.edits is not None or self.edit in SWEEPS

    def _check_list(self) -> None:
        if self.edits == ():
            raise ProbeError("edits= is empty: give some, such as 'delete 3 7'")
        if self.edits is not None and self.edit != "delete":
            raise ProbeError(f"edits= is a list of its own: leave out edit={self.edit}")
        if not self.listed:
            return
        what = "edits= is a list" if self.edits else f"edit={self.edit} is a list"
        for name, usual in (("counts", None), ("tau", None), ("unit", "block")):
            if getattr(self, name) != usual:
                raise ProbeError(f"{what} of edits of blocks: leave out {name}=")
        if self.draws < 1:
            raise ProbeError(f"{self.draws} draws are none: ask for at least 1")

    @property
    def values(self) -> dict[str, Any]:
        """By name, in order; a function of the user's own by its name."""
        return {**super().values, "metric": name_of(self.metric)}


def title_of(settings: LesionSettings) -> str:
    """lesion, lesion-counts, lesion-permute(-tau), lesion-duplicate; lesion-edits; of a list that
    has a name lesion-NAME, such as lesion-ranges; by class lesion-classes."""
    if settings.by is not None:
        return "lesion-classes"
    if settings.edits is not None:
        return "lesion-edits"
    kind = "lesion" if settings.edit == "delete" else f"lesion-{settings.edit}"
    if settings.edit == "delete" and settings.counts is not None:
        kind += "-counts"
    return kind + ("-tau" if settings.tau is not None else "")


def edits_of(chain: ResidualChain, settings: LesionSettings) -> list[Edit]:
    """The baseline, then the edits; raises `ProbeError` for those that cannot be made."""
    from resnet_probe.studies.plan import plan

    if settings.listed:
        return [edit for _, edit in made(chain, settings)]
    names = ("edit", "counts", "draws", "tau", "seed", "unit")
    return plan(chain, **{name: getattr(settings, name) for name in names})


def fit(subject: Subject, settings: LesionSettings) -> LesionSettings:
    edits = edits_of(subject.chain, settings)
    calibration.check(subject, edits)
    if settings.by is not None:
        classes.check(subject, settings)
    if (metric := metric_for(subject, settings.metric)) is not None:
        _check_alone(metric.name, subject, settings)
    images, asked = len(subject.images), settings.precision
    if asked is None:
        return settings
    if not 100 / images <= asked <= 100:
        raise ProbeError(
            f"precision={asked:g} points cannot be reached with {images:,} images, of which one is "
            f"{100 / images:.3g} points: give {100 / images:.3g} to 100"
        )
    if subject.training is not None:
        raise ProbeError("precision= and recalibrate= are two studies: give one of them")
    return settings


def _check_alone(metric: str, subject: Subject, settings: LesionSettings) -> None:
    for name, asked in (("precision", settings.precision), ("recalibrate", subject.training)):
        if asked is not None:
            raise ProbeError(
                f"{name}= counts images that are right or wrong, and {metric} is a share of each: "
                "leave it out"
            )


def gather(subject: Subject, settings: LesionSettings, run: Run) -> Arrays:
    """What every edited network answers, and with `renewed` before it, with renewed statistics."""
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.studies.recalibration import recalibrated_outcomes

    chain, edits = subject.chain, edits_of(subject.chain, settings)
    sweep = Sweep(chain, batch=run.batch, memory=run.memory, exact=settings.exact)
    calibration.in_whole_groups(sweep, edits, subject)
    metric = metric_for(subject, settings.metric)
    found = judged(sweep, edits, subject, run, metric=metric)
    if subject.training is None:
        return found
    own = recalibrated_outcomes(chain, edits, subject, run, exact=settings.exact)
    return {**found, "renewed": own}


def of_answers(subject: Subject, settings: LesionSettings, found: Arrays) -> Measured:
    from resnet_probe.studies.recalibration import side_by_side

    chain = subject.chain
    edits, truth = edits_of(chain, settings), subject.labels.cpu().numpy()
    (table, of_metric, kept), correct = rows_of(subject, edits, found, settings)
    facts = {"unit": settings.unit, **of_metric}
    if table["edits"].max() <= 1 < len(edits) > 2 and len(truth) > 1:
        facts["median_delta_pct"] = median_change(correct, settings.seed)
    if of_metric:
        return Measured(table, facts, kept)
    facts["near_ties"] = int(found["sum.near_ties"].sum())
    if "renewed" in found:
        own = found["renewed"]
        table = side_by_side(table, correct, own)
        kept["recalibrated_correct"] = own
        if "median_delta_pct" in facts:
            facts["recalibrated_median_delta_pct"] = median_change(own, settings.seed)
        facts["recalibration_branch_runs"] = runs_of(chain, edits)
    if settings.listed:
        table = _named(table, chain, settings)
        facts |= by_kind(list(table["kind"]), correct, found["loss"])
    if settings.by is not None:
        table = classes.by_class(table, correct, truth)
    return Measured(table, facts, kept)


def runs_of(chain: ResidualChain, edits: Sequence[Edit]) -> list[int]:
    """Branches that renewing the statistics of all edited networks evaluates for one batch.

    With what begins alike run once, and one network after another.
    """
    from resnet_probe.engine.sweep import PrefixTree, plain_runs

    return [PrefixTree.of(edits, chain).branch_runs, plain_runs(edits, chain)]


def _named(table: pd.DataFrame, chain: ResidualChain, settings: LesionSettings) -> pd.DataFrame:
    """Edits of a list by what they are called, and by their texts."""
    names, edits = zip(*made(chain, settings), strict=True)
    return table.assign(kind=list(names), edit=list(map(str, edits)))


def hindered(settings: LesionSettings) -> str:
    if settings.precision is not None:
        return "precision= stops an edit by what all images have said so far"
    some = settings.edits or ()
    if settings.edit == "replace" or any(edit.values for edit in some):
        return "what replaces a branch is fitted once, for all images"
    return ""


SUMS = Summed(gather, of_answers, hindered=hindered)


def measure(subject: Subject, settings: LesionSettings, run: Run) -> Measured:
    from resnet_probe.engine.sweep import Sweep

    edits = edits_of(subject.chain, settings)
    chain, values = calibration.with_values(subject, edits, settings.seed, run)
    ready = replace(subject, chain=chain)
    if settings.precision is None:
        return calibration.kept(SUMS(ready, settings, run), values)
    sweep = Sweep(chain, batch=run.batch, memory=run.memory, exact=settings.exact)
    calibration.in_whole_groups(sweep, edits, ready)
    found = _until_decided(sweep, edits, ready, settings, run)
    if settings.listed:
        found = found._replace(table=_named(found.table, chain, settings))
    return calibration.kept(found, values)


def _until_decided(
    sweep: Sweep, edits: Sequence[Edit], subject: Subject, settings: LesionSettings, run: Run
) -> Measured:
    """The table of edits that stopped when they were decided, each on the images it was run on."""
    from resnet_probe.engine.sweep import PrefixTree
    from resnet_probe.studies.stopping import UNSEEN, until_decided

    chain, images, labels, _ = subject
    assert settings.precision is not None
    seen, order = until_decided(
        sweep, edits, images, labels, run,
        precision=settings.precision / 100, margin=settings.margin / 100, seed=settings.seed,
    )  # fmt: skip
    truth = labels.cpu().numpy()[order]
    used = (seen.answer != UNSEEN).sum(axis=1)
    low, high = 100 * np.array(seen.sequence.interval)
    rows = []
    for index, count in enumerate(used):
        both = [0, index] if index else [0]
        part = {"answer": seen.answer[both, :count], "loss": seen.loss[both, :count]}
        part |= {name: total[both] for name, total in seen.sums.items()}
        correct = part["answer"] == truth[:count]
        rows.append(tabulate(chain, [edits[i] for i in both], correct, part, settings).iloc[-1:])
    table = pd.concat(rows, ignore_index=True)
    gap = [np.nan]
    table = table.assign(
        delta_low_pct=[*gap, *low], delta_high_pct=[*gap, *high],
        inside_margin=[*gap, *((low > -settings.margin) & (high < settings.margin)).astype(float)],
        stopped=["", *seen.reason[1:]],
        **dict.fromkeys(("joint_low_pct", "joint_high_pct", "joint_p_value",
                         "joint_inside_margin"), np.nan),
    ).drop(columns=["kl_from_whole", "margin_drop", "near_ties"])  # fmt: skip
    every = PrefixTree.of(edits, chain).branch_runs * len(images)
    facts = {"unit": settings.unit, "branch_runs": seen.branch_runs, "branch_runs_of_all": every}
    kept = {"answer": seen.answer, "loss": seen.loss.astype(np.float16), "labels": truth}
    return Measured(table, facts, {**kept, "order": order})


def lost(correct: np.ndarray) -> np.ndarray:
    """Of bool `[edits, images]`: 1 where only the first row is right, −1 where only the other.

    Of shares that are right, how much less of each image is than in the first row.
    """
    shares = correct.astype(np.int8) if correct.dtype == bool else correct
    return shares[:1] - shares


def median_change(correct: np.ndarray, seed: int = 0) -> list[float]:
    """The median over these edits of the change in error, in points, and its 95 % interval.

    The interval is over images, the edits staying as they are.
    """
    return [100 * end for end in median_of_edits(lost(correct)[1:], seed=seed)]


def rows_of(
    subject: Subject, edits: Sequence[Edit], found: Arrays, settings: LesionSettings
) -> tuple[Measured, np.ndarray]:
    """A row an edit from what all of them answered (`scores.judged`), and what is right of it.

    `[edits, images]`: bool of one class an image, else the share that is right of each.
    """
    chain, labels = subject.chain, subject.labels.cpu().numpy()
    metric = metric_for(subject, settings.metric)
    if metric is not None:
        _, shares = valued(metric, found, len(edits))
        return tabulate_by(metric, described(chain, edits), subject, settings, found), shares
    correct = found["answer"] == labels
    table = tabulate(chain, edits, correct, found, settings)
    kept = {"answer": found["answer"], "loss": found["loss"].astype(np.float16), "labels": labels}
    return Measured(table, {}, kept), correct


def tabulate(
    chain: ResidualChain,
    edits: Sequence[Edit],
    correct: np.ndarray,
    found: Arrays,
    settings: LesionSettings,
) -> pd.DataFrame:
    """One row an edit from `correct`, bool `[edits, images]`, whose first row is the baseline."""
    right, images = correct.sum(axis=1), correct.shape[1]
    low, high = wilson(right, images)
    error = 100 * (1 - right / images)
    only_baseline = (correct[0] & ~correct).sum(axis=1)
    only_edited = (~correct[0] & correct).sum(axis=1)
    table = pd.DataFrame([_describe(chain, edit) for edit in edits]).assign(
        seed=settings.seed,
        tau=[np.nan if edit.tau is None else edit.tau for edit in edits],
        correct=right,
        images=images,
        error_pct=error,
        delta_pct=error - error[0],
        ci_low_pct=100 * (1 - high),
        ci_high_pct=100 * (1 - low),
        p_value=mcnemar(only_baseline, only_edited),
        lost=only_baseline,
        gained=only_edited,
    )
    if "sum.top5_correct" in found:
        top = 100 * (1 - found["sum.top5_correct"] / images)
        table = table.assign(
            top5_correct=found["sum.top5_correct"], top5_error_pct=top, top5_delta_pct=top - top[0]
        )
    table = table.assign(near_ties=found["sum.near_ties"], **_losses(found, images))
    return table.assign(**_differences(correct, only_baseline, only_edited, settings))


def _losses(found: Arrays, images: int) -> dict[str, np.ndarray]:
    """Cross-entropy, its change with Student's interval over images, and what else changes."""
    loss = found["loss"].astype(np.float64)
    change = Moments.over(loss - loss[:1], axis=1)
    low, high = change.interval()
    apart = (found["answer"] != found["answer"][0]).sum(axis=1)
    margin = found["sum.margin"] / images
    return {
        "loss": loss.mean(axis=1),
        "delta_loss": change.mean,
        "delta_loss_low": low,
        "delta_loss_high": high,
        "kl_from_whole": found["sum.kl"] / images,
        "changed_pct": 100 * apart / images,
        "margin_drop": margin[0] - margin,
    }


def _differences(
    correct: np.ndarray, lost_images: np.ndarray, gained: np.ndarray, settings: LesionSettings
) -> dict[str, np.ndarray]:
    """The paired interval of the change in error and whether it is inside the margin.

    Edit by edit, and so that all edits hold together; the baseline has none of it.
    """
    images, margin = correct.shape[1], settings.margin / 100
    low, high = paired_difference(lost_images, gained, images)
    found = {
        "delta_low_pct": 100 * low,
        "delta_high_pct": 100 * high,
        "inside_margin": equivalent(lost_images, gained, images, margin).astype(float),
    }
    joint = np.full((4, len(correct)), np.nan)
    if images > 1 and len(correct) > 1:
        flips = SignFlips.of(lost(correct)[1:], seed=settings.seed)
        joint[:2, 1:] = 100 * np.clip(flips.interval(), -1, 1)
        joint[2, 1:], joint[3, 1:] = flips.p_values(), flips.inside(margin)
    for name, values in found.items():
        found[name] = np.concatenate([[np.nan], values[1:]])
    names = ("joint_low_pct", "joint_high_pct", "joint_p_value", "joint_inside_margin")
    return {**found, **dict(zip(names, joint, strict=True))}


def described(chain: ResidualChain, edits: Sequence[Edit]) -> pd.DataFrame:
    """A row for each edit: what it is, of which blocks."""
    tau = [np.nan if edit.tau is None else edit.tau for edit in edits]
    return pd.DataFrame([_describe(chain, edit) for edit in edits]).assign(tau=tau)


def _describe(chain: ResidualChain, edit: Edit) -> dict[str, Any]:
    moved = edit.kind in ("permute", "mixed")
    touched = [] if moved else [int(b) for b in edit.blocks.split()]
    blocks = [chain.block(b) for b in touched]
    return {
        "kind": edit.kind,
        "edits": edit.edits,
        "blocks": edit.blocks,
        "names": " ".join(block.name for block in blocks),
        "stage": " ".join(_stages(edit, blocks)),
        "shortcut": "; ".join(dict.fromkeys(block.shortcut_kind for block in blocks)),
        "draw": edit.draw,
    }


def _stages(edit: Edit, blocks: Sequence[ResidualBlock]) -> list[str]:
    """One a block; of a layer's blocks, which lie in one stage, it is said once."""
    stages = [str(block.stage) for block in blocks]
    return list(dict.fromkeys(stages)) if edit.edits == 1 else stages


STUDY = Study(
    "lesion",
    description="""\
Delete the blocks of a trained network one at a time, several at once, or put them in another
order, and measure its error after each edit (Veit, Wilber, Belongie 2016, arXiv 1605.06431).
A deleted block keeps its shortcut, with its projection.""",
    examples=(
        "--arch resnet110",
        "--arch resnet110 --counts 1-20 --draws 60",
        "--arch resnet110 --edit permute --tau 1.0:0.7:0.05",
        "--arch resnet56 --weights resnet56.th --normalize imagenet --data parquet:test.parquet",
    ),
    settings=LesionSettings,
    fit=fit,
    measure=measure,
    edits=edits_of,
    sums=SUMS,
    title=title_of,
    training=True,
    compared=("veit2016",),
    labels=("classes", "places", "numbers"),
)
lesion = STUDY.function(
    """The error of the chain after each edit, on `images` `[n, …]` with `labels` `[n]`.

    A row of the table is an edit, the first one the baseline.  Errors, and the 95 % Wilson interval
    `ci_…`, are in percent.  Everything else is paired with the baseline on the same images:
    `delta_pct`, the change in error in points, with the interval of Bonett & Price 2012
    (`delta_low_pct`, `delta_high_pct`), from the `lost` images, which only the baseline has right,
    and those `gained`, which only the edited network has; `p_value`, McNemar's, exact; and
    `inside_margin`, 1 where two one-sided tests show a change of less than `margin` points.  These
    hold edit by edit; those that begin with `joint_` hold for all edits together (joint sign flips,
    Romano & Wolf 2005).  Of these the interval is the more careful: where few images change,
    `joint_p_value` may be below 0.05 beside an interval that holds 0.  Verdicts go by intervals.
    Beside the error: `loss`, the mean cross-entropy in nats, its change with Student's interval,
    `kl_from_whole`, the mean Kullback–Leibler divergence of the edited network's distribution from
    the whole one's, `changed_pct`, images whose predicted class changes, and `margin_drop`, by how
    many logits the true class's lead shrinks.  `near_ties` counts images whose two best logits
    rounding alone may exchange; `top5_correct`, with 100 classes or more, those whose class is
    among the five best.  With `recalibrate=` `[m, …]`, training images, every edit is measured once
    more with batch-norm statistics re-estimated on them: the columns of
    `recalibration.side_by_side`.  `result.outcomes` has every image's answer and loss, and with
    re-estimated statistics `recalibrated_correct`.  A `journal=` keeps what is finished.

    Raises `ProbeError` for options out of range, labels outside the head's classes, images of
    another shape than the chain's, logits that are not finite, and what `recalibrated` refuses."""
)
