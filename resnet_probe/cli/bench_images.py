"""What a benchmark runs on: a network with its data, or with random images of any size."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError
from resnet_probe.loading.request import Request

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain


def add_benchmark(parser: ArgumentParser) -> None:
    """The options that every benchmark has."""
    shared.add_network(parser)
    shared.add_data(parser)
    shared.add_run(parser)
    parser.add_argument(
        "--size", type=int, default=32, metavar="PIXELS",
        help="of random images, used where no --data is given (default: 32)",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=int, default=3, help="times that each way is run (default: 3)"
    )


def chain_and_images(
    options: Namespace, *, images: int
) -> tuple[ResidualChain, Tensor, Tensor, str]:
    """The chain, images, labels, and what the images are; `images` random ones by default."""
    import torch

    from resnet_probe.loading import cut, find_device, load_network

    if options.rounds < 1:
        raise ProbeError(f"--rounds {options.rounds}: at least one round is needed")
    if options.data:
        prepared = shared.prepare(options)
        held = prepared.images.to(prepared.chain.device)  # a benchmark reads no files
        return prepared.chain, held, prepared.labels, prepared.image_set.name
    where = find_device(options.device)
    network = load_network(
        shared.read(Request, options).spec, options.weights, None, zoo=options.zoo
    )
    generator = torch.Generator().manual_seed(options.seed)
    shape = (options.limit or images, 3, options.size, options.size)
    drawn = torch.randn(shape, generator=generator).to(where)
    chain = cut(network.arch, network.model.to(where), drawn[:1])
    labels = torch.randint(chain.classes, shape[:1], generator=generator)
    return chain, drawn, labels, "random images"
