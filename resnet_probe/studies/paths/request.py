"""What a study of paths is asked to do, checked before anything is run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from resnet_probe.chain import ResidualChain
from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.settings import whole_number

METHODS = ("exact", "all", "sample")
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Request:
    """Options of `paths`, fitted to a chain.

    `first` is the block at whose input gradients are asked, with `stem` at the network's own input;
    `blocks` counts the blocks from there on, `most` is the longest path asked for.
    """

    methods: tuple[str, ...]
    at: str
    first: int
    stem: bool
    blocks: int
    most: int
    signs: int
    samples: int
    images_per_path: int
    dtype: torch.dtype
    seed: int
    tolerance: float

    @property
    def place(self) -> int:
        """How tables call the place: 0 is the input, b the input of block b."""
        return 0 if self.stem else self.first

    @property
    def whole(self) -> bool:
        """Whether every length is followed to its end."""
        return self.most == self.blocks and not self.tolerance


def request(
    chain: ResidualChain,
    *,
    method: str,
    max_length: int | None = None,
    at: str | int = "input",
    precision: str = "float32",
    signs: int = 1,
    samples: int = 1,
    images_per_path: int = 1,
    seed: int = 0,
    tolerance: float = 0.0,
) -> Request:
    """Raises `ProbeError` for a plain network, one cut by branches, and options out of range."""
    if not chain.residual:
        raise ProbeError(
            f"{chain.name} is a plain network: without shortcuts there is one path only, through "
            f"all {len(chain)} layers, and no path lengths to compare"
        )
    if any(block.partners for block in chain):
        raise ProbeError(
            f"{chain.name} is cut branch by branch: no path takes two branches of one sum, so that "
            "their lengths are those of the blocks; leave out level='branch'"
        )
    if method not in (*METHODS, "every"):
        there = f"{', '.join(METHODS)} and every{did_you_mean(method, (*METHODS, 'every'))}"
        raise ProbeError(f"unknown method {method!r}: there are {there}")
    if precision not in PRECISIONS:
        there = ", ".join(PRECISIONS) + did_you_mean(precision, PRECISIONS)
        raise ProbeError(f"unknown precision {precision!r}: there are {there}")
    for name, count in (
        ("signs", signs),
        ("samples", samples),
        ("images per path", images_per_path),
    ):
        if count < 1:
            raise ProbeError(f"{count} {name} are none: ask for at least 1")
    first, stem = _place(chain, at)
    blocks = len(chain) - first + 1
    return Request(
        methods=METHODS if method == "every" else (method,),
        at="input" if stem else "stem" if first == 1 else str(first),
        first=first,
        stem=stem,
        blocks=blocks,
        most=_longest(chain, max_length, blocks, first),
        signs=signs,
        samples=samples,
        images_per_path=images_per_path,
        dtype=PRECISIONS[precision],
        seed=seed,
        tolerance=tolerance,
    )


def _place(chain: ResidualChain, at: str | int) -> tuple[int, bool]:
    """(block at whose input, whether at the network's own input)."""
    if at in ("input", "stem"):
        return 1, at == "input"
    number = whole_number(str(at))
    if number is None:
        raise ProbeError(f"unknown place {at!r}: write input, stem, or the number of a block")
    return chain.block(number).number, False


def _longest(chain: ResidualChain, asked: int | None, blocks: int, first: int) -> int:
    if asked is None:
        return blocks
    if not 0 <= asked <= blocks:
        behind = "" if first == 1 else f" from block {first} on"
        raise ProbeError(
            f"a path length of {asked} is out of range: {chain.name} has {blocks} blocks{behind}, "
            f"so paths of 0–{blocks}"
        )
    return asked
