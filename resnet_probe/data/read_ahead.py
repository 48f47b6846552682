"""Rows of a data set in their order, made ready by worker processes before they are asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from resnet_probe.errors import ProbeError

CHUNK = 16
"""Images that a worker hands over at once: small enough for a container's shared memory."""
MOST_WORKERS = 8
WORTH_WORKERS = 64
"""Fewer images than this are decoded before worker processes have started."""


def usual_workers() -> int:
    """One a core, and no more than 8."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
               else os.cpu_count() or 1)  # fmt: skip


class ReadAhead:
    """Reads ranges of a map-style data set, each row a tensor.

    A range that begins where the last one ended finds its images waiting; any other starts the
    workers anew.  What comes does not depend on the number of ``workers`` (0: no processes).
    ``collate`` makes one tensor ``[n, …]`` of a list of rows.

    Raises ProbeError, in this process, where a row raises it in a worker.
    """

    def __init__(
        self,
        rows: Dataset[Any],
        *,
        workers: int | None = None,
        collate: Callable[[list[Any]], Tensor] = torch.stack,
    ) -> None:
        self.rows = rows
        self.count = len(rows)  # type: ignore[arg-type]
        self.workers = usual_workers() if workers is None else workers
        self.collate = collate
        self._waiting: list[Tensor] = []
        self._chunks: Generator[Tensor, None, None] | None = None
        self._next = -1

    def __call__(self, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop − 1``, ``[stop − start, …]``."""
        following, self._next = start == self._next, -1  # until this range has been read
        if not following and stop - start < min(CHUNK, self.count - start):
            return self.collate([self.rows[row] for row in range(start, stop)])
        if not following:
            self._begin(start)
        assert self._chunks is not None
        while sum(map(len, self._waiting)) < stop - start:
            self._waiting.append(next(self._chunks))
        found = torch.cat(self._waiting)
        self._waiting, self._next = [found[stop - start :].clone()], stop
        return found[: stop - start]

    def picked(self, rows: Sequence[int]) -> ReadAhead:
        """The same of these rows alone, in this order."""
        return ReadAhead(Subset(self.rows, rows), workers=self.workers, collate=self.collate)

    def _begin(self, start: int) -> None:
        if self._chunks is not None:
            self._chunks.close()  # before there are new processes, which would inherit the old ones
        self._chunks = in_order(self.rows, start, workers=self.workers, collate=self.collate)
        self._waiting = []


def in_order(
    rows: Dataset[Any],
    start: int,
    *,
    workers: int,
    collate: Callable[[list[Any]], Any],
    chunk: int = CHUNK,
) -> Generator[Any, None, None]:
    """What ``collate`` makes of the rows from ``start`` on, ``chunk`` of them at a time.

    Raises ProbeError, in this process, for a row that cannot be read.
    """
    left = Subset(_Refusing(rows), range(start, len(rows)))  # type: ignore[arg-type]
    loader = DataLoader(
        left,
        batch_size=chunk,
        collate_fn=_Collate(collate),
        num_workers=workers if len(left) >= WORTH_WORKERS else 0,
        generator=torch.Generator(),  # or it would draw from the global one
    )
    with warnings.catch_warnings():
        # More workers than cores, or a fork beside threads: both are as torch means them to be.
        warnings.simplefilter("ignore")
        chunks = iter(loader)
    try:
        for found in chunks:
            if isinstance(found, ProbeError):
                raise found
            yield found
    finally:
        del chunks  # ends its processes now, not when an error's traceback is forgotten


class _Refusing(Dataset[Any]):
    """Hands an error over as a value: what a worker raises arrives as a text of many lines."""

    def __init__(self, rows: Dataset[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)  # type: ignore[arg-type]

    def __getitem__(self, row: int) -> Any:
        try:
            return self.rows[row]
        except ProbeError as error:
            return error
        except Exception as error:
            return ProbeError(f"row {row} cannot be read ({type(error).__name__}: {error})")


class _Collate:
    """Makes a batch of rows, or passes an error on: the first among them, or its own."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, rows: list[Any]) -> Any:
        refused = next((row for row in rows if isinstance(row, ProbeError)), None)
        try:
            return self.collate(rows) if refused is None else refused
        except ProbeError as error:
            return error
