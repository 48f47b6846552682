"""How much memory a sweep needs for one image, and how many images fit a budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain as chained
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualChain, Step
from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs, State, bytes_of, tensors_of, with_residual

DEFAULT_MEMORY = 2 * 2**30
CACHE = 4 * 2**20
"""Bytes of state that one batch should not much exceed on a CPU: about its second-level cache."""
SCRATCH = 1.4
"""What convolutions need beside their inputs and outputs, as a factor; measured, see the tests."""
ON_A_DEVICE = 3.0
"""The same where a device's libraries take workspaces of their own: on an H200 a sweep of ResNet-20
or -110 took up to 975 KiB an image of 32×32 pixels, whose two states and work are 384 KiB."""

UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True)
class Footprint:
    """Bytes of the chain's own weights, of one image's largest state, of its other work."""

    name: str
    weights: int
    state: int
    work: int


def parse_bytes(text: str) -> int:
    """Bytes from `2GiB`, `500 MB` or `1048576`, in powers of 1024; else raises `ProbeError`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]?)i?b?\s*", text.lower())
    size = int(float(match[1]) * UNITS[match[2]]) if match else 0
    if size <= 0:
        raise ProbeError(f"memory {text!r} is not a size: write for example 2GiB or 500MiB")
    return size


def format_bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


@torch.inference_mode()
def footprint(chain: ResidualChain, image: Any, steps: Sequence[Step] | None = None) -> Footprint:
    """Runs one image `[1, …]` through the chain and keeps account of what is alive when.

    `steps` are those of a chain whose blocks are not to be run in their order.
    """
    h, work = _run(chain.stem, image)
    state = max(image.nbytes, bytes_of(h))
    blocks = chain.blocks if steps is None else [chain.block(number) for number, _ in steps]
    for block in blocks:
        short, first = _run(block.shortcut, h)
        branch, second = _run(block.branch, h)
        total = block.add(short, branch) if block.residual else branch
        h, third = _run(block.after, with_residual(h, total))
        state = max(state, branch.nbytes, bytes_of(h))
        work = max(work, first, short.nbytes + second, short.nbytes + branch.nbytes + third)
    _, last = _run(chain.head, h)
    tensors = {
        tensor.data_ptr(): tensor.nbytes
        for module in chain.modules
        for tensor in chained(module.parameters(), module.buffers())
        if tensor.layout is torch.strided
    }
    return Footprint(chain.name, sum(tensors.values()), state, max(work, last))


def batch_size(
    needs: Footprint,
    *,
    states: int,
    memory: int,
    images: int,
    asked: int | None,
    device: torch.device,
) -> int:
    """The number of images that go through at once; raises `ProbeError` where not even one fits."""
    fixed = needs.weights
    one = int(scratch(device) * ((states + 1) * needs.state + needs.work))
    most = most_images(fixed, one, memory=memory, asked=asked, of=needs.name)
    if asked is not None:
        return asked
    if device.type == "cpu":
        most = min(most, max(4, CACHE // needs.state))
    return max(1, min(most, images))


def held_for_gradients(chain: ResidualChain, run: Callable[[], Any]) -> int:
    """Bytes that `run`, of one image through the chain, keeps for its way back.

    Those of the chain's parameters are not counted.
    """
    held: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        run()
    for module in chain.modules:
        for tensor in chained(module.parameters(), module.buffers()):
            held.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(held.values())


def scratch(device: torch.device) -> float:
    """`SCRATCH` on this device."""
    return SCRATCH if device.type == "cpu" else ON_A_DEVICE


def most_images(
    fixed: int, one: int, *, memory: int, asked: int | None, of: str, work: str = "", hint: str = ""
) -> int:
    """How many images of `one` bytes each fit `memory`, beside what is `fixed`.

    Raises `ProbeError` where not one does, or fewer than `asked`, saying which option to give
    which value; `work` is what is done to the images of the network called `of`.
    """
    most = (memory - fixed) // one
    if most < 1:
        least = format_bytes(fixed + one)
        raise ProbeError(
            f"a memory budget of {format_bytes(memory)} is too small for {work and f'{work} of '}"
            f"one image of {of}: it takes {least}, give memory= more than that{hint}"
        )
    if asked is not None and asked > most:
        raise ProbeError(
            f"a batch of {asked} images needs {format_bytes(fixed + asked * one)}"
            f"{work and f' for {work}'}: the memory budget of {format_bytes(memory)} allows {most} "
            f"images, so give batch={most} or more memory="
        )
    return most


def exhausted(error: Exception) -> bool:
    """Whether an error says that the memory of a device does not suffice."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def spans(
    chain: ResidualChain, images: Any, *, states: int, memory: int, asked: int | None, held: int = 0
) -> Iterator[tuple[int, int]]:
    """First and last of the images that go through at once.

    With so many states kept of each, and for gradients `held` bytes.
    """
    needs = footprint(chain, images[:1].to(chain.device))
    size = batch_size(
        replace(needs, work=max(needs.work, 2 * held)), states=states, memory=memory,
        images=len(images), asked=asked, device=chain.device,
    )  # fmt: skip
    return ((start, min(start + size, len(images))) for start in range(0, len(images), size))


class _Account(fx.Interpreter):
    """Runs a graph and notes the most bytes alive at once, its input not counted."""

    def __init__(self, module: fx.GraphModule, given: Any) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.given = {t.untyped_storage().data_ptr() for t in _tensors(given)}
        self.most = 0

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        alive = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for held in (value, *self.env.values())
            for tensor in _tensors(held)
            if not isinstance(tensor, nn.Parameter) and tensor.layout is torch.strided
        }
        self.most = max(self.most, sum(n for at, n in alive.items() if at not in self.given))
        return value


def _tensors(held: Any) -> tuple[Tensor, ...]:
    """The tensors of what a graph holds: one, those of a state, those of the inputs."""
    if isinstance(held, Tensor | State):
        return tensors_of(held)
    return tuple(held.values.values()) if isinstance(held, Inputs) else ()


def _run(module: nn.Module, given: Any) -> tuple[Any, int]:
    if not isinstance(module, fx.GraphModule):
        output = module(given.map(Tensor.clone) if isinstance(given, State) else given.clone())
        return output, bytes_of(output)
    account = _Account(module, given)
    return account.run(given), account.most
