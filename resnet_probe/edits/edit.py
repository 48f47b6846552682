"""An edit is a value: what is done to a chain, in words, before any network is at hand.

`Edit.delete(3, 7) >> Edit.swap(8, 9)` is `delete 3 7; swap 8 9`.  Blocks are named by their numbers
in the network as it was trained, wherever an earlier change has put them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from resnet_probe.edits import text as words
from resnet_probe.edits.program import program
from resnet_probe.edits.text import VALUES, Change, spans
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.chain import Step
    from resnet_probe.edits.program import Blocks

KINDS = {"swap": "permute", "order": "permute", "reverse": "permute"}
MOST_TIMES = 1000


@dataclass(frozen=True)
class Edit:
    """One edited network: the changes, one after another; none is the network as it is.

    `str(edit)` is its text form, which `Edit.parse` reads.  What a table says of it: `edits`, how
    many single edits it holds; `blocks`, which (`"3 17"`, swaps as `"4-9 20-31"`); `draw`, the
    number of a random draw; `tau`, Kendall's τ between the new order and the old one.

    Laws: `Edit()` is neutral for `>>`, which is associative; deleting is scaling by 0 and replacing
    by zero; scaling twice is scaling by the product; an order in ascending numbers, a swap of a
    block with itself, `repeat(b, times=1)` and `parallel(b)` leave the network as it is; a swap or
    a reversal undoes itself.
    """

    changes: tuple[Change, ...] = ()
    edits: int = field(default=0, compare=False)
    blocks: str = field(default="", compare=False)
    draw: int = field(default=0, compare=False)
    tau: float | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, text: str) -> Edit:
        """From its text form; raises `ProbeError` with the place and the grammar."""
        made = cls()
        for said in words.parse(text):
            try:
                made >>= getattr(cls, said.verb.text)(*said.given, **said.named)
            except ProbeError as error:
                raise words.wrong(text, said.verb, said.verb, str(error)) from None
        return made

    @classmethod
    def delete(cls, *blocks: int) -> Edit:
        """Leave out the branches; the shortcuts, with their projections, and `after` stay."""
        gone = tuple(sorted(set(whole(blocks, "delete"))))
        return cls._of("delete", gone, len(gone)) if gone else cls()

    @classmethod
    def cut(cls, *blocks: int) -> Edit:
        """Leave out the *shortcuts*; the branches and `after` stay."""
        some = tuple(sorted(set(whole(blocks, "cut"))))
        return cls._of("cut", some, len(some)) if some else cls()

    @classmethod
    def swap(cls, one: int, other: int) -> Edit:
        """Exchange two blocks, wherever they stand."""
        pair = whole((one, other), "swap")
        return cls._of("swap", pair, 1, blocks=f"{one}-{other}")

    @classmethod
    def order(cls, blocks: Iterable[int]) -> Edit:
        """Put these blocks into this order, in the places that they take together.

        All blocks of a network, or some: `order([12, 10, 11])` leaves every other one where it is.
        """
        listed = whole(blocks, "order")
        if len(set(listed)) < len(listed) or not listed:
            raise ProbeError(f"an order holds each block once, found {spans(listed) or 'none'}")
        moved = sum(b != place for b, place in zip(listed, sorted(listed), strict=True))
        return cls._of("order", listed, moved, blocks=" ".join(map(str, listed)))

    @classmethod
    def reverse(cls, first: int, last: int) -> Edit:
        """Run the blocks from `first` to `last` in reverse; one that changes the shape stays where
        it is, and those on its two sides are reversed apart."""
        return cls._range("reverse", first, last)

    @classmethod
    def repeat(cls, first: int, last: int | None = None, *, times: int = 2) -> Edit:
        """Run a block, or the blocks from `first` to `last` as a loop, `times` times in all."""
        return cls._range("repeat", first, last, _count(times, "times"))

    @classmethod
    def run(cls, blocks: Iterable[int]) -> Edit:
        """Run these blocks in this order and no others: some left out whole, some several times."""
        listed = whole(blocks, "run")
        return cls._of("run", listed, 1, blocks=" ".join(map(str, listed)))

    @classmethod
    def scale(cls, gates: Mapping[int, float]) -> Edit:
        """Multiply the branches by these gates, from block number to gate."""
        kept = {b: float(gate) for b, gate in sorted(gates.items())}
        bad = [f"{b} by {gate}" for b, gate in kept.items() if gate * 0 != 0]
        if bad:
            raise ProbeError(f"scale takes finite gates, found block {bad[0]}")
        changed = [b for b, gate in kept.items() if gate != 1]
        listed = whole(kept, "scale")
        edit = cls._of("scale", listed, len(changed), more=tuple(kept.values()))
        return replace(edit, blocks=" ".join(map(str, changed))) if kept else cls()

    @classmethod
    def parallel(cls, first: int, last: int | None = None, *, rounds: int = 1) -> Edit:
        """Run the blocks from `first` to `last` from one state: their sums are averaged, and the
        last one's `after` comes behind; with `rounds`, again and again.

        With identity shortcuts that is the state and the mean of the branches (Sun et al. 2025,
        "Transformer layers as painters", arXiv 2407.09298: parallel, and looped parallel).
        """
        return cls._range("parallel", first, last, _count(rounds, "rounds"))

    @classmethod
    def replace(cls, blocks: int | Iterable[int], value: str = "mean") -> Edit:
        """Put a value in the place of the branches' outputs.

        zero: the deletion.  mean: over calibration images, per channel and place.  channel mean:
        over places too.  resample: the output for a calibration image, seeded.  constant: the one
        that loses least (optimal ablation, Li & Janson 2024, arXiv 2409.09951).  linear: a linear
        map of the state, the same at every place, by ridge regression.
        """
        if not value or not isinstance(value, str):
            raise ProbeError(f"replace takes the name of a value, one of {', '.join(VALUES)}")
        some = (blocks,) if isinstance(blocks, int) else tuple(blocks)
        listed = tuple(sorted(set(whole(some, "replace"))))
        return cls._of("replace", listed, len(listed), more=value) if listed else cls()

    def __rshift__(self, other: Edit) -> Edit:
        """This, then the other."""
        blocks = " ".join(part for part in (self.blocks, other.blocks) if part)
        return Edit(self.changes + other.changes, self.edits + other.edits, blocks, self.draw)

    def __str__(self) -> str:
        return "; ".join(map(str, self.changes))

    @property
    def kind(self) -> str:
        """The verb, as tables class it: baseline, delete, permute (swap, order and reverse),
        duplicate (repeat twice), …; mixed for several."""
        kinds = {_kind(change) for change in self.changes}
        return "baseline" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def values(self) -> set[tuple[int, str]]:
        """The block and the name of each value that stands in a branch's place."""
        return {
            (block, str(change.more))
            for change in self.changes
            if change.verb == "replace"
            for block in change.blocks
        }

    def steps(self, chain: Blocks) -> tuple[Step, ...]:
        """The program: what the chain runs in the place of blocks 1 … N.

        Raises `ProbeError` for blocks that the chain does not have, a block that would get a state
        of another shape, and what a block cannot do.
        """
        return program(self.changes, chain)

    @classmethod
    def _of(
        cls,
        verb: str,
        listed: tuple[int, ...],
        count: int,
        *,
        blocks: str | None = None,
        more: int | tuple[float, ...] | str | None = None,
    ) -> Edit:
        label = " ".join(map(str, listed)) if blocks is None else blocks
        return cls((Change(verb, listed, more),), count, label)

    @classmethod
    def _range(cls, verb: str, first: int, last: int | None, more: int | None = None) -> Edit:
        low, high = whole((first, first if last is None else last), verb)
        if high < low:
            raise ProbeError(f"{verb} {low}..{high}: a range goes from the smaller to the larger")
        count = high - low + 1
        label = " ".join(map(str, range(low, high + 1)))
        return cls._of(verb, (low, high), count, blocks=label, more=more)


def _kind(change: Change) -> str:
    if change.verb == "repeat" and change.more == 2:
        return "duplicate"
    return KINDS.get(change.verb, change.verb)


def _count(value: int, name: str) -> int:
    if not isinstance(value, int) or not 1 <= value <= MOST_TIMES:
        raise ProbeError(f"{name}={value!r} is no whole number from 1 to {MOST_TIMES}")
    return value


def whole(blocks: Iterable[int], verb: str) -> tuple[int, ...]:
    """The numbers of blocks, as they are; raises `ProbeError` for what is none."""
    found = tuple(blocks)
    for each in found:
        if isinstance(each, bool) or not hasattr(each, "__index__") or each < 1:
            raise ProbeError(f"{verb} takes numbers of blocks, from 1 on, found {each!r}")
    return tuple(int(each) for each in found)
