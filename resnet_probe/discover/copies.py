"""Copies of a model to trace and to run, so that the model itself is left as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from resnet_probe.errors import ProbeError


def twin(model: nn.Module, name: str) -> nn.Module:
    """A copy in eval mode, with the model's own tensors and without its hooks: to be traced."""
    found = witness(model, name)
    for module in found.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    return found


def witness(model: nn.Module, name: str) -> nn.Module:
    """A copy in eval mode, with the model's own tensors and its hooks: to be run in its place.

    What a forward pass writes into the module's attributes, it writes into the copy's.
    """
    tensors = chain(model.parameters(), model.buffers())
    try:
        return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()
    except Exception as error:
        raise ProbeError(f"{name} cannot be copied: {error}") from error


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Whatever runs inside, random state and buffers are afterwards what they were before."""
    buffers = [(b, b._version, b.detach().clone()) for b in model.buffers() if not b.is_inference()]
    devices = {t.device for t in model.parameters() if t.device.type == "cuda"}
    try:
        with torch.no_grad(), torch.random.fork_rng([d.index or 0 for d in devices]):
            yield
    finally:
        with torch.no_grad():
            for buffer, version, value in buffers:
                if buffer._version != version:
                    buffer.copy_(value)
