"""`describe`: the blocks of an architecture, the names there are, and the tables of the paper."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    import pandas as pd

NAME = "describe"
HELP = "print the blocks of an architecture, or the architectures there are"
DESCRIPTION = """\
Print the blocks of an architecture: number, name, stage, kind of shortcut, output shape,
parameters, multiply-adds; and the totals. Nothing is trained or loaded."""
EXAMPLES = """\
examples:
  python -m resnet_probe describe --arch resnet110
  python -m resnet_probe describe --arch resnet:depth=38,width=32
  python -m resnet_probe describe --arch resnet110:order=bn_after
  python -m resnet_probe describe --arch resnet110:shortcut=gated,gate_bias=-6
  python -m resnet_probe describe --arch resnet50:stride=v1 --input 3x224x224
  python -m resnet_probe describe --list   # names; --options: with theirs
  python -m resnet_probe describe --paper  # sizes of He et al. 2015, counted"""
COUNTS = ("parameters", "multiply_adds", "torchvision_parameters", "torchvision_multiply_adds")


def add_parser(commands: Any) -> None:
    parser = shared.command(commands, NAME, HELP, DESCRIPTION, EXAMPLES)
    parser.add_argument("--arch", metavar="NAME", help="such as resnet110, resnet20:shortcut=B")
    parser.add_argument(
        "--model",
        metavar="MODULE:CALLABLE",
        help="a network of your own instead, such as mypkg.nets:build, with --input",
    )
    parser.add_argument("--input", metavar="CxHxW", help="image shape (default: the usual one)")
    parser.add_argument("--list", action="store_true", help="list the names instead")
    parser.add_argument(
        "--options", action="store_true", help="with --list: and the options that each name takes"
    )
    parser.add_argument(
        "--paper",
        action="store_true",
        help="count the networks of He et al. 2015, table 1 and section 4.2, and print their "
        "sizes beside the published ones",
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    if options.list or options.options:
        return _print_options() if options.options else _print_names()
    if options.paper:
        return _print_paper()
    if options.model is not None:
        if options.arch is not None:
            raise ProbeError("--arch and --model: describe one network at a time")
        sides = "x".join(map(str, image_shape(options.input))) if options.input else ""
        options.arch = f"{options.model}@{sides}".rstrip("@")
    if options.arch is None:
        raise ProbeError(
            "describe needs --arch NAME (or --list for the names, --paper for the tables of 2015)"
        )
    return _print_blocks(options.arch, options.input)


def _print_blocks(name: str, shape: str | None) -> int:
    import torch

    from resnet_probe.describe import describe
    from resnet_probe.loading import architecture, cut, remarks
    from resnet_probe.loading.prepared import number_type

    arch = architecture(name)
    sides = image_shape(shape) if shape else arch.input_shape
    model = arch.build(seed=0)
    example = torch.zeros(1, *sides, dtype=number_type(model))
    chain = cut(arch, model, example)
    table = describe(chain, example)
    print(f"{arch.spec}: {len(chain)} {chain.unit}s in {len(chain.stages)} stages, "
          f"images of {'×'.join(map(str, sides))}, {chain.classes} classes\n")  # fmt: skip
    print(_shown(table))
    total, work = table["parameters"].sum(), table["multiply_adds"].sum()
    print(f"\ntotal: {total:,} parameters, {work:,} multiply-adds ({work / 1e6:,.1f} M)")
    for note in [arch.note] if arch.note else remarks(arch, chain):
        print(f"note: {note}")
    return 0


def _print_names() -> int:
    """On one screen: a line or two a family."""
    from resnet_probe import models

    for group in models.groups():
        more = f"   (any {group.form})" if group.form else ""
        print(_wrapped(" ".join(group.names) + more, ""))
    print("\nEvery name of torchvision's, timm:NAME, and a network of your own (--model) too.\n"
          "Options, as in resnet110:shortcut=gated: describe --list --options")  # fmt: skip
    return 0


def _print_options() -> int:
    from resnet_probe import models

    about: dict[str, Any] = {}
    for group in models.groups():
        print(_wrapped(" ".join(group.names), ""))
        if group.form:
            print(_wrapped(f"others of the family: {group.form}", "  "))
        if group.options:
            usual = (f"{option.name}={option.usual}" for option in group.options)
            print(_wrapped(f"options: {' '.join(usual)}", "  "))
        print()
        needed = models.options_of(group.form.split(":")[0]) if group.form else ()
        about |= {option.name: option for option in (*needed, *group.options)}
    print(
        "The options, written as resnet110:shortcut=gated,gate_bias=-3 or resnet:depth=38,width=32:"
    )
    for name, option in about.items():
        allowed = f" Takes {option}." if option.default is not None else ""
        print(_wrapped(f"{name}: {models.ABOUT[name]}.{allowed}", "  "))
    return 0


def _wrapped(text: str, indent: str) -> str:
    hanging = f"{indent}    "
    return textwrap.fill(
        text, 100, initial_indent=indent, subsequent_indent=hanging, break_on_hyphens=False
    )


def _print_paper() -> int:
    from resnet_probe.models import paper_tables

    print(f"{paper_tables.IMAGENET_CAPTION}\n")
    print(_shown(paper_tables.imagenet_table()))
    print(f"\n{paper_tables.CIFAR_CAPTION}\n")
    print(_shown(paper_tables.cifar_table()))
    print(f"\npublished: {', '.join(paper_tables.sources())}; all else is counted here")
    return 0


def _shown(table: pd.DataFrame) -> str:
    counts = dict.fromkeys((name for name in COUNTS if name in table), "{:,}".format)
    whole = {name: "string" for name in ("number", "stage") if name in table}
    text = table.astype(whole).fillna(dict.fromkeys(whole, ""))
    return text.to_string(index=False, formatters=counts, na_rep="")


def image_shape(text: str) -> tuple[int, ...]:
    """`3x224x224` as (3, 224, 224)."""
    from resnet_probe.loading.request import image_size

    return tuple(map(int, image_size(text).split("x")))
