"""What stands in for a branch: values fitted on calibration images, and the modules that give them.

One pass over the images, with the network whole, gathers what means and linear maps need.  The
constant that loses least (optimal ablation: Li & Janson 2024, arXiv 2409.09951) begins at the mean
and is trained on three quarters of the images; of its steps the one with the least loss on the
other quarter is kept, so that it never does worse than the mean there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.edits import generator_for
from resnet_probe.engine.disturb import GROUP
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import footprint, format_bytes, scratch
from resnet_probe.engine.observe import without_gradients
from resnet_probe.engine.precision import full_precision
from resnet_probe.errors import ProbeError
from resnet_probe.state import AnyState, residual

Wanted = Iterable[tuple[int, str]]
"""Block numbers and the names of values."""
BATCH = 32
STEPS, LOOK = 24, 8
"""Steps of the search for a constant, and how many lie between two looks at its loss."""
PACE = 0.3
"""Its first step, in standard deviations of the branch's output."""
RIDGE = 1e-4
"""Of a linear map, in units of the mean variance of what it reads."""
EXPLAINED = "explained"
"""Of a linear map: the share of the branch's variance that it explains on the held-out images."""


class Constant(nn.Module):
    """The same value `[1, …]` for every image; with `[GROUP, …]` one after another, in turn.

    Image i of a batch gets value i modulo `GROUP`, so batches hold whole groups.
    """

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, h: AnyState) -> Tensor:
        value: Tensor = self.value  # type: ignore[assignment]
        return value[torch.arange(len(residual(h)), device=value.device) % len(value)]


class Linear(nn.Module):
    """A linear map of the state's channels, the same at every place; `stride` skips places."""

    def __init__(self, weight: Tensor, bias: Tensor, axis: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.axis, self.strides = axis, strides

    def forward(self, h: AnyState) -> Tensor:
        weight, bias = self.weight, self.bias
        read = strided(residual(h), self.axis, self.strides).movedim(self.axis, -1)
        return F.linear(read, weight, bias).movedim(-1, self.axis)  # type: ignore[arg-type]


def channel_axis(shape: tuple[int, ...]) -> int:
    """Where the channels of a batch of such states are: `(c, h, w)`, `(h, w, c)`, `(t, c)`, `(c,)`.

    Of three sizes the last is the channels' only where the first two are equal and it is not.
    """
    last = len(shape) == 3 and shape[0] == shape[1] != shape[2]
    return 1 if len(shape) == 3 and not last else len(shape)


def strides_of(block: ResidualBlock) -> tuple[int, ...] | None:
    """Of each axis but the batch and the channels, how many places of the state one of the
    branch's output stands for; None where that is no whole number."""
    axis = channel_axis(block.out_shape)
    if len(block.in_shape) != len(block.out_shape):
        return None
    pairs = [
        pair for place, pair in enumerate(zip(block.in_shape, block.out_shape, strict=True), 1)
        if place != axis
    ]  # fmt: skip
    if any(given % made for given, made in pairs):
        return None
    return tuple(given // made for given, made in pairs)


def strided(h: Tensor, axis: int, strides: tuple[int, ...]) -> Tensor:
    steps = list(strides)
    steps.insert(axis - 1, 1)
    return h[(slice(None), *(slice(None, None, step) for step in steps))]


@dataclass(eq=False)
class Sums:
    """Of what a linear map reads and gives, with a one beside it: sums of products in float64."""

    products: Tensor
    mixed: Tensor
    squares: float = 0.0

    @classmethod
    def of(cls, read: int, given: int) -> Sums:
        return cls(
            torch.zeros(read + 1, read + 1, dtype=torch.float64),
            torch.zeros(read + 1, given, dtype=torch.float64),
        )

    def add(self, x: Tensor, y: Tensor) -> None:
        """Rows `[places, channels]`."""
        ones = torch.ones(len(x), 1, dtype=torch.float64)
        x, y = torch.cat([x.double().cpu(), ones], 1), y.double().cpu()
        self.products += x.T @ x
        self.mixed += x.T @ y
        self.squares += float((y * y).sum())

    def solved(self) -> Tensor:
        """The weights `[read + 1, given]` of ridge regression; the last row, the bias, is free."""
        count = self.products[-1, -1]
        mean = self.products[:-1, -1] / count
        spread = self.products[:-1, :-1] / count - mean.outer(mean)
        together = self.mixed[:-1] / count - mean.outer(self.mixed[-1] / count)
        ridge = RIDGE * spread.diagonal().mean().clamp(min=1e-30)
        weights = torch.linalg.solve(spread + ridge * torch.eye(len(spread)), together)
        bias = self.mixed[-1] / count - mean @ weights
        return torch.cat([weights, bias[None]])

    def explained(self, weights: Tensor) -> float:
        """1 − the squared error of these weights over the variance around the mean."""
        count = self.products[-1, -1]
        about = self.squares - float((self.mixed[-1] ** 2).sum() / count)
        left = self.squares - 2 * float((weights * self.mixed).sum())
        left += float((weights * (self.products @ weights)).sum())
        return 1 - left / about if about > 0 else float("nan")


@dataclass(eq=False)
class Gathered:
    """Of one block's branch: sums over images, the outputs of some, what a linear map needs."""

    block: ResidualBlock
    donors: Tensor
    total: Tensor | float = 0.0
    squares: float = 0.0
    images: int = 0
    given: dict[int, Tensor] = field(default_factory=dict)
    fit: Sums | None = None
    held: Sums | None = None

    def add(self, h: AnyState, start: int, fitted: int, linear: bool) -> None:
        """A batch of images from `start` on; those before `fitted` are fitted on."""
        branch = self.block.branch(h)
        self.total = self.total + branch.double().sum(0)
        self.squares += float((branch.double() ** 2).sum())
        self.images += len(branch)
        for donor in set(self.donors.tolist()) & set(range(start, start + len(branch))):
            self.given[donor] = branch[donor - start].clone()
        if linear:
            self._add_linear(residual(h), branch, max(0, fitted - start))

    def _add_linear(self, h: Tensor, branch: Tensor, fitted: int) -> None:
        axis, strides = channel_axis(self.block.out_shape), strides_of(self.block)
        assert strides is not None
        read = strided(h, axis, strides).movedim(axis, -1)
        made = branch.movedim(axis, -1)
        if self.fit is None:
            self.fit, self.held = (Sums.of(read.shape[-1], made.shape[-1]) for _ in range(2))
        assert self.held is not None
        for sums, part in ((self.fit, slice(0, fitted)), (self.held, slice(fitted, None))):
            if len(read[part]):
                sums.add(read[part].flatten(0, -2), made[part].flatten(0, -2))

    @property
    def mean(self) -> Tensor:
        assert isinstance(self.total, Tensor)
        return self.total / self.images

    @property
    def spread(self) -> float:
        """The standard deviation of the output, over images, at a typical place."""
        mean = self.mean
        variance = self.squares / self.images - float((mean * mean).sum())
        return max(variance / mean.numel(), 0.0) ** 0.5


def check(
    chain: ResidualChain, wanted: Wanted, images: int, labels: bool, memory: int | None = None
) -> None:
    """Raises `ProbeError` for values that cannot be fitted on so many images."""
    asked = sorted(set(wanted))
    fitted = share_of(images)
    for number, value in asked:
        block = chain.block(number)
        who = f"{chain.unit} {number} ({block.name})"
        if value == "linear":
            _check_linear(block, who, fitted)
        if value == "constant" and not labels:
            raise ProbeError(
                f"the constant of {who} that loses least needs labels: give calibrate= images with "
                "their labels"
            )
    if images < 4 and any(value in ("constant", "linear") for _, value in asked):
        raise ProbeError(f"calibrate={images}: a quarter is held out, so at least 4 are needed")
    if memory is not None and any(value == "constant" for _, value in asked):
        _check_memory(chain, images, memory)


def _check_linear(block: ResidualBlock, who: str, images: int) -> None:
    if strides_of(block) is None:
        raise ProbeError(
            f"{who} has no linear stand-in: it maps {'×'.join(map(str, block.in_shape))} to "
            f"{'×'.join(map(str, block.out_shape))}, whose places do not correspond"
        )
    axis = channel_axis(block.out_shape) - 1
    places = int(np.prod([n for place, n in enumerate(block.out_shape) if place != axis]))
    needed = -(-(block.in_shape[axis] + 1) // places)
    if images < needed:
        least = next(n for n in range(1, 10 * needed + 10) if share_of(n) >= needed)
        raise ProbeError(
            f"a linear map in the place of {who} has {block.in_shape[axis] + 1} coefficients a "
            f"channel and {images * places} places to fit them on: give calibrate={least} or more"
        )


def _check_memory(chain: ResidualChain, images: int, memory: int) -> None:
    one = max(int(np.prod(b.in_shape)) for b in chain) + max(
        int(np.prod(b.out_shape)) for b in chain
    )
    needed = 4 * images * one
    if needed > memory // 2:
        raise ProbeError(
            f"the constants that lose least hold the states of {images} calibration images, "
            f"{format_bytes(needed)}: more than half of the memory budget of "
            f"{format_bytes(memory)}; calibrate on fewer images"
        )


def share_of(images: int) -> int:
    """How many of the images are fitted on; the last quarter is held out."""
    return images - images // 4


@torch.no_grad()
def fitted(
    chain: ResidualChain,
    wanted: Wanted,
    images: Images,
    labels: Tensor | None,
    *,
    memory: int,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The values as arrays by `BLOCK.VALUE`, as `modules` reads them; of linear maps also
    `BLOCK.linear.explained`, and of resampled outputs `BLOCK.resample.images`, which images.

    Raises `ProbeError` as `check` does.
    """
    asked = sorted(set(wanted))
    check(chain, asked, len(images), labels is not None, memory)
    with full_precision(chain.device):
        gathered = _gather(chain, asked, images, memory, seed)
        found: dict[str, np.ndarray] = {}
        for number, value in asked:
            found |= _value(gathered[number], number, value)
        constants = [number for number, value in asked if value == "constant"]
        if constants:
            assert labels is not None
            found |= _constants(chain, constants, gathered, images, labels, seed)
    return found


def _gather(
    chain: ResidualChain, asked: list[tuple[int, str]], images: Images, memory: int, seed: int
) -> dict[int, Gathered]:
    found = {}
    for number in {number for number, _ in asked}:
        draw = generator_for(seed, "resample", number)
        count = len(images)
        donors = (
            torch.randperm(count, generator=draw)[:GROUP] if count >= GROUP
            else torch.randint(count, (GROUP,), generator=draw)
        )  # fmt: skip
        found[number] = Gathered(chain.block(number), donors)
    linear = {number for number, value in asked if value == "linear"}
    for start, h in _batches(chain, images, memory):
        state = chain.stem(h)
        for block in chain.blocks:
            if block.number in found:
                share = share_of(len(images))
                found[block.number].add(state, start, share, block.number in linear)
            state = block.run(state)
    return found


def _batches(chain: ResidualChain, images: Images, memory: int) -> Iterator[tuple[int, Tensor]]:
    needs = footprint(chain, images[:1].to(chain.device))
    one = scratch(chain.device) * (needs.work + needs.state)
    size = int(min(BATCH, max(1, memory // (4 * one))))
    for start in range(0, len(images), size):
        yield start, images[start : start + size].to(chain.device)


def _value(gathered: Gathered, number: int, value: str) -> dict[str, np.ndarray]:
    name, mean = f"{number}.{value}", gathered.mean
    if value == "mean":
        return {name: mean.float().cpu().numpy()}
    if value == "channel mean":
        axis = channel_axis(gathered.block.out_shape) - 1
        others = [place for place in range(mean.dim()) if place != axis]
        flat = mean.mean(others, keepdim=True) if others else mean
        return {name: flat.expand_as(mean).float().cpu().numpy()}
    if value == "resample":
        donors = gathered.donors.tolist()
        given = torch.stack([gathered.given[donor] for donor in donors])
        return {name: given.float().cpu().numpy(), f"{name}.images": np.array(donors)}
    if value == "linear":
        assert gathered.fit is not None and gathered.held is not None
        weights = gathered.fit.solved()
        share = np.array(gathered.held.explained(weights))
        return {name: weights.float().numpy(), f"{name}.{EXPLAINED}": share}
    return {}


def _constants(
    chain: ResidualChain,
    numbers: list[int],
    gathered: Mapping[int, Gathered],
    images: Images,
    labels: Tensor,
    seed: int,
) -> dict[str, np.ndarray]:
    """The constants of blocks in their order: the states before each are kept for all images."""
    frozen, found = chain.map(without_gradients), {}
    parts = [chain.stem(h) for _, h in _batches(chain, images, 2**40)]
    if not isinstance(parts[0], Tensor):
        raise ProbeError(
            f"the states of {chain.name} carry other values with them: there is no search for the "
            "constant that loses least in such a network"
        )
    truth = labels.to(chain.device)
    for block in chain.blocks:
        if block.number in numbers:
            shortcuts = torch.cat([block.shortcut(h) for h in parts])
            search = _Search(frozen, block.number, shortcuts, truth)
            value = search.best(gathered[block.number], seed)
            found[f"{block.number}.constant"] = value.cpu().numpy()
        parts = [block.run(h) for h in parts]
    return found


@dataclass(frozen=True, eq=False)
class _Search:
    """The constant in the place of a branch for which the network behind it loses least."""

    chain: ResidualChain
    number: int
    shortcuts: Tensor
    labels: Tensor

    def best(self, gathered: Gathered, seed: int) -> Tensor:
        dtype = self.shortcuts.dtype
        mean, spread = gathered.mean.to(dtype), gathered.spread
        count = share_of(len(self.labels))
        draw = generator_for(seed, "constant", self.number)
        away = torch.zeros_like(mean).requires_grad_()
        best, least = mean, self.held(mean, count)
        optimizer = torch.optim.Adam([away], lr=PACE)
        for step in range(1, STEPS + 1):
            rows = torch.randint(count, (min(BATCH, count),), generator=draw)
            with torch.enable_grad():
                loss = self.loss(mean + spread * away, rows.to(self.labels.device))
                (away.grad,) = torch.autograd.grad(loss, [away])
            for group in optimizer.param_groups:
                group["lr"] = PACE * (1 - (step - 1) / STEPS)
            optimizer.step()
            if step % LOOK == 0:
                value = mean + spread * away.detach()
                now = self.held(value, count)
                if now < least:
                    best, least = value.clone(), now
        return best.float()

    def held(self, value: Tensor, count: int) -> float:
        rows = torch.arange(count, len(self.labels), device=self.labels.device)
        parts = [self.loss(value, part) * len(part) for part in rows.split(4 * BATCH)]
        return float(torch.stack(parts).sum())

    def loss(self, value: Tensor, rows: Tensor) -> Tensor:
        """The mean cross-entropy of these images."""
        block = self.chain.block(self.number)
        shortcut = self.shortcuts[rows]
        h = block.after(block.add(shortcut, value.expand_as(shortcut)))
        for later in self.chain.blocks[self.number :]:
            h = later.run(h)
        return F.cross_entropy(self.chain.head(h), self.labels[rows])


def modules(
    chain: ResidualChain, arrays: Mapping[str, np.ndarray]
) -> dict[tuple[int, str], nn.Module]:
    """What runs in the place of the branches, from the arrays of `fitted`."""
    found: dict[tuple[int, str], nn.Module] = {}
    for name, array in arrays.items():
        number, _, value = name.partition(".")
        if "." in value:
            continue
        tensor = torch.as_tensor(array).to(chain.device, chain.dtype)
        found[int(number), value] = _module(chain.block(int(number)), value, tensor)
    return found


def _module(block: ResidualBlock, value: str, tensor: Tensor) -> nn.Module:
    if value != "linear":
        return Constant(tensor if value == "resample" else tensor[None])
    strides = strides_of(block)
    assert strides is not None
    axis = channel_axis(block.out_shape)
    return Linear(tensor[:-1].T.contiguous(), tensor[-1], axis, strides)
