"""The rule of each operation: from one step of the forward pass to its transpose.

A rule returns None where it does not cover the case; then autograd's own rule is used.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from resnet_probe.discover.segments import ACTIVATION_FUNCTIONS, ACTIVATIONS, ADDITIONS
from resnet_probe.engine.fold import RELU_FUNCTIONS
from resnet_probe.engine.pullback import pulls, stack
from resnet_probe.engine.pullback.folding import Folding, is_frozen_norm, scale_of
from resnet_probe.engine.pullback.tape import Pull

SOFTMAX = {torch.softmax, F.softmax, "softmax"}  # an activation, but no elementwise one
PRODUCTS = {operator.mul, torch.mul, "mul"}
RESHAPES = {torch.flatten, "flatten", "view", "reshape", torch.reshape}
SAME = {"contiguous"}


@dataclass(frozen=True)
class Step:
    """One operation of the forward pass: its node and leaf module, what it read and made.

    `operands` are the tensors read that depend on the module's input, one for each of
    `node.all_input_nodes` that does.
    """

    node: fx.Node
    leaf: nn.Module | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    operands: dict[fx.Node, Tensor]
    value: Tensor
    folding: Folding

    @property
    def given(self) -> Tensor:
        """The first operand."""
        return next(iter(self.operands.values()))


Rule = Callable[[Step], Pull | None]


def find(node: fx.Node, leaf: nn.Module | None) -> Rule | None:
    """The rule for an operation, if there is one."""
    if leaf is not None:
        return next((rule for kind, rule in LEAVES.items() if type(leaf) is kind), None)
    return next((rule for targets, rule in CALLS if node.target in targets), None)


def is_elementwise(node: fx.Node, leaf: nn.Module | None) -> bool:
    """Whether an operation on one tensor acts on each of its elements by itself."""
    if leaf is not None:
        return isinstance(leaf, ACTIVATIONS) and not isinstance(leaf, nn.Softmax)
    return node.target in ACTIVATION_FUNCTIONS - SOFTMAX


def relu(step: Step) -> Pull:
    return pulls.PullScaled(stack.aligned(torch.sign(step.value)))  # of what is never negative


def convolution(step: Step) -> Pull | None:
    prepared = step.folding.convolutions.get(step.node)
    return None if prepared is None else prepared.to_image(step.given.shape[2:])


def batch_norm(step: Step) -> Pull | None:
    if not is_frozen_norm(step.leaf):
        return None
    if step.node in step.folding.absorbed:
        return same(step)
    scale = scale_of(step.leaf).to(step.value.dtype)
    return pulls.PullScaled(scale.view(-1, 1, 1))


def linear(step: Step) -> Pull:
    assert isinstance(step.leaf, nn.Linear)
    return pulls.PullMatrix(step.leaf.weight.detach())


def same(step: Step) -> Pull:
    return pulls.PullSum((tuple(step.given.shape),), tuple(step.value.shape))


def addition(step: Step) -> Pull | None:
    read = [argument for argument in step.node.args if argument in step.operands]
    if len(step.args) != 2 or step.kwargs or len(read) != len(step.operands):
        return None  # scaled by `alpha`, or a tensor added to itself
    shapes = tuple(tuple(step.operands[node].shape) for node in step.operands)
    return pulls.PullSum(shapes, tuple(step.value.shape))


def product(step: Step) -> Pull | None:
    first, second = step.node.args if len(step.node.args) == 2 else (None, None)
    if first is second or step.kwargs or first is None:
        return None
    others = {first: step.args[1], second: step.args[0]}
    factors = tuple(
        stack.aligned(others[node]) if isinstance(others[node], Tensor) else others[node]
        for node in step.operands
    )
    shapes = tuple(tuple(operand.shape) for operand in step.operands.values())
    if len(factors) == 1 and isinstance(factors[0], Tensor) and shapes[0] == step.value.shape:
        return pulls.PullScaled(factors[0])
    return pulls.PullProduct(factors, shapes)


def reshape(step: Step) -> Pull | None:
    if step.value.shape[:1] != step.given.shape[:1] or len(step.operands) != 1:
        return None
    return pulls.PullReshape(tuple(step.given.shape[1:]))


def permute(step: Step) -> Pull | None:
    axes = step.args[1:]
    if len(axes) == 1 and not isinstance(axes[0], int):
        axes = tuple(axes[0])
    positive = [axis % step.value.dim() for axis in axes]
    if not positive or positive[0] != 0:
        return None
    inverse = sorted(range(len(positive)), key=positive.__getitem__)
    return pulls.PullPermute(tuple(inverse[1:]))


def index(step: Step) -> Pull | None:
    key = step.args[1]
    basic = isinstance(key, tuple) and key and key[0] == slice(None)
    if not basic or not all(isinstance(part, int | slice) for part in key):
        return None
    return pulls.PullSlice(key, tuple(step.given.shape[1:]))


def padding(step: Step) -> Pull | None:
    names = ("input", "pad", "mode", "value")
    given = dict(zip(names, step.args, strict=False)) | step.kwargs
    amounts = list(given["pad"])
    pairs = list(zip(amounts[0::2], amounts[1::2], strict=True))[::-1]
    axes = step.given.dim() - 1
    if given.get("mode", "constant") != "constant" or min(amounts) < 0 or len(pairs) > axes:
        return None
    return pulls.PullPadding(((0, 0),) * (axes - len(pairs)) + tuple(pairs))


def mean_pool(step: Step) -> Pull | None:
    assert isinstance(step.leaf, nn.AdaptiveAvgPool2d)
    if step.value.shape[2:] != (1, 1) or step.given.dim() != 4:
        return None
    height, width = step.given.shape[2:]
    return pulls.PullMean((height, width))


def max_pool(step: Step) -> Pull | None:
    pool = step.leaf
    assert isinstance(pool, nn.MaxPool2d)
    if pool.return_indices or step.given.dim() != 4:
        return None
    _, winners = F.max_pool2d(
        step.given, pool.kernel_size, pool.stride, pool.padding, pool.dilation,
        ceil_mode=pool.ceil_mode, return_indices=True,
    )  # fmt: skip
    height, width = step.given.shape[2:]
    return pulls.PullMaximum(winners, (height, width))


LEAVES: dict[type[nn.Module], Rule] = {
    nn.ReLU: relu,
    nn.Conv2d: convolution,
    nn.BatchNorm2d: batch_norm,
    nn.Linear: linear,
    nn.Identity: same,
    nn.Flatten: reshape,
    nn.AdaptiveAvgPool2d: mean_pool,
    nn.MaxPool2d: max_pool,
}
CALLS: list[tuple[set[Any], Rule]] = [
    (set(RELU_FUNCTIONS), relu),
    (set(ADDITIONS), addition),
    (PRODUCTS, product),
    ({operator.getitem}, index),
    ({F.pad}, padding),
    (RESHAPES, reshape),
    ({torch.permute, "permute"}, permute),
    (SAME, same),
]
