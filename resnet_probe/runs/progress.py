"""Progress for whoever watches: a bar on a terminal, a line a minute in a log.

Neither is shown for what takes less than two seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

DELAY = 2.0
"""Seconds before a bar is shown."""
A_LINE_EVERY = 60.0
"""Seconds, where nobody watches a bar."""
FORM = "{desc} {percentage:3.0f} % |{bar:30}| {elapsed} gone, {remaining} left"

Update = Callable[[int, int], None]
"""Called with (done, total)."""


@contextmanager
def progress_bar(what: str, *, quiet: bool = False) -> Iterator[Update]:
    """Gives a callback that takes (done, total); what it says goes to standard error."""
    if quiet:
        yield lambda done, total: None
    elif not sys.stderr.isatty():
        yield Log(what)
    else:
        from tqdm import tqdm

        with tqdm(desc=what, delay=DELAY, leave=False, bar_format=FORM) as bar:

            def update(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield update


@dataclass
class Log:
    """`paths: 1,200 of 5,000 (24 %), 3 min gone, 9 min left`, once a minute."""

    what: str
    began: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    first: int | None = None
    """What an earlier run has done, which says nothing of the pace of this one."""

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done if done > 1 and now - self.began < 1 else 0
        if now - self.said < A_LINE_EVERY or done >= total:
            return
        self.said, gone = now, now - self.began
        here = done - self.first
        left = f", {duration(gone * (total - done) / here)} left" if here > 0 else ""
        share = f"{done:,} of {total:,} ({100 * done / total:.0f} %)"
        print(f"{self.what}: {share}, {duration(gone)} gone{left}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
