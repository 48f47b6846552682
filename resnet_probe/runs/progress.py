"""A progress bar for whoever watches: after two seconds, on a terminal, never into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a callback that takes (done, total)."""
    from tqdm import tqdm

    form = "{desc} {percentage:3.0f} % |{bar:30}| {elapsed} gone, {remaining} left"
    quiet = not sys.stderr.isatty()
    with tqdm(desc=what, delay=2, leave=False, disable=quiet, bar_format=form) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
