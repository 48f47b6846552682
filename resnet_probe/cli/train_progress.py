"""What a training says: a line for every epoch, and a bar for who watches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from tqdm import tqdm

RECENT = 5
"""The time left is reckoned from that many epochs: machines get busy and idle again."""


@dataclass
class TrainProgress:
    """Prints a line for each epoch of so many, and moves the bar below them."""

    epochs: int
    bar: Callable[[int, int], None]
    took: list[float] = field(default_factory=list)
    before: int | None = None
    """Steps that an earlier run has done."""

    def __call__(self, row: dict[str, float]) -> None:
        self.took = [*self.took, row["seconds"]][-RECENT:]
        left = (self.epochs - row["epoch"]) * sum(self.took) / len(self.took)
        tqdm.write(
            f"epoch {row['epoch']:3.0f}/{self.epochs}  lr {row['lr']:.4f}  "
            f"loss {row['train_loss']:.4f}  training error {row['train_error_pct']:5.2f} %  "
            f"test error {row['test_error_pct']:5.2f} %  {row['images_per_s']:,.0f} images/s  "
            f"{duration(left)} left"
        )
        sys.stdout.flush()

    def step(self, done: int, total: int) -> None:
        """So many steps of so many are done; the bar is about those of this run."""
        if self.before is None:
            self.before = done - 1
        self.bar(done - self.before, total - self.before)


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
