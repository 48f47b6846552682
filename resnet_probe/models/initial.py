"""Initial weights: their distribution, and the random numbers they are drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from resnet_probe.models.joins import GatedShortcut


def he_normal_(model: nn.Module, *, dense: bool = False) -> None:
    """He-normal convolutions by fan-out (He et al. 2015, arXiv 1502.01852, eq. 14), zero biases.

    Batch norms keep scale 1 and shift 0. The weight of a linear layer, which no ReLU follows,
    keeps torch's own distribution, unless the network is `dense`: then all are drawn as those of
    convolutions are. The bias of a gate gets the value that the gate was made for.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear) if dense else nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, GatedShortcut):
            module.set_bias_()


@contextmanager
def own_random_numbers(seed: int | None) -> Iterator[None]:
    """Inside, random numbers come from `seed`, or for None from a copy of the current state.

    Tensors are made on the CPU whatever the default device is, so that a seed gives the same
    weights on every machine; only `with torch.device("meta")` is respected. Outside, no random
    number generator has moved.
    """
    device = "meta" if torch.get_default_device().type == "meta" else "cpu"
    drawing = Undrawn() if device == "meta" else nullcontext()
    with torch.random.fork_rng(devices=[]), torch.device(device), drawing:
        if seed is not None:
            # torch.manual_seed would move the generators of the accelerators too.
            torch.default_generator.manual_seed(seed)
        yield


class Undrawn(TorchFunctionMode):
    """Weights on the meta device have no numbers, and to draw none takes longer than to build."""

    DRAWS = frozenset({"uniform_", "normal_", "zero_", "fill_"})

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        given = kwargs or {}
        own = getattr(func, "__module__", "") == "torch.nn.init"
        if own or getattr(func, "__name__", "") in self.DRAWS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)
