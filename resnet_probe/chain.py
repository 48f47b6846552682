"""A network as a chain: a stem, blocks of shortcut and branch, a head.

    h = stem(x)
    for block in blocks:  h = block.after(block.shortcut(h) + block.branch(h))
    logits = head(h)

Beside `h` a state may carry values that one part makes and a later one reads (`state.py`).

Every study of this package is a small function of this object (Veit et al. 2016, section 3; He et
al. 2016, equations 1–2).  `resnet_probe.discover` makes it from a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_probe.errors import ProbeError
from resnet_probe.state import AnyState, InputForm, Inputs, with_residual

if TYPE_CHECKING:
    import pandas as pd


class Program(Protocol):
    """What makes steps for a chain: an `Edit`."""

    def steps(self, chain: Any) -> tuple[Step, ...]: ...


Step = tuple[Any, float]
"""Run a block, by its number or in another form, with its branch multiplied by `gate`: 1 runs it,
0 leaves its branch out."""


@dataclass(frozen=True, eq=False, repr=False)
class ResidualBlock:
    """One residual block; `number` counts from 1, `name` is the module's own.

    `role` is what the branch mainly does: attention, convolution, mlp, or empty if none of them.
    `layer` counts from 1 the modules that hold the blocks: the attention and the MLP of one encoder
    layer are two blocks of one layer; 0 where every block is a layer of its own.  `inner` names
    the residual blocks inside this one, which are not cut.

    `shortcut` and `branch` map a state to a batch `[n, …]`, and `after` a state to the next one;
    they are in eval mode and share their parameters and buffers with the model that they were cut
    from.  `changes` names the values that `after` begins or ceases to carry.

    `branch_first` says that the network adds them the other way round, which decides how the sum
    lies in memory.  A network that adds more than two tensors rounds them one by one: `total` maps
    the state to the sum as the network makes it, and `branch` gives all but the shortcut.  Where
    each branch of such a sum is a block, `partners` are the numbers of the others.
    """

    number: int
    name: str
    stage: int
    shortcut: nn.Module
    branch: nn.Module
    after: nn.Module
    shortcut_kind: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    role: str = ""
    layer: int = 0
    inner: tuple[str, ...] = ()
    branch_first: bool = False
    total: nn.Module | None = None
    changes: tuple[str, ...] = ()
    partners: tuple[int, ...] = ()

    residual = gated = True

    def __repr__(self) -> str:
        """`ResidualBlock(4, layer2.0: option A shortcut, 16×16×16 to 32×8×8)`."""
        before, after = ("×".join(map(str, shape)) for shape in (self.in_shape, self.out_shape))
        return (
            f"{type(self).__name__}({self.number}, {self.name}: {self.shortcut_kind} shortcut, "
            f"{before} to {after})"
        )

    def run(self, h: AnyState, gate: float = 1.0) -> AnyState:
        """The block's output for the state `h`; a gate of 0 deletes the branch exactly."""
        return self.close(h, self.sum(h, gate))

    def sum(self, h: AnyState, gate: float = 1.0) -> Tensor:
        """What stands before `after`: the shortcut and `gate` times the branch."""
        if gate == 0:
            return self.shortcut(h)
        if gate == 1 and self.total is not None:
            return self.total(h)
        branch = self.branch(h)
        return self.add(self.shortcut(h), branch if gate == 1 else gate * branch)

    def close(self, h: AnyState, total: Tensor) -> AnyState:
        """The next state, from the sum and what the state `h` carries."""
        return self.after(with_residual(h, total))

    def add(self, shortcut: Tensor, branch: Tensor) -> Tensor:
        """The sum, its operands in the network's own order."""
        return branch + shortcut if self.branch_first else shortcut + branch

    def map(self, make: Callable[[nn.Module], nn.Module]) -> Self:
        """The same block of other modules: `make` of each part, and of a `total`."""
        return replace(
            self,
            shortcut=make(self.shortcut),
            branch=make(self.branch),
            after=make(self.after),
            total=None if self.total is None else make(self.total),
        )

    @property
    def keeps_shape(self) -> bool:
        """Whether the block can stand anywhere in its stage, or twice."""
        return self.in_shape == self.out_shape and not self.changes


class OptionA(nn.Module):
    """The parameter-free shortcut of He et al. 2015, section 3.3, option A.

    Subsamples by `stride`, then pads the channels with zeros, half before and half after.

    Maps `[n, channels_in, h, w]` to `[n, channels_out, ⌈h/stride⌉, ⌈w/stride⌉]`.  The paper leaves
    the place of the new channels open; this is the one that published CIFAR weights were trained
    with.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        new = channels_out - channels_in
        if new < 0:
            raise ValueError(f"option A cannot drop channels ({channels_in} to {channels_out})")
        self.stride = stride
        self.before, self.behind = new // 2, new - new // 2

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, :, :: self.stride, :: self.stride]
        return F.pad(kept, (0, 0, 0, 0, self.before, self.behind))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, padding=({self.before}, {self.behind})"


@dataclass(frozen=True, eq=False, repr=False)
class PlainLayer(ResidualBlock):
    """A layer of a network without shortcuts: no sum, and deletion leaves a stand-in.

    The stand-in (`shortcut`) is the identity where the layer keeps the shape, and otherwise the
    parameter-free option-A shortcut of He et al. 2015, section 3.3: subsample, pad with zeros.
    """

    residual = gated = False

    def sum(self, h: AnyState, gate: float = 1.0) -> Tensor:
        if gate not in (0, 1):
            raise ProbeError(
                f"layer {self.number} ({self.name}) cannot be scaled by {gate:g}: a plain "
                "layer has no branch to scale, only a gate of 0 (deleted) or 1 (kept)"
            )
        return self.branch(h) if gate else self.shortcut(h)


@dataclass(frozen=True, eq=False, repr=False)
class ResidualChain:
    """`stem`, the `blocks` in order, and the `head`; `name` is what messages call the network.

    `uncut` has a sentence for each place where paths part and meet that is no block, with the
    reason.  `front_end` is the tracer of the graph that it was cut from.  `residue` is the largest
    difference that the proof of discovery left: 0 means that the chain is the network bit for bit;
    `tolerance` is what it would let pass, as a part of a result's largest value.  `output_shape` is
    that of one image's output, `(classes,)` where nothing else is said; `output` names it among
    several that the network returns.  `values` has what stands in for branches that an edit
    replaces, by block number and name.  `free` names the sizes of the inputs that are free, where
    those are not images in batches of any size; `takes` are the forms of inputs that are not images
    alone.  `beside` names the carried values that are made of the state itself, such as a U-Net's
    skips, and not of the inputs alone.  `strays` says why gradients of the chain are not those that
    autograd gives of the network, where they are not.
    """

    name: str
    stem: nn.Module
    blocks: tuple[ResidualBlock, ...]
    head: nn.Module
    input_shape: tuple[int, ...]
    classes: int
    uncut: tuple[str, ...] = ()
    residue: float = 0.0
    tolerance: float = 0.0
    front_end: str = ""
    output_shape: tuple[int, ...] | None = None
    output: str | None = None
    values: Mapping[tuple[int, str], nn.Module] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    takes: tuple[InputForm, ...] = ()
    beside: tuple[str, ...] = ()
    strays: str = ""

    def __repr__(self) -> str:
        """`ResidualChain(resnet110: 54 blocks in 3 stages, images of 3×32×32, 10 classes)`."""
        shape = "×".join(map(str, self.input_shape))
        what = "tokens" if self.of_tokens else "images"
        return (
            f"{type(self).__name__}({self.name}: {len(self)} {self.unit}s in {len(self.stages)} "
            f"stages, {what} of {shape}, {self.classes} classes)"
        )

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[ResidualBlock]:
        return iter(self.blocks)

    def __call__(self, images: Tensor | Inputs | Mapping[str, Tensor]) -> Tensor:
        """Logits `[n, classes]` of the network for `images` `[n, channels, height, width]`.

        A network of other inputs takes what it was cut with: tokens, a tuple, a dictionary.
        """
        return self.run(images, [(block.number, 1.0) for block in self.blocks])

    def run(
        self, images: Tensor | Inputs | Mapping[str, Tensor], edit: Sequence[Step] | Program
    ) -> Tensor:
        """Logits of the chain after an `Edit`, or of these steps: the plain, unshared way."""
        h = self.stem(images)
        for number, gate in edit if isinstance(edit, Sequence) else edit.steps(self):
            h = self.block(number).run(h, gate)
        return self.head(h)

    def map(self, make: Callable[[nn.Module], nn.Module]) -> Self:
        """The same chain of other modules: `make` of the stem, of each part of a block, the head.

        `make` gets each module once, in the order of the network; the chain stays as it is.
        """
        stem, *blocks, head = make(self.stem), *(b.map(make) for b in self.blocks), make(self.head)
        return replace(self, stem=stem, blocks=tuple(blocks), head=head)

    def table(self) -> pd.DataFrame:
        """One row a block: what discovery found.

        Shapes are texts without the batch axis; `parameters` are numbers of weights; `inner` is
        how many residual blocks lie inside this one.
        """
        import pandas as pd

        return pd.DataFrame([_row(block) for block in self.blocks])

    def block(self, number: Any) -> ResidualBlock:
        """The block with this number, from 1, or in another form (`edits.program.Variant`); raises
        `ProbeError` outside the chain."""
        if not isinstance(number, int):
            return number.block(self)
        if not 1 <= number <= len(self.blocks):
            raise ProbeError(
                f"{self.unit} {number} is out of range: {self.name} has {len(self)} {self.unit}s "
                f"(1–{len(self)})"
            )
        return self.blocks[number - 1]

    @property
    def residual(self) -> bool:
        """False for a plain network, whose "blocks" are layers."""
        return all(block.residual for block in self.blocks)

    @property
    def unit(self) -> str:
        return "block" if self.residual else "layer"

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Every module of the chain, in order."""
        inner = (part for b in self.blocks for part in (b.shortcut, b.branch, b.after))
        return (self.stem, *inner, self.head)

    @property
    def of_tokens(self) -> bool:
        """Whether its first input are whole numbers, such as the tokens of a text."""
        return bool(self.takes) and not self.takes[0][1].is_floating_point

    @property
    def inputs(self) -> str:
        """What it takes, as words call it: images, or texts."""
        return "texts" if self.of_tokens else "images"

    @property
    def device(self) -> torch.device:
        for module in self.modules:
            for tensor in (*module.parameters(), *module.buffers()):
                return tensor.device
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the weights; float32 where there are none."""
        for module in self.modules:
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    return tensor.dtype
        return torch.float32

    @property
    def layers(self) -> tuple[tuple[int, ...], ...]:
        """Block numbers by layer: for an encoder layer its attention and its MLP."""
        found: dict[tuple[int, int], list[int]] = {}
        for block in self.blocks:
            key = (block.layer, 0) if block.layer else (0, block.number)
            found.setdefault(key, []).append(block.number)
        return tuple(tuple(numbers) for numbers in found.values())

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """Block numbers by stage: runs of blocks whose sums have one shape, or one rearranged."""
        found: dict[int, list[int]] = {}
        for block in self.blocks:
            found.setdefault(block.stage, []).append(block.number)
        return tuple(tuple(numbers) for numbers in found.values())


def _row(block: ResidualBlock) -> dict[str, object]:
    parts = (block.shortcut, block.branch, block.after)
    parameters = {id(p): p.numel() for part in parts for p in part.parameters()}
    return {
        "number": block.number,
        "name": block.name,
        "role": block.role,
        "layer": block.layer or block.number,
        "stage": block.stage,
        "shortcut": block.shortcut_kind,
        "in_shape": "×".join(map(str, block.in_shape)),
        "out_shape": "×".join(map(str, block.out_shape)),
        "parameters": sum(parameters.values()),
        "inner": len(block.inner),
    }
