"""Options on a command line: each stands once, as a field of a `Settings` class."""

from __future__ import annotations

import re
import shutil
import textwrap
from argparse import ArgumentParser, BooleanOptionalAction, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from resnet_probe.loading.request import FILES, IMAGES, NETWORK, Request
from resnet_probe.settings import Option, Settings, option
from resnet_probe.studies.study import Resources

if TYPE_CHECKING:
    from resnet_probe.loading import Prepared

S = TypeVar("S", bound=Settings)
OF_A_NETWORK = "%(prog)s\n       (--arch NAME | --model MODULE:CALLABLE) [options]"
"""How a command on a network is used; its options are listed below that, in their groups."""
WIDE = 77
"""Characters of an example's line, without what says that it goes on."""
TITLES = {"run": "the run", "": "what is measured", "networks": NETWORK}


@dataclass(frozen=True, kw_only=True)
class Seed(Settings):
    """Of a command that draws at random, or whose studies do."""

    seed: int = option(0, "of all random draws (default: 0)", least=0, metavar="N", group="run")


def command(
    commands: Any, name: str, help: str, description: str, examples: str, usage: str | None = None
) -> Any:
    """A subcommand's parser, with its examples behind the options."""
    parser: ArgumentParser = commands.add_parser(
        name,
        usage=usage,
        help=help,
        description=_wrapped(description),
        epilog=_broken(examples),
        formatter_class=RawDescriptionHelpFormatter,
    )
    return parser


def _wrapped(text: str) -> str:
    """Paragraphs as wide as the terminal, as argparse wraps what it is not given raw."""
    width = max(shutil.get_terminal_size().columns - 2, 20)
    return "\n\n".join(textwrap.fill(each, width) for each in text.split("\n\n"))


def _broken(examples: str) -> str:
    """Commands on as many lines as they need, each from an option on, which copy as one."""
    lines: list[str] = []
    for command in re.sub(r" \\\n +", " ", examples).split("\n"):
        line, *pieces = re.split(r"(?= --)", command)
        for piece in pieces:
            if len(line + piece) > WIDE:
                lines.append(f"{line} \\")
                line = "     "
            line += piece
        lines.append(line)
    return "\n".join(lines)


def add(
    parser: ArgumentParser,
    settings: type[Settings],
    *,
    among: Collection[str] | None = None,
    leave: Collection[str] = (),
    several: Collection[str] = (),
) -> None:
    """The options of a `Settings` class, in their groups.

    Only those whose group is in `among`, all but those named in `leave`; those named in `several`
    take more than one value.
    """
    for each in settings.options():
        if each.name in leave or (among is not None and each.group not in among):
            continue
        _add_one(_group(parser, TITLES.get(each.group, each.group)), each, each.name in several)


def _add_one(group: Any, each: Option, several: bool) -> None:
    given: dict[str, Any] = {"help": each.help.replace("%", "%%"), "default": each.default}
    if each.kind is bool:
        given["action"] = BooleanOptionalAction if each.default is None else "store_true"
        group.add_argument(each.flag, **given)
        return
    if several or each.several:
        given["nargs"] = "+"
    if each.choices:
        given["choices"] = each.choices
    if each.metavar:
        given["metavar"] = each.metavar
    group.add_argument(each.flag, type=_reader(each), **given)


def _reader(each: Option) -> Callable[[str], Any]:
    """What makes a value of a word; a number out of bounds is refused as soon as it is read."""
    if each.kind not in (int, float):
        return each.read or str
    read: Callable[[str], Any] = each.read or each.kind

    @wraps(read)
    def bounded(text: str) -> Any:
        value = read(text)
        each.check(value)
        return value

    return bounded


def _group(parser: ArgumentParser, title: str) -> Any:
    for group in parser._action_groups:
        if group.title == title:
            return group
    return parser.add_argument_group(title)


def read(settings: type[S], options: Namespace, **instead: Any) -> S:
    """The settings that a command line asks for."""
    given = {
        each.name: getattr(options, each.name)
        for each in settings.options()
        if hasattr(options, each.name)
    }
    return settings(**{**given, **instead})


def add_network(parser: ArgumentParser, *, several: Collection[str] = ()) -> None:
    """`--arch`, or `--model` with `--input` and `--output`, and the weights."""
    add(parser, Request, among=[NETWORK], several=several)
    _group(parser, NETWORK).add_argument(
        "--pretrained",
        dest="weights",
        action="store_const",
        const=["pretrained"] if "weights" in several else "pretrained",
        help="the weights that torchvision or timm publishes, with the preprocessing that belongs "
        "to them",
    )


def add_architecture(parser: ArgumentParser) -> None:
    """A network without weights."""
    add(parser, Request, among=[NETWORK], leave=["weights", "zoo"])


def add_data(parser: ArgumentParser) -> None:
    add(parser, Request, among=[IMAGES, FILES])


def add_files(parser: ArgumentParser) -> None:
    """How images in files are read: those of `imagefolder:`, `parquet:` and kin."""
    add(parser, Request, among=[FILES])


def add_run(parser: ArgumentParser, *, seed: bool = True, out: bool = True) -> None:
    """What a run may take, and where it writes to."""
    add(parser, Resources)
    add(parser, Request, among=["run"])
    group = run_group(parser)
    if seed:
        add(parser, Seed)
    if out:
        group.add_argument(
            "--out", type=Path, metavar="DIR", help="where to write (default: runs/STUDY-ARCH-DATA)"
        )


def run_group(parser: ArgumentParser) -> Any:
    """Where the options of a run stand."""
    return _group(parser, TITLES["run"])


def run_options(options: Namespace) -> dict[str, Any]:
    """`batch` and `memory` as a study takes them."""
    return read(Resources, options).values


def prepare(options: Namespace) -> Prepared:
    """What `add_network`, `add_data` and `add_run` ask for."""
    return read(Request, options).prepared()


def in_words_of_the_command(message: str, names: Iterable[str]) -> str:
    """A message that names arguments of Python, with the options of a command in their place.

    `tau= goes with edit='permute'` becomes `--tau goes with --edit permute`.
    """
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    if not known:
        return message

    def flag(found: re.Match[str]) -> str:
        value = found["quoted"] if found["quoted"] is not None else found["plain"] or ""
        return f"--{found['name'].replace('_', '-')}" + (f" {value}" if value else "")

    form = rf"(?<![\w.:,=/-])(?P<name>{known})=(?:'(?P<quoted>[^']*)'|(?P<plain>[^\s,;:)?]*))"
    return re.sub(form, flag, message)
