"""From an edit to the program of a chain: which blocks run, in which order and form, at which gate.

A program is a tuple of steps `(place, gate)`.  A place is the number of a block, or a `Variant`,
which stands for a block in another form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from resnet_probe.edits.text import VALUES, Change
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.chain import Step
    from resnet_probe.edits.variants import Variant


class Blocks(Protocol):
    """What a program needs to know of a chain, or of the layers of one."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def __len__(self) -> int: ...
    def block(self, number: Any) -> Any: ...


class Slot(NamedTuple):
    """What stands in one place: the blocks that it is made of, and the steps that are run."""

    blocks: tuple[int, ...]
    steps: tuple[Step, ...]


def program(changes: Sequence[Change], chain: Blocks) -> tuple[Step, ...]:
    """The steps of an edited chain; raises `ProbeError` for what cannot be done."""
    listed: Sequence[int] = range(1, len(chain) + 1)
    asked = changes
    if changes and changes[0].verb == "run":  # of a few blocks among very many
        listed, changes = changes[0].blocks, changes[1:]
    for number in listed:
        if number > len(chain):
            chain.block(number)  # refuses it in its own words
    slots = [Slot((b,), ((b, 1.0),)) for b in listed]
    for change in changes:
        for number in change.blocks:
            if number > len(chain):
                chain.block(number)
        slots = APPLY[change.verb](slots, change, chain)
    steps = tuple(step for slot in slots for step in slot.steps)
    if asked:
        _fit(steps, "; ".join(map(str, asked)), chain)
    return steps


def _places(slots: Sequence[Slot], change: Change, numbers: Sequence[int]) -> list[int]:
    """Where each of these blocks stands alone; raises `ProbeError` where it does not."""
    where: dict[int, int] = {}
    for place, slot in enumerate(slots):
        for block in slot.blocks:
            where[block] = -1 if len(slot.blocks) > 1 or block in where else place
    found = []
    for number in numbers:
        if number not in where:
            raise ProbeError(f"{change}: block {number} no longer runs")
        if where[number] < 0:
            raise ProbeError(
                f"{change}: block {number} is part of a loop, a run or a parallel range by then: "
                "write this change before that one"
            )
        found.append(where[number])
    return found


def _each(make: Callable[[Change, Step, int], Step]) -> Callable[..., list[Slot]]:
    """A verb that changes the steps of single blocks, wherever and however often they run."""

    def apply(slots: list[Slot], change: Change, chain: Blocks) -> list[Slot]:
        index = {block: place for place, block in enumerate(change.blocks)}
        _among(slots, change)
        return [
            Slot(
                slot.blocks,
                tuple(
                    make(change, step, index[_number(step)]) if _number(step) in index else step
                    for step in slot.steps
                ),
            )
            for slot in slots
        ]

    return apply


def _number(step: Step) -> int:
    """The block of a step; 0 of a parallel range."""
    place = step[0]
    if isinstance(place, int):
        return place
    return 0 if place.kind == "parallel" else _number(place.steps[0])


def _among(slots: Sequence[Slot], change: Change) -> None:
    there = {_number(step) for slot in slots for step in slot.steps}
    for number in change.blocks:
        if number not in there:
            raise ProbeError(
                f"{change}: block {number} does not run by itself any more: write this change "
                "before the one that takes it in"
            )


def _delete(change: Change, step: Step, index: int) -> Step:
    _refuse_nothing(step, change)
    return (_number(step), 0.0)


def _scale(change: Change, step: Step, index: int) -> Step:
    assert isinstance(change.more, tuple)
    gate = step[1] * change.more[index]
    if gate == 0:
        _refuse_nothing(step, change)
        return (_number(step), 0.0)
    return (step[0], gate)


def _cut(change: Change, step: Step, index: int) -> Step:
    if step[1] == 0:
        raise ProbeError(_nothing(change, _number(step)))
    if not isinstance(step[0], int) and step[0].kind == "replace":
        raise ProbeError(f"{change}: block {_number(step)} has a value in its branch's place")
    from resnet_probe.edits.variants import Variant

    return (Variant("cut", ((_number(step), 1.0),)), step[1])


def _replace(change: Change, step: Step, index: int) -> Step:
    if not isinstance(step[0], int):
        _refuse_nothing(step, change)
    number, value = _number(step), str(change.more)
    if value == VALUES[0]:
        return (number, 0.0)
    from resnet_probe.edits.variants import Variant

    return (Variant("replace", ((number, 1.0),), value), 1.0)


def _refuse_nothing(step: Step, change: Change) -> None:
    if not isinstance(step[0], int) and step[0].kind == "cut":
        raise ProbeError(_nothing(change, _number(step)))


def _nothing(change: Change, number: int) -> str:
    return f"{change}: block {number} would have neither its shortcut nor its branch"


def _swap(slots: list[Slot], change: Change, chain: Blocks) -> list[Slot]:
    one, other = _places(slots, change, change.blocks)
    slots = list(slots)
    slots[one], slots[other] = slots[other], slots[one]
    return slots


def _order(slots: list[Slot], change: Change, chain: Blocks) -> list[Slot]:
    places = _places(slots, change, change.blocks)
    moved, slots = [slots[place] for place in places], list(slots)
    for place, slot in zip(sorted(places), moved, strict=True):
        slots[place] = slot
    return slots


def _reverse(slots: list[Slot], change: Change, chain: Blocks) -> list[Slot]:
    first, last = change.blocks
    run: list[int] = []
    for number in [*range(first, last + 1), None]:
        if number is not None and chain.block(number).keeps_shape:
            run.append(number)
            continue
        if len(run) > 1:
            slots = _order(slots, Change(change.verb, tuple(reversed(run))), chain)
        run = []
    return slots


def _repeat(slots: list[Slot], change: Change, chain: Blocks) -> list[Slot]:
    assert isinstance(change.more, int)
    if change.more == 1:
        return slots
    first, last = _together(slots, change, chain, "run again")
    joined = _joined(slots[first : last + 1])
    return [*slots[:first], Slot(joined.blocks, joined.steps * change.more), *slots[last + 1 :]]


def _parallel(slots: list[Slot], change: Change, chain: Blocks) -> list[Slot]:
    assert isinstance(change.more, int)
    if change.blocks[0] == change.blocks[1]:
        again = Change("repeat", change.blocks, change.more)
        return _repeat(slots, again, chain)
    first, last = _together(slots, change, chain, "run in parallel")
    joined = _joined(slots[first : last + 1])
    from resnet_probe.edits.variants import Variant

    steps = ((Variant("parallel", joined.steps), 1.0),) * change.more
    return [*slots[:first], Slot(joined.blocks, steps), *slots[last + 1 :]]


def _together(slots: Sequence[Slot], change: Change, chain: Blocks, what: str) -> tuple[int, int]:
    """The first and the last place of a range of blocks that keep one shape, side by side."""
    low, high = change.blocks
    for number in range(low, high + 1):
        block = chain.block(number)
        if not block.keeps_shape:
            raise ProbeError(
                f"{change}: {_named(block, chain)} cannot {what}: it changes the shape, "
                f"{_shape(block.in_shape)} to {_shape(block.out_shape)}"
            )
    places = sorted(_places(slots, change, range(low, high + 1)))
    if places[-1] - places[0] != high - low:
        raise ProbeError(f"{change}: these blocks do not stand side by side by then")
    return places[0], places[-1]


def _joined(slots: Sequence[Slot]) -> Slot:
    return Slot(
        tuple(block for slot in slots for block in slot.blocks),
        tuple(step for slot in slots for step in slot.steps),
    )


def _run(slots: list[Slot], change: Change, chain: Blocks) -> list[Slot]:
    found = _places(slots, change, change.blocks)
    places = dict(zip(change.blocks, found, strict=True))
    return [slots[places[number]] for number in change.blocks]


APPLY: dict[str, Callable[[list[Slot], Change, Blocks], list[Slot]]] = {
    "delete": _each(_delete),
    "cut": _each(_cut),
    "swap": _swap,
    "order": _order,
    "reverse": _reverse,
    "repeat": _repeat,
    "run": _run,
    "scale": _each(_scale),
    "parallel": _parallel,
    "replace": _each(_replace),
}


def _fit(steps: Sequence[Step], edit: str, chain: Blocks) -> None:
    """Raises `ProbeError` for a block that gets a state of another shape than it takes, and for a
    form that a block cannot have."""
    for place, gate in steps:
        if not isinstance(place, int) or gate not in (0, 1):
            _can(place, gate, edit, chain)
    ends = [_ends(place) for place, _ in steps]
    before = 0
    for first, last in [*ends, (len(chain) + 1, 0)]:
        if first != before + 1:
            _meet(before, first, edit, chain)
        before = last


def _ends(place: int | Variant) -> tuple[int, int]:
    """The blocks whose shapes a place takes and gives."""
    if isinstance(place, int):
        return place, place
    return _ends(place.steps[0][0])[0], _ends(place.steps[-1][0])[1]


def _can(place: int | Variant, gate: float, edit: str, chain: Blocks) -> None:
    """Raises `ProbeError` for a layer of a plain network that is to have a shortcut or a gate."""
    if not isinstance(place, int) and place.kind == "parallel":
        for step in place.steps:
            _can(*step, edit, chain)
        return
    number = _ends(place)[0]
    block = chain.block(number)
    if getattr(block, "gated", True) or (isinstance(place, int) and gate in (0, 1)):
        return
    what = f"be scaled by {gate:g}" if isinstance(place, int) else f"be {place.kind}".replace(
        "replace", "replaced by a value"
    )  # fmt: skip
    raise ProbeError(
        f"layer {number} ({block.name}) cannot {what}: a plain layer has no branch beside a "
        "shortcut, it is on or off"
    )


def _meet(before: int, behind: int, edit: str, chain: Blocks) -> None:
    """Raises `ProbeError` unless a block can follow another; 0 and N + 1 are stem and head."""
    last = len(chain)
    taken = chain.block(behind).in_shape if behind <= last else chain.block(last).out_shape
    given = chain.block(before).out_shape if before else chain.block(1).in_shape
    if taken == given or not taken or not given:
        return
    where = f"behind {_named(chain.block(before), chain)}" if before else "at the beginning"
    who = _named(chain.block(behind), chain) if behind <= len(chain) else "the head"
    raise ProbeError(
        f"{edit}: {who} takes {_shape(taken)} and would get {_shape(given)} {where}: blocks that "
        "change the shape stay where they are, and others in their stage"
    )


def _named(block: Any, chain: Blocks) -> str:
    name = getattr(block, "name", "")
    return f"{chain.unit} {block.number}" + (f" ({name})" if name else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
