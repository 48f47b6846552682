"""How much of what a network says comes from single blocks, and how much from blocks together.

Each block is kept with the same chance, by itself, and the variance of the logits (or of the loss)
over all these networks is taken apart by order: what single blocks explain, what pairs explain
beyond them, and so on.  This is the Walsh–Hadamard spectrum for a chance of ½, and the functional
ANOVA for any other (Hoeffding 1948; Efron & Stein 1981, "The jackknife estimate of variance",
section 3).  If the blocks' contributions simply added up, all of it would be of order 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from resnet_probe.errors import ProbeError
from resnet_probe.settings import Settings, format_bytes, listed, numbers, option
from resnet_probe.stats import Floats, t_interval
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain
    from resnet_probe.edits import Edit

EXACT = 10
"""Gates up to which all networks are run: 1024 of them."""
GROUPS = 20
"""Of images, and of draws, for the jackknife."""
SAMPLED = 2
"""Orders that draws tell apart; the rest comes together."""
COLUMNS = (
    "keep", "order", "or_more", "value", "ci_low", "ci_high", "gates", "networks", "drawn",
    "images",
)  # fmt: skip
"""value: % of the variance over networks that is of this `order`, or of it and all higher ones
(`or_more`), where each gate is open with the chance `keep`.  The interval is a jackknife over
groups of images, and of draws where networks are `drawn`."""
Row = dict[str, Any]


def chances(text: str) -> tuple[float, ...]:
    """`0.5,0.9` as numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ProbeError(f"keep={text!r} are no chances: write for example 0.5,0.9") from None


def places(text: str) -> tuple[int, ...]:
    """`1-9` as numbers of blocks."""
    try:
        return numbers(text)
    except ProbeError as error:
        raise ProbeError(str(error).replace("counts=", "blocks=")) from None


@dataclass(frozen=True, kw_only=True)
class InteractionSettings(Settings):
    """Which gates are opened and closed, how often, and what is looked at."""

    what: str | None = option(
        None,
        "whose variance is taken apart (default: logits; of tokens, pixels and numbers, loss)",
        choices=("logits", "loss"),
    )
    blocks: tuple[int, ...] | None = option(
        None,
        f"those with gates, the others are kept (default: all); up to {EXACT} are exact",
        read=places,
        write=listed,
        metavar="1-9",
    )
    keep: tuple[float, ...] = option(
        (0.5, 0.9),
        "the chance of each of them to be kept: 0.5 is every network alike, near 1 is near the "
        "whole one (default: 0.5,0.9)",
        read=chances,
        write=listed,
        metavar="P,P",
    )
    draws: int = option(
        300, f"networks of each chance, for more than {EXACT} gates (default: 300)", metavar="N"
    )
    seed: int = option(0, "of all random draws (default: 0)", least=0, metavar="N", group="run")

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [p for p in self.keep if not 0 < p < 1]
        if wrong or not self.keep:
            found = f"{wrong[0]:g}" if wrong else "none"
            raise ProbeError(f"keep= takes chances between 0 and 1, found {found}")
        if self.draws < 2 * GROUPS:
            raise ProbeError(
                f"draws={self.draws}: at least {2 * GROUPS} are needed, for {GROUPS} groups of two"
            )


def gates_of(chain: ResidualChain, settings: InteractionSettings) -> tuple[int, ...]:
    """The blocks with gates; raises `ProbeError` for those that there are not, and fewer than 2."""
    asked = settings.blocks or tuple(block.number for block in chain)
    for number in asked:
        chain.block(number)
    if len(asked) < 2:
        raise ProbeError(
            f"{len(asked)} {chain.unit} with a gate has nothing to interact with: at least 2"
        )
    return asked


def fit(subject: Subject, settings: InteractionSettings) -> InteractionSettings:
    from resnet_probe.engine.task import kind_of
    from resnet_probe.studies.checks import check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    gates_of(subject.chain, settings)
    single = kind_of(subject.labels) == "classes"
    if settings.what == "logits" and not single:
        raise ProbeError("what='logits' is of one class an image: give what='loss'")
    return replace(settings, what=settings.what or ("logits" if single else "loss"))


def gather(subject: Subject, settings: InteractionSettings, run: Run) -> Arrays:
    """What every network gives, `value` `[networks, numbers, n]`."""
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.studies.outcomes import outcomes

    chain, images, labels, _ = subject
    edits = [edit for _, edit in networks(chain, settings)]
    width = chain.classes if settings.what == "logits" else 1
    needs = 12 * len(edits) * len(images) * width
    if needs > run.memory:
        raise ProbeError(
            f"the {settings.what} of {len(edits):,} networks for {len(images):,} images take "
            f"{format_bytes(needs)}, more than memory={format_bytes(run.memory)}: give fewer "
            "images (limit=), what='loss', or more memory"
        )
    sweep = Sweep(chain, batch=run.batch, memory=run.memory)
    judge, apart = partial(_values, settings.what), settings.what == "loss"
    return outcomes(sweep, edits, images, labels, judge, run, apart=apart)


def networks(chain: ResidualChain, settings: InteractionSettings) -> list[tuple[Floats, Edit]]:
    """Gates `[gates]`, 1 open, with the edit: all of them, or the draws of each chance in turn."""
    from torch import rand

    from resnet_probe.edits import Edit, generator_for

    gates = gates_of(chain, settings)
    if len(gates) <= EXACT:
        drawn = [np.array(each, float) for each in product((0, 1), repeat=len(gates))]
    else:
        drawn = [
            (rand(len(gates), generator=generator_for(settings.seed, "gates", p, draw)) < p)
            .double().numpy()
            for p in settings.keep
            for draw in range(settings.draws)
        ]  # fmt: skip
    closed = ([b for b, is_open in zip(gates, each, strict=True) if not is_open] for each in drawn)
    return [(each, Edit.delete(*some)) for each, some in zip(drawn, closed, strict=True)]


def _values(what: str | None, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Logits less their mean over classes, which no answer depends on, or the loss."""
    from torch import stack

    from resnet_probe.engine.task import losses

    if what == "loss":
        return {"value": stack([losses(one.double(), labels) for one in logits])[:, None].float()}
    centred = logits.double().flatten(2) - logits.double().flatten(2).mean(2, keepdim=True)
    return {"value": centred.transpose(1, 2).float()}


def tabulate(subject: Subject, settings: InteractionSettings, found: Arrays) -> Measured:
    gates = gates_of(subject.chain, settings)
    values, drawn = found["value"], len(gates) > EXACT
    rows: list[Row] = []
    for place, keep in enumerate(settings.keep):
        if drawn:
            mine = slice(place * settings.draws, (place + 1) * settings.draws)
            opened = np.array([each for each, _ in networks(subject.chain, settings)[mine]])
            rows += _rows(keep, *sampled_shares(values[mine], opened, keep))
        else:
            rows += _rows(keep, *exact_shares(values, len(gates), keep))
    made = {"gates": len(gates), "networks": settings.draws if drawn else 2 ** len(gates)}
    table = pd.DataFrame(rows).assign(**made, drawn=drawn, images=values.shape[2])
    return Measured(table.reindex(columns=list(COLUMNS)), {"gates": list(gates)})


def _rows(keep: float, value: Floats, error: Floats, more: bool) -> Iterator[Row]:
    low, high = t_interval(value, error, GROUPS)
    for place in range(len(value)):
        yield {
            "keep": keep, "order": place + 1, "or_more": more and place == len(value) - 1,
            "value": 100 * value[place], "ci_low": 100 * low[place], "ci_high": 100 * high[place],
        }  # fmt: skip


def exact_shares(values: np.ndarray, gates: int, keep: float) -> tuple[Floats, Floats, bool]:
    """Shares of variance of orders 1 … gates, and their standard errors over images."""
    power = power_by_order(values, gates, keep)[1:]
    groups = _by_group(power)
    return _share(groups.sum(0)), _error(groups.sum(0) - groups), False


def power_by_order(values: np.ndarray, gates: int, keep: float) -> Floats:
    """Of values `[2^gates, numbers, n]`, first gate slowest: variance by order `[gates + 1, n]`.

    Order 0 is the square of the mean.  The variance over networks is the sum of the others.
    """
    rest = values.astype(np.float64).reshape(*[2] * gates, *values.shape[1:])
    for axis in range(gates):
        closed, opened = np.take(rest, 0, axis), np.take(rest, 1, axis)
        mean = (1 - keep) * closed + keep * opened
        rest = np.stack([mean, np.sqrt(keep * (1 - keep)) * (opened - closed)], axis)
    squares = np.square(rest.reshape(values.shape)).sum(1)
    order = np.array([bin(index).count("1") for index in range(2**gates)])
    return np.stack([squares[order == k].sum(0) for k in range(gates + 1)])


def sampled_shares(values: np.ndarray, opened: Floats, keep: float) -> tuple[Floats, Floats, bool]:
    """Shares of orders 1, 2, and of the rest, from drawn networks `[draws, numbers, n]`.

    Every two networks estimate each order's part without bias, with the kernel Σ Π φ(g)φ(g′) over
    the sets of that many gates; the bias of the division is taken off by the jackknife over groups
    of draws.  The error is that over groups of images and that over groups of draws, their squares
    added.
    """
    centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    member = np.arange(values.shape[2]) % min(GROUPS, values.shape[2])
    grams = np.stack([_gram(centred[:, :, member == group]) for group in range(member.max() + 1)])
    whole, kernels = grams.sum(0), _kernels(opened, keep)
    over_images = np.stack([_parts(whole - one, kernels) for one in grams])
    draw = np.arange(len(values)) % GROUPS
    over_draws = []
    for group in range(GROUPS):
        kept = np.flatnonzero(draw != group)
        some = np.ix_(kept, kept)
        over_draws.append(_parts(whole[some], [kernel[some] for kernel in kernels]))
    without = np.stack(over_draws)
    share = _share(_parts(whole, kernels))
    share = GROUPS * share - (GROUPS - 1) * _share(without).mean(0)
    return share, np.hypot(_error(over_images), _error(without)), True


def _gram(values: Floats) -> Floats:
    flat = values.reshape(len(values), -1)
    return flat @ flat.T


def _kernels(opened: Floats, keep: float) -> list[Floats]:
    """Of every two networks: the elementary symmetric polynomials of orders 1 and 2."""
    ratio = np.sqrt((1 - keep) / keep)
    phi = np.where(opened > 0, ratio, -1 / ratio)
    first = phi @ phi.T
    return [first, (first**2 - (phi**2) @ (phi**2).T) / 2]


def _parts(gram: Floats, kernels: Sequence[Floats]) -> Floats:
    """Variance of order 1, of order 2, and the rest of the whole, of values less their mean.

    That the mean is that of the same draws takes 2/M − 2/M² off each order.
    """
    count, own = len(gram), np.trace(gram)
    total = (own - gram.sum() / count) / (count - 1)
    left = 1 - 2 / count + 2 / count**2
    found = [
        ((kernel * gram).sum() - (np.diag(kernel) * np.diag(gram)).sum())
        / (left * count * (count - 1))
        for kernel in kernels
    ]
    return np.array([*found, total - sum(found)])


def _by_group(power: Floats) -> Floats:
    """`[orders, n]` added up by group of images, `[groups, orders]`."""
    number = min(GROUPS, power.shape[1])
    found = np.zeros((number, len(power)))
    np.add.at(found, np.arange(power.shape[1]) % number, power.T)
    return found


def _share(parts: Floats) -> Floats:
    """Each order's share, along the last axis; NaN where nothing varies."""
    total = parts.sum(-1, keepdims=True)
    return np.asarray(parts / np.where(total > 0, total, np.nan))


def _error(without: Floats) -> Floats:
    """The jackknife's standard error of the shares, from parts `[groups, orders]` without each."""
    shares, groups = _share(without), len(without)
    apart = ((shares - shares.mean(0)) ** 2).sum(0)
    return np.asarray(np.sqrt(apart * (groups - 1) / groups))


STUDY = Study(
    "interactions",
    description="""\
Keep each block by chance, and take the variance of the logits over these networks apart by order:
how much single blocks explain, how much pairs beyond them, and so on.  For independent blocks all
of it is of order 1.  Exact for ten gates or fewer (1024 networks), else from random draws.""",
    examples=(
        "--arch resnet20",
        "--arch resnet110 --blocks 37-46",
        "--arch resnet110 --keep 0.95 --draws 500 --limit 64",
    ),
    settings=InteractionSettings,
    fit=fit,
    sums=Summed(gather, tabulate),
    limit=128,
    labels=("classes", "places", "numbers"),
)
interactions = STUDY.function(
    """The variance over networks without some blocks, by order, on `images` `[n, …]`.

    Each block with a gate is kept with the chance `keep`; the variance of each image's logits (less
    their mean over classes) or loss over these networks is the sum of the parts of all orders, and
    the share of order 1 is R² of the best additive model of the gates.  The shares are those of
    the sums over images.  `COLUMNS` says what the table holds.

    Raises `ProbeError` for blocks out of range, fewer than two gates, chances outside 0 to 1, too
    few draws, outputs beyond the memory, one image alone, and data that do not fit."""
)
