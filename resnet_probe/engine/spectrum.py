"""The gradient by path length: one recursion over the blocks, all lengths at once.

A path through a residual network takes, at each block, the branch or the shortcut; its length is
the number of branches.  With the forward pass frozen, and S and J a block's shortcut and branch
Jacobians behind the same `after`, the gradients of all paths of k branches add up to G[k], and

    G'[k] = Sᵀ G[k] + Jᵀ G[k − 1]

takes them back over one more block: N(N + 1)/2 branch products in all for 2^N paths (Veit et al.
2016, section 3, for the paths).  Random signs on the branches make the paths' gradients orthogonal
on average; a random order of the blocks gives one path of each length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from resnet_probe.engine.path_sums import GrowingSums, PathSums
from resnet_probe.engine.pullback.chain import BlockPullback, FrozenChain

Watch = Callable[[BlockPullback, PathSums, Tensor], None]
"""Called at the input of each block with what arrives there, and its norms; copy to keep."""

SELDOM = 4
"""Blocks after which the scales are looked after, where nobody asks for the norms of each."""


@torch.no_grad()
def gradients_by_length(
    frozen: FrozenChain,
    gradient: Tensor,
    *,
    most: int,
    total: bool = False,
    signs: Tensor | None = None,
    chunk: int,
    tolerance: float = 0.0,
    watch: Watch | None = None,
) -> PathSums:
    """G[0] … G[most] where the gradients are asked, `[most + 1, n, *shape]`.

    `gradient` `[n, *shape]` is the one at the last state.  With `total` a row stands before the
    others: the whole gradient, by ordinary backpropagation in the same pass.  `signs` `[n, blocks]`
    of ±1 multiply the branches.  About `chunk` bytes go through a branch at once.

    With `tolerance` the sum of a length whose norm at the input of a block is less than that times
    the whole gradient's there, which `total` has to give, is left out from there on, image by
    image; the identity term stays.  What is left out in all is the whole less all lengths.
    """
    rows = GrowingSums(gradient, most + 1 + total, chunk)
    if total:
        rows.append(gradient)
    for position, block in reversed(list(enumerate(frozen.blocks))):
        sign = None if signs is None else signs[:, position].to(gradient)
        rows.add_paths(block, total=total, sign=sign)
        if watch is None and not tolerance and position % SELDOM:
            continue
        norms = rows.rescale()
        if tolerance:
            rows.drop(norms, tolerance)
        if watch is not None:
            watch(block, rows.seen, norms)
    return rows.through(frozen.stem)


@torch.no_grad()
def gradients_of_nested_paths(
    frozen: FrozenChain, gradient: Tensor, *, order: Sequence[int], most: int, chunk: int
) -> PathSums:
    """The gradients of single paths of 0 … most branches, `[most + 1, n, *shape]`.

    The path of k branches takes those of the first k blocks in `order`, a permutation of the
    blocks' positions 0 … N − 1.  In a random order each of them is uniform among all paths of its
    length, and as they are nested, they share most of their products: N + N²/4 on average.
    """
    rank = {position: place for place, position in enumerate(order)}
    rows = GrowingSums(gradient, most + 1, chunk)
    passed: list[int] = []
    for position, block in reversed(list(enumerate(frozen.blocks))):
        rows.fork_paths(block, below=sum(place < rank[position] for place in passed))
        passed.append(rank[position])
        if position % SELDOM == 0:
            rows.rescale()
    return rows.through(frozen.stem)
