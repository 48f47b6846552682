"""What is known of a network with blocks off: every measured combination, for the switchboard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from resnet_probe.results import Result

MATRIX = 12
"""Classes up to which a page shows all confusions; of more, the most frequent."""
NUMBERS = (
    "error_pct", "ci_low_pct", "ci_high_pct", "delta_pct", "delta_low_pct", "delta_high_pct",
    "recalibrated_error_pct",
)  # fmt: skip


@dataclass(frozen=True)
class Switchboard:
    """The measured combinations of blocks.

    `blocks` has a row a block: block, name, stage, shortcut.  `studies` are the lesions that
    measured, with their images, their images of each class, and the row of the whole network;
    `found` has, by the numbers of the blocks that are off (`"3 4"`), the place of its study, the
    `NUMBERS`, and its confusions: class, answer, images, one after another.
    """

    blocks: list[dict[str, Any]] = field(default_factory=list)
    studies: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, results: Mapping[str, Result]) -> Switchboard:
        """From the results of a report, by study; empty without a lesion of single blocks.

        What several lesions have measured is that of the most images.
        """
        if "lesion" not in results:
            return cls()
        made = cls(_blocks(results["lesion"].table))
        lesions = [one for study, one in results.items() if study.startswith("lesion")]
        for result in sorted(lesions, key=lambda one: -int(one.table["images"].iloc[0])):
            made._add(result)
        return made

    def _add(self, result: Result) -> None:
        table = result.table
        place, counts = len(self.studies), _confusions(result)
        rows = table["kind"].eq("delete").to_numpy(copy=True)
        rows[0] = True
        new = {_key(table["blocks"].iloc[i]): int(i) for i in np.flatnonzero(rows)[::-1]}
        whole = new.pop("")
        new = {key: i for key, i in new.items() if key not in self.found}
        if not new:
            return
        self.studies.append(
            {
                "name": result.study,
                "images": int(table["images"].iloc[0]),
                "classes": None if counts is None else counts(0).sum(axis=1).tolist(),
                "whole": self._entry(table.iloc[whole], place, counts, whole, all_of_them=True),
            }
        )
        for key in sorted(new, key=_order):
            self.found[key] = self._entry(table.iloc[new[key]], place, counts, new[key])

    @staticmethod
    def _entry(
        row: pd.Series, place: int, counts: Any, index: int, *, all_of_them: bool = False
    ) -> list[Any]:
        numbers = [_plain(row.get(name)) for name in NUMBERS]
        if counts is None:
            return [place, *numbers, None]
        found = counts(index)
        wrong = np.argwhere(found * (1 - np.eye(len(found), dtype=int)))
        often = wrong[np.argsort(-found[tuple(wrong.T)], kind="stable")]
        if len(found) > MATRIX and not all_of_them:
            often = often[:MATRIX]
        return [place, *numbers, [int(n) for i, j in often for n in (i, j, found[i, j])]]

    @property
    def stages(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """The blocks stage by stage."""
        found: dict[str, list[dict[str, Any]]] = {}
        for block in self.blocks:
            found.setdefault(block["stage"], []).append(block)
        return list(found.items())

    @property
    def said(self) -> str:
        """How many combinations were measured: `9 of one block, 8 of 2, 28 of more`."""
        sizes = Counter(key.count(" ") + 1 for key in self.found)
        few = [f"{sizes[n]:,} of {n if n > 1 else 'one block'}" for n in (1, 2, 3) if sizes[n]]
        more = sum(count for n, count in sizes.items() if n > 3)
        return ", ".join([*few, *([f"{more:,} of more"] if more else [])])

    @property
    def data(self) -> str:
        """For the script of the page, to stand inside a `<script>`: no `<` that could end it."""
        keys = sorted(self.found, key=_order)
        given = {"studies": self.studies, "found": {key: self.found[key] for key in keys},
                 "matrix": MATRIX}  # fmt: skip
        return json.dumps(given, separators=(",", ":")).replace("<", "\\u003c")


def _blocks(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table[table["kind"] == "delete"]
    columns = (rows["blocks"], rows["names"], rows["stage"], rows["shortcut"])
    return [
        {"block": int(block), "name": str(name), "stage": str(stage), "shortcut": str(shortcut)}
        for block, name, stage, shortcut in zip(*columns, strict=True)
    ]


def _confusions(result: Result) -> Any:
    """The counts `[class, answer]` of a row of the table; None where no answers are kept."""
    if "answer" not in result.outcomes or "labels" not in result.outcomes:
        return None
    return lambda index: result.confusion(index).to_numpy()


def _key(blocks: Any) -> str:
    return "" if pd.isna(blocks) else " ".join(map(str, sorted(map(int, str(blocks).split()))))


def _order(key: str) -> tuple[int, list[int]]:
    numbers = [int(number) for number in key.split()]
    return len(numbers), numbers


def _plain(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), 3)
