"""`blocks`: what discovery finds in a network, what it does not and why, and its proof."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualChain

NAME = "blocks"
DESCRIPTION = """\
Cut a network into its residual blocks, prove that the chain of them is the network, and print
what was found, what was not cut and why, and how exact the proof is."""
EXAMPLES = """\
examples:
  python -m resnet_probe blocks --arch resnet50
  python -m resnet_probe blocks --model torchvision.models:vit_b_16 --input 3x224x224
  python -m resnet_probe blocks --model mypkg.nets:build --input 3x64x64"""


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="find the residual blocks of any network, with a proof",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    shared.add_architecture(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    import torch

    from resnet_probe.loading import architecture, cut

    arch = architecture(options.arch)
    model = arch.build(seed=0)
    example = torch.randn(1, *arch.input_shape, generator=torch.Generator().manual_seed(0))
    print(report(cut(arch, model, example)))
    return 0


def report(chain: ResidualChain) -> str:
    """The table of a chain, what was not cut, and the proof."""
    stages = len(chain.stages)
    head = f"{chain.name}: {len(chain)} {chain.unit}s in {stages} stages"
    table = chain.table().to_string(index=False, formatters={"parameters": "{:,}".format})
    return "\n\n".join([head, table, _uncut(chain), _proof(chain)])


def _uncut(chain: ResidualChain) -> str:
    if not chain.uncut:
        return "not cut: nothing"
    return "\n".join(["not cut:", *(f"  {sentence}" for sentence in chain.uncut)])


def _proof(chain: ResidualChain) -> str:
    if chain.residue == 0:
        return "proof: the chain gives the network's output bit for bit"
    return (
        f"proof: the chain gives the network's output to rounding (a largest difference of "
        f"{chain.residue:.2g}); the network itself does not repeat its output bit for bit"
    )
