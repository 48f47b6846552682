"""The command line: one small file a subcommand, which parses, calls the library, says where.

Nothing here imports torch before a subcommand runs, so that `--help` is there at once.
"""

from __future__ import annotations

import difflib
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import NoReturn

from resnet_probe.cli import (
    agreement,
    attribute,
    bench,
    blocks,
    claims,
    describe,
    lens,
    lesion,
    paths,
    report,
    responses,
    train,
    zoo,
)
from resnet_probe.errors import ProbeError

COMMANDS = (
    lesion,
    paths,
    responses,
    lens,
    attribute,
    agreement,
    claims,
    report,
    blocks,
    describe,
    train,
    bench,
    zoo,
)
EPILOG = "python -m resnet_probe COMMAND --help says more of each; the README shows what they find."


class Parser(ArgumentParser):
    """Says what is wrong in one sentence, and the nearest word to an unknown one."""

    def error(self, message: str) -> NoReturn:
        raise ProbeError(f"{message} (see {self.prog} --help)")


def parser() -> ArgumentParser:
    top = Parser(
        prog="python -m resnet_probe",
        description="Measure how a trained residual network works: delete its blocks, follow its "
        "gradient path by path, look at its responses.",
        epilog=EPILOG,
    )
    commands = top.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for module in COMMANDS:
        module.add_parser(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it worked, 2 for a request that cannot be met, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    top = parser()
    try:
        _refuse_unknown(given)
        options = top.parse_args(given)
        if "run" not in options:
            top.print_help()
            return 0
        return options.run(options) or 0
    except ProbeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        how = f": {interrupt}" if str(interrupt) else ""
        print(f"\ninterrupted{how}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, `head` for one, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _refuse_unknown(given: Sequence[str]) -> None:
    names = [module.NAME for module in COMMANDS]
    if given and not given[0].startswith("-") and given[0] not in names:
        near = difflib.get_close_matches(given[0], names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ProbeError(f"unknown command {given[0]!r}: there are {', '.join(names)}{hint}")
