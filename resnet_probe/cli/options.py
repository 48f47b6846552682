"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from resnet_probe.errors import ProbeError


class _OwnNetwork(Action):
    """`--model` and `--input`, in either order, make the one spec of a network of your own."""

    def __call__(self, parser: Any, namespace: Namespace, value: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, value)
        if getattr(namespace, "model", None):
            shape = f"@{namespace.input}" if namespace.input else ""
            namespace.arch = f"{namespace.model}{shape}"


def add_architecture(parser: ArgumentParser) -> Any:
    """`--arch`, or `--model` with `--input`: `arch` of the options is the spec of the network."""
    group = parser.add_argument_group("the network")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--arch",
        metavar="NAME",
        help="architecture by name, such as resnet110, preresnet110, plain20, vgg16_bn:width=16, "
        "resnet50 (the list: describe --list)",
    )
    which.add_argument(
        "--model",
        action=_OwnNetwork,
        metavar="MODULE:CALLABLE",
        help="a network of your own: what the callable returns, as mypkg.nets:build",
    )
    group.add_argument(
        "--input",
        action=_OwnNetwork,
        type=image_size,
        metavar="CxHxW",
        help="the shape of an image for --model, such as 3x224x224",
    )
    return group


def image_size(text: str) -> str:
    """`3×224×224` as `3x224x224`; raises `ProbeError` for anything else."""
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) != 3 or not all(side.isdecimal() and int(side) for side in sides):
        raise ProbeError(f"--input {text!r} is no image shape: write CxHxW, such as 3x32x32")
    return "x".join(sides)


def add_network(parser: ArgumentParser) -> None:
    group = add_architecture(parser)
    group.add_argument(
        "--weights",
        metavar="FILE",
        help="weights in a .safetensors, .th, .pt or .pth file, or `pretrained` for those of "
        "torchvision (default: the bundled ones, and for --model those it is built with)",
    )


def add_data(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("the images")
    group.add_argument(
        "--data",
        metavar="NAME",
        help="digits, cifar10, cifar100, fashion_mnist, parquet:FILE or imagefolder:DIR "
        "(default: what the bundled weights were trained on)",
    )
    group.add_argument(
        "--data-root", type=Path, metavar="DIR", help="where downloaded data sets are kept"
    )
    group.add_argument(
        "--normalize",
        metavar="NAME",
        help="imagenet, cifar10, none, or mean=a,b,c,std=d,e,f (default: what the weights' "
        "card says)",
    )
    group.add_argument("--limit", type=int, metavar="IMAGES", help="use only the first IMAGES")


def add_run(parser: ArgumentParser) -> Any:
    group = parser.add_argument_group("the run")
    group.add_argument("--seed", type=int, default=0, help="of all random draws (default: 0)")
    group.add_argument("--batch", type=int, metavar="N", help="images at once (default: what fits)")
    group.add_argument(
        "--memory", default="2GiB", metavar="SIZE", help="working memory (default: 2GiB)"
    )
    group.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    group.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: runs/STUDY-ARCH-DATA)"
    )
    return group


def run_options(options: Namespace) -> dict[str, Any]:
    """`batch` and `memory` as a study takes them."""
    from resnet_probe.memory import parse_bytes

    if options.batch is not None and options.batch < 1:
        raise ProbeError(f"--batch {options.batch}: a batch holds at least 1 image")
    return {"batch": options.batch, "memory": parse_bytes(options.memory)}


def counts(text: str) -> list[int]:
    """`1-5,10` as [1, 2, 3, 4, 5, 10]."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ProbeError(f"--counts {text!r} is no list of numbers: write 1-20 or 1,5,10")
        low, high = int(first), int(last or first)
        if high < low or high > 100_000:
            raise ProbeError(
                f"--counts {text!r} goes from {low} to {high}: write the smaller first"
            )
        found.extend(range(low, high + 1))
    return list(dict.fromkeys(found))


def taus(text: str) -> list[float]:
    """`1.0:0.7:0.1` as [1.0, 0.9, 0.8, 0.7]; one number, or some with commas, as they are."""
    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        first, last, step = (float(part) for part in text.split(":"))
        steps = round((first - last) / step)
    except (ValueError, ZeroDivisionError):
        raise ProbeError(
            f"--tau {text!r} is neither a number nor FROM:TO:STEP, such as 1.0:0.7:0.05"
        ) from None
    if step <= 0 or not 0 <= steps <= 1000:
        raise ProbeError(
            f"--tau {text!r}: FROM:TO:STEP goes down from FROM to TO by a positive STEP"
        )
    return [round(first - i * step, 6) for i in range(steps + 1)]
