"""What a command says and in which form it draws: the same options for every study."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_probe.errors import ProbeError, did_you_mean

TITLE = "what is said and drawn"
FORMATS = ("png", "svg", "pdf")
FIRST = ("report.html", "table.csv", "provenance.json")
"""Files that are named before the others."""


def formats(text: str) -> tuple[str, ...]:
    """`png,pdf` as a tuple; raises `ProbeError` for a format that there is not."""
    found = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    unknown = [each for each in found if each not in FORMATS]
    if unknown:
        there = ", ".join(FORMATS) + did_you_mean(unknown[0], FORMATS)
        raise ProbeError(f"format={text!r}: {unknown[0]!r} is none of {there}")
    return found


def add_output(parser: ArgumentParser, *, figures: bool = True) -> None:
    """`--json`, `--quiet` and `--dry-run`; with `figures`, `--format` and `--columns`."""
    group = parser.add_argument_group(TITLE)
    form = group.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true",
        help="print one JSON object: what was found, and the paths of what was written",
    )  # fmt: skip
    form.add_argument("--quiet", action="store_true", help="print the folder and nothing else")
    if figures:
        group.add_argument(
            "--format", type=formats, metavar="A,B",
            help="of the figures: some of png, svg, pdf (default: png,svg)",
        )  # fmt: skip
        group.add_argument(
            "--columns", type=int, choices=(1, 2),
            help="of a paper that a figure spans: 1 (3.3 in) or 2 (7 in; default)",
        )  # fmt: skip
    group.add_argument(
        "--dry-run", action="store_true",
        help="say what would run, how many branches, in what memory and about how long, measured "
        "on the first batches; write nothing",
    )  # fmt: skip


@dataclass(frozen=True)
class Output:
    """Where the words of a command go: all to standard output, one JSON object, or a path."""

    json: bool = False
    quiet: bool = False

    @classmethod
    def of(cls, options: Namespace) -> Output:
        return cls(options.json, options.quiet)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is printed inside goes, with `--json`, to standard error, with `--quiet` nowhere."""
        if self.json:
            with redirect_stdout(sys.stderr):
                yield
        elif self.quiet:
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
                yield
        else:
            yield

    def tell(self, summary: str, folder: Path, *, note: str = "", **facts: Any) -> None:
        """What was found, and where it lies; `facts` go into the JSON object beside it."""
        names = in_order(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if self.json:
            lines = [line for line in summary.splitlines() if line.strip()]
            files = [str(folder / name) for name in names]
            said = {**facts, "summary": lines, "folder": str(folder), "files": files}
            print(json.dumps(said, ensure_ascii=False, indent=2))
        elif self.quiet:
            print(folder)
        else:
            print(f"{summary}\n\n{folder}: {', '.join(names)}{note}")


def in_order(names: Any) -> Sequence[str]:
    """File names with those first that a reader opens first."""
    there = sorted(names)
    first = [name for name in FIRST if name in there]
    return [*first, *(name for name in there if name not in first)]
