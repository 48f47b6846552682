"""`blocks`: what discovery finds in a network, what it does not and why, and its proof."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError
from resnet_probe.loading.request import Request

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualChain

NAME = "blocks"
HELP = "find the residual blocks of any network, with a proof"
DESCRIPTION = """\
Cut a network into its residual blocks, prove that the chain of them is the network, and print
what was found, what was not cut and why, what the graph was taken with, how exact the proof is, and
which studies can measure it and which cannot, each with its reason."""
EXAMPLES = """\
examples:
  python -m resnet_probe blocks --arch resnet50 --graph resnet50.svg
  python -m resnet_probe blocks --model torchvision.models:vit_b_16 --input 3x224x224
  python -m resnet_probe blocks --model mypkg.nets:build --input 3x64x64"""


def add_parser(commands: Any) -> None:
    parser = shared.command(commands, NAME, HELP, DESCRIPTION, EXAMPLES)
    shared.add_architecture(parser)
    parser.add_argument(
        "--graph", type=_svg, metavar="FILE.svg", help="draw the blocks, stage by stage"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.loading import architecture, cut, example_for

    request = shared.read(Request, options)
    arch = architecture(request.spec)
    model = arch.build(seed=0)
    shape = request.input_shape or arch.input_shape
    example = example_for(model, shape)
    chain = cut(arch, model, example, level=request.level)
    print("\n\n".join([report(chain), compatibility(chain, example)]))
    if options.graph is not None:
        _write(options.graph, graph(chain))
        print(f"\n{options.graph}: the graph")
    return 0


def _svg(text: str) -> Path:
    if not text.endswith(".svg"):
        raise ProbeError(f"--graph {text!r} is no SVG file: write a name that ends in .svg")
    return Path(text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProbeError(f"--graph {path} cannot be written: {error.strerror}") from error


def report(chain: ResidualChain) -> str:
    """The table of a chain, what was not cut, what lies inside blocks, and the proof."""
    table = chain.table().to_string(index=False, formatters={"parameters": "{:,}".format})
    return "\n\n".join([_heading(chain), table, *map("\n".join, _remarks(chain))])


def compatibility(chain: ResidualChain, example: Any) -> str:
    """The studies that can run, and a sentence for each that cannot."""
    from resnet_probe.runs.compatible import answers

    found = answers(chain, example)
    can = ", ".join(answer.study for answer in found if not answer.reason)
    names = [each.name for each in Request.options()]
    cannot = [
        f"  {answer.study}: {shared.in_words_of_the_command(answer.reason, names)}"
        for answer in found
        if answer.reason
    ]
    lines = [f"studies that can measure it: {can or 'none'}"]
    return "\n".join([*lines, *(["and that cannot:", *cannot] if cannot else [])])


def graph(chain: ResidualChain) -> str:
    """The chain as SVG."""
    from resnet_probe.figures.chain_graph import chain_graph

    shapes = ["×".join(map(str, s)) for s in (chain.input_shape, chain.blocks[0].in_shape)]
    return chain_graph(
        chain.table(),
        title=_heading(chain),
        before=f"input {shapes[0]} → stem → {shapes[1]}",
        behind=f"→ head → {chain.classes:,} outputs",
        notes=[sentence for remark in _remarks(chain) for sentence in remark],
    )


def _heading(chain: ResidualChain) -> str:
    def many(number: int, what: str) -> str:
        return f"{number} {what}{'s' * (number != 1)}"

    layers = f", {many(len(chain.layers), 'layer')}" if len(chain.layers) < len(chain) else ""
    counts = f"{many(len(chain), chain.unit)}{layers} in {many(len(chain.stages), 'stage')}"
    return f"{chain.name}: {counts}"


def _remarks(chain: ResidualChain) -> list[list[str]]:
    """Paragraphs: what was not cut and why, what lies inside blocks, graph and proof."""
    missed = list(Counter(chain.uncut).items())
    uncut = [f"  {sentence}{f' ({n} times)' if n > 1 else ''}" for sentence, n in missed]
    inner = [f"  {b.number} ({b.name}): {', '.join(b.inner)}" for b in chain if b.inner]
    remarks = [["not cut:", *uncut] if uncut else ["not cut: nothing"]]
    if inner:
        remarks.append(["residual blocks inside a block, cut with it:", *inner])
    return [*remarks, _proof(chain)]


def _proof(chain: ResidualChain) -> list[str]:
    """What the graph was taken with, for which sizes, what was proven of it, and how exactly."""
    free = f", with free sizes of its inputs: {', '.join(chain.free)}" if chain.free else ""
    graph = [f"graph: {chain.front_end}{free}"] if chain.front_end else []
    exact = "bit for bit"
    if chain.residue:
        allowed = f"; {chain.tolerance:.1g} of the largest value is allowed" * (chain.tolerance > 0)
        exact = f"to rounding (a largest difference of {chain.residue:.2g}{allowed})"
    each = ", and so does each block with its branch as it is and set to zero" * chain.residual
    return [*graph, f"proof: the chain gives the network's output {exact}{each}"]
