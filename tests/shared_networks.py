"""The bundled networks, each loaded and cut once a worker, so that tests share them."""

from __future__ import annotations

import torch

from resnet_probe import discover, zoo
from resnet_probe.zoo.store import SHIPPED

LOAD, CHAIN_OF = zoo.load, discover.chain_of


class Shared:
    """Loads and cuts as the package does, each network once.

    Nothing in the package changes a network, which is what makes this possible: it is seen to after
    each test that was given one.
    """

    def __init__(self) -> None:
        self.models: dict[str, torch.nn.Module] = {}
        self.states: dict[int, tuple] = {}
        self.chains: dict[tuple, object] = {}
        self.given: list[torch.nn.Module] = []

    def load(self, card, *, folder=SHIPPED):
        key = card.weights_sha256
        if folder != SHIPPED:
            return LOAD(card, folder=folder)
        if key not in self.models:
            self.models[key] = LOAD(card)
            self.states[id(self.models[key])] = state_of(self.models[key])
        self.given.append(self.models[key])
        return self.models[key]

    def cut(self, model, example, **options):
        if id(model) not in self.states:
            return CHAIN_OF(model, example, **options)
        key = (id(model), example.shape, *options.items())
        if key not in self.chains:
            self.chains[key] = CHAIN_OF(model, example, **options)
        return self.chains[key]

    def unchanged(self) -> bool:
        given, self.given = self.given, []
        return all(state_of(model) == self.states[id(model)] for model in given)


def state_of(model: torch.nn.Module) -> tuple:
    tensors = (*model.parameters(), *model.buffers())
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in model.modules()
    ]
    return [(id(t), t._version, t.requires_grad, t.grad is None) for t in tensors], hooks
