"""The command line: one small file a subcommand, which parses, calls the library, says where.

Nothing here imports torch before a subcommand runs, so that `--help` is there at once.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from resnet_probe import __version__
from resnet_probe.errors import ProbeError, did_you_mean, on_one_line
from resnet_probe.runs.catalogue import ROWS

OTHERS = {
    "merge": "put the parts of a run together",
    "claims": "judge published claims on the networks that are here",
    "report": "run every study and write one page of what they found",
    "atlas": "measure a list of networks into one table and one page",
    "blocks": "find the residual blocks of any network, with a proof",
    "edit": "save an edited network, proven, with its size and speed",
    "describe": "print the blocks of an architecture, or the architectures there are",
    "train": "train an architecture",
    "bench": "measure speed against the naive way",
    "zoo": "bundled weights: list them, check them, add to them",
    "docs": "build the documentation and open it",
    "completion": "print a script that completes commands in a shell",
}
HELP = {**{row.name: row.help for row in ROWS}, **OTHERS}
"""What each command does; only the one that is asked for is imported."""
EPILOG = "COMMAND --help says more of each; `docs` builds pages on what they answer."
SCRIPT = "resnet-probe"


class Parser(ArgumentParser):
    """Says what is wrong in one sentence, and the nearest word to an unknown one.

    The start of an option is no option: `--seed` would quietly be taken as `--seeds`.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **{"allow_abbrev": False, **named})

    def error(self, message: str) -> NoReturn:
        raise ProbeError(f"{message}{self._nearest(message)} (see {self.prog} --help)")

    def _nearest(self, message: str) -> str:
        """Of an option or a choice that there is not, the one that is spelled most alike."""
        if message.startswith("unrecognized arguments: --"):
            word = message.split()[2].partition("=")[0][2:]
            names = {name.replace("_", "-") for name in _options(self)} - {word}
            return did_you_mean(word, sorted(names), form="--{}")
        if found := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            return did_you_mean(found[1], [each.strip(" '") for each in found[2].split(",")])
        return ""


def called() -> str:
    """How this was started: by its script or as a module."""
    return SCRIPT if Path(sys.argv[0]).stem == SCRIPT else "python -m resnet_probe"


def parser(name: str | None = None, *, every: bool = False) -> ArgumentParser:
    """The parser of all commands, with the options of one of them, or of `every` one."""
    top = Parser(
        prog=called(),
        description="Measure how a trained residual network works: delete its blocks, follow its "
        "gradient path by path, look at its responses.",
        epilog=EPILOG,
    )
    top.add_argument("--version", action="version", version=f"resnet_probe {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for each, help in HELP.items():
        if every or each == name:
            _command(each).add_parser(commands)
        else:
            commands.add_parser(each, help=help)
    return top


def _command(name: str) -> Any:
    if name in OTHERS:
        return import_module(f"resnet_probe.cli.{name}")
    from resnet_probe.cli.study import StudyCommand
    from resnet_probe.runs.catalogue import row

    return StudyCommand(row(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it worked, 2 for a request that cannot be met, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given and given[0] in HELP else None
    try:
        _refuse_unwritable(given)
        _refuse_unknown(given)
        top = parser(name)
        options = top.parse_args(given, Namespace(given=given))
        if "run" not in options:
            top.print_help()
            return 0
        return options.run(options) or 0
    except ProbeError as error:
        print(f"error: {on_one_line(_translated(str(error), name))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        how = f": {on_one_line(str(interrupt))}" if str(interrupt) else ""
        print(f"\ninterrupted{how}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, `head` for one, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError) as error:
        from resnet_probe.engine.memory import exhausted

        if not exhausted(error):
            raise
        print("error: the memory here does not suffice: ask for fewer or smaller images, a smaller "
              "--batch, or a smaller network", file=sys.stderr)  # fmt: skip
        return 2
    except OSError as error:  # a name that no file can have, and what a disk refuses
        if error.filename is None:
            raise
        name = str(error.filename)
        shown = name if len(name) <= 80 else f"{name[:60]}…"
        print(f"error: {on_one_line(shown)} cannot be used: {error.strerror}", file=sys.stderr)
        return 2


def _refuse_unwritable(given: Sequence[str]) -> None:
    """The command is kept beside its result, so its words must be such as a file can hold."""
    for word in given:
        if re.fullmatch("--[^=]+=--", word):  # of which argparse made an empty list, up to 3.12
            raise ProbeError(f"{word} gives no value: -- stands for the end of the options")
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise ProbeError(
                f"{ascii(word)[:80]} is not text in UTF-8, in which results and their commands are "
                "kept: give another name"
            ) from error


def _refuse_unknown(given: Sequence[str]) -> None:
    names = list(HELP)
    if given and not given[0].startswith("-") and given[0] not in names:
        there = ", ".join(names) + did_you_mean(given[0], names)
        raise ProbeError(f"unknown command {given[0]!r}: there are {there}")


def _translated(message: str, name: str | None) -> str:
    """The message in the words of the command: what the library calls `tau=` is `--tau` here."""
    if name is None:
        return message
    from resnet_probe.cli.options import in_words_of_the_command

    return in_words_of_the_command(message, _options(parser(name)))


def _options(top: ArgumentParser) -> set[str]:
    """The names of all options, of subcommands too."""
    found: set[str] = set()
    for action in top._actions:
        if isinstance(action.choices, dict):
            found |= {name for sub in action.choices.values() for name in _options(sub)}
        found |= {flag[2:].replace("-", "_") for flag in action.option_strings if flag[:2] == "--"}
    return found
