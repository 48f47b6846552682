"""What flows through a network: the gradient back to each depth, each block's part forward.

Freeze what every ReLU lets pass.  Then the shortcuts carry each branch's output linearly to the
end, and the last state is the sum of what the stem and the branches put in:
x_L = x_l + Σ F (He et al. 2016, arXiv 1603.05027, equation 4), with shortcuts and masks in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from resnet_probe.settings import Settings, option
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain
    from resnet_probe.engine.images import Images

STEM, CONSTANTS = "stem", "constants"
FREE = ("identity", "parameter-free", "scaled")
"""Shortcuts without parameters, behind which nothing is left for constants."""


class Quantity(NamedTuple):
    """What a row of the table says, in which unit, after whom."""

    unit: str
    meaning: str
    source: str


QUANTITIES = {
    "gradient_log10": Quantity(
        "log10",
        "norm of the gradient of an image's cross-entropy at the block's input, beside that at the "
        "input of the last block",
        "He et al. 2015, arXiv 1512.03385, section 4.1; He et al. 2016, arXiv 1603.05027, "
        "equation 5",
    ),
    "state_share": Quantity(
        "share",
        "⟨c, x_L⟩/‖x_L‖², c what the shortcuts carry of F(h) to the last state x_L; stem, blocks "
        "and constants add up to 1",
        "He et al. 2016, arXiv 1603.05027, equation 4",
    ),
    "logit_share": Quantity(
        "share",
        "of the answer's logit beyond the mean of all logits, the part that F(h) puts in by the "
        "shortcuts and the head; they add up to 1",
        "as state_share",
    ),
    "falling_pct": Quantity(
        "% of elements",
        "elements of the state that are lower behind the block than before it; of blocks with an "
        "identity for a shortcut",
        "He et al. 2016, arXiv 1603.05027, section 4.1, of the order “ReLU before addition”",
    ),
}
"""By name; every value is a mean over images, its 95 % interval Student's over images."""


@dataclass(frozen=True, kw_only=True)
class FlowSettings(Settings):
    """Of which state of the network."""

    init: bool = option(
        False,
        "freshly initialised (by seed), batch-norm statistics those of the images",
        group="networks",
    )


def fit(subject: Subject, settings: FlowSettings) -> FlowSettings:
    from resnet_probe.studies.checks import check_gradients, check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    check_gradients(subject.chain)
    return settings


def measure(subject: Subject, settings: FlowSettings, run: Run) -> Measured:
    from resnet_probe.engine.memory import held_for_gradients, spans
    from resnet_probe.engine.observe import without_gradients
    from resnet_probe.engine.precision import full_precision
    from resnet_probe.engine.recalibrate import has_batch_norm, recalibrated

    chain, images, labels, _ = subject
    if settings.init and has_batch_norm(chain):
        chain = recalibrated(chain, images, memory=run.memory)
    frozen = chain.map(without_gradients)
    seen: list[Arrays] = []
    with full_precision(chain.device):
        held = held_for_gradients(frozen, partial(_step, frozen, images[:1], labels[:1], 0))
        for start, stop in spans(
            chain, images, states=1, memory=run.memory, asked=run.batch, held=held
        ):
            step = partial(_step, frozen, images[start:stop], labels[start:stop], start)
            seen.append(run.kept(f"{start}-{stop}", step))
            if run.progress is not None:
                run.progress(stop, len(images))
    whole = {name: np.concatenate([part[name] for part in seen]) for name in seen[0]}
    free = all(block.shortcut_kind in FREE for block in chain) if chain.residual else False
    return Measured(_table(chain, whole), {"free_shortcuts": free})


def _step(chain: ResidualChain, images: Images, labels: Tensor, start: int) -> Arrays:
    """By quantity `[images, blocks]`, or with stem and constants `[images, blocks + 2]`."""
    import torch

    images = images.to(chain.device)
    with torch.enable_grad():
        found = {"gradient_log10": gradients(chain, images, labels, start)}
        if chain.residual:
            found |= shares(chain, images, labels)
    return {name: values.detach().cpu().numpy() for name, values in found.items()}


def gradients(chain: ResidualChain, images: Tensor, labels: Tensor, start: int = 0) -> Tensor:
    """`[images, blocks]`: log10 of the gradient's norm at each block's input, over the last's."""
    import torch

    from resnet_probe.state import residual, watched
    from resnet_probe.studies.checks import check_finite
    from resnet_probe.studies.responses.passes import unit_gradient

    states = [watched(chain.stem(images))]
    for block in chain:
        states.append(block.run(states[-1]))
    logits = chain.head(states[-1])
    inputs = [residual(state) for state in states[:-1]]
    check_finite(logits, chain, start)
    found = torch.autograd.grad(logits, inputs, unit_gradient(logits, labels))
    logs = torch.stack([part.flatten(1).double().norm(dim=1).log10() for part in found], dim=1)
    return logs - logs[:, -1:]


def shares(chain: ResidualChain, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The parts that stem, branches and constants have in the last state and in the logits.

    One pass back along the shortcuts alone gives, for each branch, the direction in which its
    output counts at the end; its inner product with the output is its part.  What the stem makes
    beside the state, such as a U-Net's first skip, is part of the stem.
    """
    import torch

    from resnet_probe.engine.task import over_positions
    from resnet_probe.state import detached, residual, tensors_of, watched

    state = watched(chain.stem(images))
    parts, falling = [tuple(t for t in tensors_of(state) if t.requires_grad)], []
    for block in chain:
        h = residual(state)
        branch = block.branch(detached(state)).detach().requires_grad_()
        state = block.close(state, block.add(block.shortcut(state), branch))
        out = residual(state)
        same = block.shortcut_kind == "identity" and out.shape == h.shape
        none = torch.full((len(images),), torch.nan, dtype=torch.float64, device=images.device)
        falling.append(100 * (out < h).flatten(1).double().mean(1) if same else none)
        parts.append((branch,))
    logits, h = chain.head(state).double(), residual(state)
    lead = logits.amax(-1) - logits.mean(-1)
    if lead.dim() > 1:
        lead = over_positions(lead, labels.to(lead.device))
    size = (h.double() * h.detach().double()).flatten(1).sum(1)
    return {
        "state_share": _parts_of(size, parts),
        "logit_share": _parts_of(lead, parts),
        "falling_pct": torch.stack(falling, dim=1),
    }


def _parts_of(value: Tensor, parts: Sequence[tuple[Tensor, ...]]) -> Tensor:
    """`[images, parts + 1]`: each part's share of a value of each image; the last is the rest.

    A part is one tensor or several, of which some may not count at all.
    """
    import torch

    each = [tensor for part in parts for tensor in part]
    toward = iter(torch.autograd.grad(value.sum(), each, retain_graph=True, allow_unused=True))
    found = []
    for part in parts:
        pairs = [(p, t) for p, t in zip(part, toward, strict=False) if t is not None]
        sums = [(p.double() * t.double()).flatten(1).sum(1) for p, t in pairs]
        found.append(sum(sums, torch.zeros_like(value)))
    share = torch.stack(found, dim=1) / value.unsqueeze(1)
    return torch.cat([share, 1 - share.sum(1, keepdim=True)], dim=1).detach()


def _table(chain: ResidualChain, found: Arrays) -> pd.DataFrame:
    blocks = [(b.number, b.name, str(b.stage)) for b in chain]
    around = [(0, STEM, ""), *blocks, (len(chain) + 1, CONSTANTS, "")]
    rows = []
    for quantity, values in found.items():
        mean = Moments.over(values)
        low, high = mean.interval()
        centre = np.where(mean.count > 0, mean.mean, np.nan)
        places = blocks if values.shape[1] == len(blocks) else around
        rows += [
            {"quantity": quantity, "block": number, "name": name, "stage": stage, "value": value,
             "ci_low": down, "ci_high": up, "unit": QUANTITIES[quantity].unit,
             "images": len(values)}
            for (number, name, stage), value, down, up in zip(
                places, centre, low, high, strict=True)
        ]  # fmt: skip
    return pd.DataFrame(rows)


STUDY = Study(
    "flow",
    description="""\
Measure what flows: how large the gradient still is at each depth (of plain networks too), which
part each block has in the last state and in the answer's logit (x_L = x_l + Σ F, He et al. 2016,
arXiv 1603.05027, equation 4), and which share of the state falls from block to block.""",
    examples=(
        "--arch resnet56",
        "--arch plain20 --twin untrained",
        "--arch resnet56:order=relu_before --init",
    ),
    settings=FlowSettings,
    fit=fit,
    measure=measure,
    labels=("classes", "places"),
)
flow = STUDY.function(
    """What flows through a network on `images` `[n, …]` with `labels` `[n]`, forward and back.

    The table is in long form: `QUANTITIES` says what is measured, in which unit, and after whom;
    blocks are numbered from 1, 0 is the stem, and behind the last block stand the constants of the
    shortcuts and the head (biases, batch-norm shifts).  A plain network has gradients only.

    Raises `ProbeError` for one image alone, labels outside the head's classes, images of another
    shape than the chain's, weights that are not finite (by name), and a budget too small."""
)
