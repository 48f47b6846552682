"""`edit`: an edited network as a file of its own, with its size, speed and error beside before."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.loading.request import Request
from resnet_probe.settings import Settings, option

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnet_probe.edits import Edit
    from resnet_probe.loading import Prepared

NAME = "edit"
HELP = "save an edited network, proven, with its size and speed"
DESCRIPTION = """\
Make a network of its own of an edited one: proven on images to give what the edited chain gives,
with the parameters under their own names.  Prints what is left, how large it is, how fast here,
and its error beside the whole network's.  A .pt2 file is a program of torch.export, which runs
without this package; a .pt file has the state dict and the names of the removed modules, for your
own class."""
EXAMPLES = """\
examples:
  python -m resnet_probe edit --arch resnet110 "delete 3 7" --out small.pt2
  python -m resnet_probe edit --model mypkg.nets:build --weights w.pt --input 3x224x224 \\
      --data imagefolder:val/ --normalize imagenet "delete 10..12" --out small.pt"""
ROUNDS = 15
SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Batch(Settings):
    batch: int = option(
        32, "images at once, for the time that they take (default: 32)", least=1, metavar="N"
    )


def add_parser(commands: Any) -> None:
    parser = shared.command(commands, NAME, HELP, DESCRIPTION, EXAMPLES)
    parser.add_argument("text", metavar="EDIT", help='such as "delete 3 7" or "swap 3 4"')
    shared.add_network(parser)
    shared.add_data(parser)
    shared.add(parser, Request, among=["run"])
    shared.add(parser, Batch)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to save: a name that ends in .pt2 or .pt"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.edits import Edit
    from resnet_probe.engine.edited import check_path, edited, save

    asked = Edit.parse(options.text)
    if options.out is not None:
        check_path(options.out)
    ready = shared.prepare(options)
    module, whole = edited(ready, asked), edited(ready, Edit())
    print(f"{ready.chain!r}\n{asked}: {_gone(module.meta['removed'])}\n")
    print(_sizes(ready, whole, module))
    print(_times(ready.images[: options.batch].to(ready.chain.device), whole, module))
    print(_errors(ready, asked))
    if options.out is not None:
        save(module, options.out, ready.images[:1].to(ready.chain.device))
        print(f"\n{options.out}: {_how(options.out)}")
    return 0


def _gone(removed: list[str]) -> str:
    if not removed:
        return "no module is gone"
    more = len(removed) - SHOWN
    listed = ", ".join(removed[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{len(removed)} modules are gone ({listed})"


def _sizes(ready: Prepared, whole: nn.Module, module: nn.Module) -> str:
    from resnet_probe.describe import size_of

    before, after = (size_of(each, ready.chain.input_shape) for each in (whole, module))
    lines = [f"{'':<28}{'whole':>16}{'edited':>16}"]
    for name in ("parameters", "multiply_adds"):
        one, other = getattr(before, name), getattr(after, name)
        lines.append(_line(name.replace("_", "-"), f"{one:,}", f"{other:,}", other / one))
    return "\n".join(lines)


def _times(images: Tensor, whole: nn.Module, module: nn.Module) -> str:
    """The median time of a batch, in turn, a first round left out."""
    import torch

    from resnet_probe.benchmarks.clock import in_turn

    calls = {"whole": lambda: whole(images), "edited": lambda: module(images)}
    with torch.inference_mode():
        in_turn(calls, 1, images.device)
        found, _ = in_turn(calls, ROUNDS, images.device)
    before, after = found["whole"], found["edited"]
    shown = (f"{1000 * seconds:.1f} ms" for seconds in (before, after))
    return _line(f"time of {len(images)} images", next(shown), next(shown), after / before)


def _errors(ready: Prepared, edit: Edit) -> str:
    """Both errors on the images at hand, and the change with its interval."""
    from resnet_probe.edits import Edit
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.studies.lesion import LesionSettings, tabulate
    from resnet_probe.studies.outcomes import answers, outcomes
    from resnet_probe.studies.study import Run

    edits = [Edit(), edit]
    found = outcomes(Sweep(ready.chain), edits, ready.images, ready.labels, answers, Run())
    correct = found["answer"] == ready.labels.cpu().numpy()
    table = tabulate(ready.chain, edits, correct, found, LesionSettings())
    before, after = table.iloc[0], table.iloc[1]
    shown = (f"{row['error_pct']:.2f} %" for row in (before, after))
    change = (
        f"   {after['delta_pct']:+z.2f} points (95 % CI {after['delta_low_pct']:+z.2f} to "
        f"{after['delta_high_pct']:+z.2f})"
    )
    return (
        f"{f'error on {len(ready.images):,} images':<28}"
        + "".join(f"{text:>16}" for text in shown)
        + change
    )


def _line(name: str, before: str, after: str, ratio: float) -> str:
    return f"{name:<28}{before:>16}{after:>16}   × {ratio:.2f}"


def _how(path: Path) -> str:
    if path.suffix == ".pt2":
        return "a program: torch.export.load(…).module() takes any number of images"
    return "state_dict, removed and edit: torch.load(…), then load_state_dict in your own class"
