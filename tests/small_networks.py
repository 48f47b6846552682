"""Every family and option of the architectures, small; and what tests of them share."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from resnet_probe import models

# One or more of each order, shortcut, family and option: (specification, blocks or layers).
SMALL = {
    "resnet:depth=8,width=4": 3,
    "resnet:depth=8,order=bn_after,width=4": 3,
    "resnet:depth=8,order=relu_before,width=4": 3,
    "resnet:depth=8,order=relu_only,width=4": 3,
    "resnet:depth=8,order=relu_only,shortcut=B,width=4": 3,
    "resnet:depth=8,shortcut=B,width=4": 3,
    "resnet:depth=8,shortcut=C,width=4": 3,
    "resnet:depth=8,shortcut=scaled,width=4": 3,
    "resnet:depth=8,shortcut=scaled_shortcut,width=4": 3,
    "resnet:depth=8,shortcut=gated,width=4": 3,
    "resnet:depth=8,shortcut=gated_shortcut,gate_bias=0,width=4": 3,
    "resnet:depth=8,shortcut=dropout,width=4": 3,
    "resnet:depth=8,width=4,zero_init=yes": 3,
    "resnet:depth=14,width=4,stochastic_depth=0.5": 6,
    "resnet:depth=14,width=4,deleted=1+3": 4,
    "resnet_bottleneck:depth=11,width=2": 3,
    "resnet_bottleneck:depth=11,shortcut=A,width=2": 3,
    "preresnet:depth=8,width=4": 3,
    "preresnet:depth=8,shortcut=gated,width=4": 3,
    "preresnet:depth=14,width=4,deleted=1+3": 4,
    "preresnet_bottleneck:depth=11,width=2": 3,
    "preresnet_bottleneck:depth=11,shortcut=scaled,width=2": 3,
    "plain:depth=8,width=4": 6,
    "wrn:depth=10,widen=2,width=2": 3,
    "wrn:depth=10,widen=1,width=4,dropout=0.3": 3,
    "resnext:depth=11,cardinality=2,width=2": 3,
    "highway:depth=5,width=8,side=4": 4,
    "convhighway:depth=10,width=4": 6,
    "vgg11:width=2": 7,
    "vgg11_bn:width=2": 7,
    "plain18:width=2": 16,
    "resnet18:width=2": 8,
    "resnet18:shortcut=A,width=2": 8,
    "resnet50:stride=v1,width=2": 16,
    "resnet50:order=preact,width=2": 16,
    "resnet50:width=2,zero_init=yes": 16,
}
LAYERS = {"plain", "vgg"}
"""The families whose blocks are plain layers."""


def side(spec: str) -> int:
    """Small images that the network still takes."""
    return 32 if models.architecture(spec).input_shape[1] > 32 else 8


@functools.cache
def on_meta(spec: str) -> torch.nn.Module:
    """Shared by all tests: not to be changed."""
    with torch.device("meta"):
        return models.architecture(spec).build()


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def small_net(spec: str, *, classes: int | None = None) -> torch.nn.Module:
    """In eval mode, with batch norms that do something: fresh ones are close to the identity."""
    model = models.architecture(spec).build(classes, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2, generator=generator)
    return model


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@contextmanager
def seeded(seed: int) -> Iterator[torch.Tensor]:
    """torch's random numbers from `seed`, inside; gives the state that they begin in."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.get_rng_state()
