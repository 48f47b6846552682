"""Edits by their texts: written at random, and run on a network that is no chain."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import torch
from campaigns.plain import Plain
from torch import Tensor

Values = dict[int, Tensor]
"""What stands in the place of a block's branch."""


def edited(
    plain: Plain, x: Tensor, text: str, value: Callable[[int, str], Tensor] | None = None
) -> Tensor:
    """The logits of the network after an edit; `value` makes what replaces a branch."""
    slots: list[tuple[list[int], int, bool]] = [([b], 1, False) for b in range(1, len(plain) + 1)]
    gates, cut, put = {}, set(), {}
    for change in filter(None, map(str.strip, text.split(";"))):
        verb, _, rest = change.partition(" ")
        words = rest.split()
        if verb == "scale":
            for b, gate in zip(words[::2], words[1::2], strict=True):
                gates[int(b)] = gates.get(int(b), 1.0) * float(gate)
        elif verb == "delete":
            gates |= dict.fromkeys(numbers(rest), 0.0)
        elif verb == "cut":
            cut |= set(numbers(rest))
        elif verb == "replace":
            places, what = re.match(r"([\d. ]+) (\D+)$", rest).groups()
            put |= dict.fromkeys(numbers(places), what)
        else:
            slots = moved(slots, verb, words, plain)

    def total(b: int, h: Tensor) -> Tensor:
        branch = value(b, put[b]).expand(len(h), -1, -1, -1) if b in put else plain.branch(b, h)
        return (0 if b in cut else 1) * plain.shortcut(b, h) + gates.get(b, 1.0) * branch

    h = plain.stem(x)
    for blocks, times, beside in slots:
        for _ in range(times):
            if beside:
                h = plain.after(blocks[-1], torch.stack([total(b, h) for b in blocks]).mean(0))
            else:
                for b in blocks:
                    h = plain.after(b, total(b, h))
    return plain.head(h)


def numbers(text: str) -> list[int]:
    found = []
    for word in text.split():
        first, _, last = word.partition("..")
        found += range(int(first), int(last or first) + 1)
    return found


def moved(slots, verb: str, words: list[str], plain: Plain):
    """The slots in another order, several times, or side by side."""
    where = {blocks[0]: place for place, (blocks, *_) in enumerate(slots)}
    found = list(slots)
    if verb in ("repeat", "parallel"):
        blocks = numbers(words[0])
        times = int(words[1]) if len(words) > 1 else 1
        first, last = where[blocks[0]], where[blocks[-1]]
        inside = [b for some, *_ in slots[first : last + 1] for b in some]
        return [*slots[:first], (inside, times, verb == "parallel"), *slots[last + 1 :]]
    if verb == "run":
        return [([b], 1, False) for b in numbers(" ".join(words))]
    if verb == "reverse":
        runs: list[list[int]] = [[]]
        for b in numbers(words[0]):
            runs = [*runs[:-1], [*runs[-1], b]] if plain.keeps_shape(b) else [*runs, []]
        for run in runs:
            for b, other in zip(run, reversed(run), strict=True):
                found[where[b]] = slots[where[other]]
        return found
    order = numbers(" ".join(words))
    if verb == "swap":
        order = order[::-1] if where[order[0]] < where[order[1]] else order
    for place, b in zip(sorted(where[b] for b in order), order, strict=True):
        found[place] = slots[where[b]]
    return found


def some_edits(pick: random.Random, plain: Plain) -> list[str]:
    """Texts that a network can have, some of several changes."""
    blocks = list(range(1, len(plain) + 1))
    free = [b for b in blocks if plain.keeps_shape(b)]
    runs = [run for run in _runs(blocks, plain) if len(run) > 1]
    found = ["", f"scale {pick.choice(blocks)} {pick.choice([0.5, -1, 2, 0.1])}",
             f"delete {pick.choice(blocks)}", f"cut {pick.choice(blocks)}"]  # fmt: skip
    if free:
        found += [f"repeat {pick.choice(free)} {pick.randint(2, 3)}"]
    if runs:
        run = pick.choice(runs)
        span = f"{run[0]}..{run[-1]}"
        one, other = pick.sample(run, 2)
        order = " ".join(map(str, pick.sample(run, len(run))))
        found += [
            f"swap {one} {other}",
            f"order {order}",
            f"reverse {span}",
            f"parallel {span}",
            f"parallel {span} {pick.randint(2, 3)}",
            f"repeat {span} {pick.randint(2, 3)}",
        ]
    several = [f"{pick.choice(found[1:4])}; {pick.choice(found[1:])}" for _ in range(3)]
    return found + [each for each in several if "cut" not in each or "delete" not in each]


def _runs(blocks: list[int], plain: Plain) -> list[list[int]]:
    """Neighbouring blocks that keep the shape."""
    found: list[list[int]] = [[]]
    for b in blocks:
        found = [*found[:-1], [*found[-1], b]] if plain.keeps_shape(b) else [*found, []]
    return found
