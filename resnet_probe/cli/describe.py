"""`describe`: the blocks of an architecture, with shapes, parameters and multiply-adds."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from resnet_probe.errors import ProbeError

NAME = "describe"


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="print the blocks of an architecture",
        description="Print the blocks of an architecture: number, name, stage, kind of shortcut, "
        "output shape, parameters, multiply-adds; and the totals.",
    )
    parser.add_argument("--arch", metavar="NAME", help="such as resnet110, resnet20:shortcut=B")
    parser.add_argument("--input", metavar="CxHxW", help="image shape (default: the usual one)")
    parser.add_argument("--list", action="store_true", help="list the names instead")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe import models

    if options.list:
        print("\n".join(models.names()))
        return 0
    if options.arch is None:
        raise ProbeError("describe needs --arch NAME (or --list for the names)")
    import torch

    from resnet_probe.describe import describe
    from resnet_probe.loading import cut

    arch = models.architecture(options.arch)
    shape = image_shape(options.input) if options.input else arch.input_shape
    example = torch.zeros(1, *shape)
    chain = cut(arch, arch.build(seed=0), example)
    table = describe(chain, example)
    print(f"{arch.spec}: {len(chain)} {chain.unit}s in {len(chain.stages)} stages, "
          f"images of {'×'.join(map(str, shape))}, {chain.classes} classes\n")  # fmt: skip
    shown = table.astype({"number": "string", "stage": "string"}).fillna("")
    numbers = dict.fromkeys(("parameters", "multiply_adds"), "{:,}".format)
    print(shown.to_string(index=False, formatters=numbers))
    total, work = table["parameters"].sum(), table["multiply_adds"].sum()
    print(f"\ntotal: {total:,} parameters, {work:,} multiply-adds ({work / 1e6:,.1f} M)")
    return 0


def image_shape(text: str) -> tuple[int, ...]:
    """`3x224x224` as (3, 224, 224)."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise ProbeError(f"--input {text!r} is no image shape: write CxHxW, such as 3x32x32")
    return tuple(int(part) for part in parts)
