"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from argparse import Action, ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path
from typing import Any

from resnet_probe.errors import ProbeError


class _OwnNetwork(Action):
    """`--model`, `--input` and `--output`, in any order, make the spec of a network of your own."""

    def __call__(self, parser: Any, namespace: Namespace, value: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, value)
        if namespace.arch and not namespace.model:
            _refuse_output(namespace)
        if namespace.model:
            parts = (namespace.model, namespace.input, namespace.output)
            namespace.arch = "@".join(part for part in parts if part)


class _KnownNetwork(Action):
    """`--arch`, which knows its own images and output."""

    def __call__(self, parser: Any, namespace: Namespace, value: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, value)
        _refuse_output(namespace)


def _refuse_output(namespace: Namespace) -> None:
    if namespace.output:
        raise ProbeError(f"--output goes with --model: {namespace.arch} returns its logits alone")


def add_architecture(parser: ArgumentParser) -> Any:
    """`--arch`, or `--model` with `--input`: `arch` of the options is the spec of the network."""
    group = parser.add_argument_group("the network")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--arch",
        action=_KnownNetwork,
        metavar="NAME",
        help="architecture by name, such as resnet110, preresnet110, plain20, vgg16_bn:width=16, "
        "resnet50 (the list: describe --list), any name of torchvision's, or timm:NAME",
    )
    add_own(group, which)
    return group


def add_own(group: Any, which: Any) -> None:
    """`--model`, beside what `which` holds already, with `--input` and `--output` of the group."""
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
        help="the shape of an image, such as 3x224x224: needed for --model, and for --arch where "
        "it is not the usual one",
    )
    group.add_argument(
        "--output",
        action=_OwnNetwork,
        metavar="NAME",
        help="which output are the logits, where --model returns several: a place or a key, "
        "such as 0, logits or aux.0",
    )


def image_size(text: str) -> str:
    """`3×224×224` as `3x224x224`; raises `ProbeError` for anything else."""
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) != 3 or not all(side.isdecimal() and int(side) for side in sides):
        raise ProbeError(f"--input {text!r} is no image shape: write CxHxW, such as 3x32x32")
    return "x".join(sides)


def add_network(parser: ArgumentParser) -> None:
    group = add_architecture(parser)
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--weights",
        metavar="FILE",
        help="weights in a .safetensors, .th, .pt or .pth file, `pretrained:NAME` for those of "
        "torchvision by their name, such as IMAGENET1K_V1, or `initial:SEED` (default: the bundled "
        "ones, and for --model those it is built with)",
    )
    which.add_argument(
        "--pretrained",
        dest="weights",
        action="store_const",
        const="pretrained",
        help="the weights that torchvision or timm publishes, with the preprocessing that belongs "
        "to them",
    )
    group.add_argument(
        "--zoo",
        metavar="NAME",
        help="other bundled weights: what they were trained on, as cifar10-jpeg, or their name in "
        "`zoo list` (default: those for --data, else for the digits)",
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
    group.add_argument(
        "--limit",
        type=int,
        metavar="IMAGES",
        help="use only the first IMAGES; of a folder, one of each class in turn",
    )
    add_files(parser)


def add_files(parser: ArgumentParser) -> None:
    """How images in files are read: those of `imagefolder:` and `parquet:`."""
    group = parser.add_argument_group("images in files")
    group.add_argument(
        "--preprocess",
        metavar="HOW",
        help="resize=256,crop=224,interpolation=bicubic in part or whole, or none; resize=HxW "
        "squeezes (default: what belongs to the weights, else crop / 0.875 and bilinear)",
    )
    group.add_argument(
        "--class-map",
        type=Path,
        metavar="FILE",
        help="which class of the network each folder is: lines of FOLDER,NUMBER, a line a class in "
        "order, or JSON (default: by WordNet id or class name, else in alphabetical order)",
    )
    group.add_argument(
        "--stream",
        action=BooleanOptionalAction,
        help="leave the images of a folder on disk, and decode them when needed (default: beyond "
        "1 GiB of pixels)",
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that decode images (default: one a core, 8 at most)",
    )


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
    from resnet_probe.engine.memory import parse_bytes

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
