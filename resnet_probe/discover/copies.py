"""Copies of a model to trace and to run, so that the model itself is left as it was."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from types import CellType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from resnet_probe.discover.functional import same_bits
from resnet_probe.errors import ProbeError

LAZY = (nn.UninitializedParameter, nn.UninitializedBuffer)
DERIVED = (WeightNorm, SpectralNorm, BasePruningMethod)
"""Hooks that compute a weight from others before each call: part of the network, not a guest."""


def unwrapped(model: nn.Module, name: str) -> nn.Module:
    """The module inside what `torch.compile` or `DataParallel` made of it.

    Raises `ProbeError` for a scripted model, which no graph can be taken of.
    """
    while not isinstance(model, torch.jit.ScriptModule) and isinstance(
        inside := _wrapped(model), nn.Module
    ):
        model = inside
    scripted = [path for path, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        what = f"the part {scripted[0]} of {name}" if scripted[0] else name
        raise ProbeError(f"{what} is a TorchScript module (torch.jit): give the eager model")
    return model


def plain(model: nn.Module, name: str) -> nn.Module:
    """The same, of a model that has all its weights.

    Raises `ProbeError` for a scripted model, for one whose lazy layers have no weights yet
    (running it would give them to the user's own model), for weights on meta, and for weights
    without gradients.
    """
    model = unwrapped(model, name)
    tensors = [*model.named_parameters(), *model.named_buffers()]
    lazy = [path for path, tensor in tensors if isinstance(tensor, LAZY)]
    if lazy:
        raise ProbeError(
            f"{name} has lazy layers without weights yet ({lazy[0]}): run it on one batch first"
        )
    empty = [path for path, tensor in tensors if tensor.is_meta]
    if empty:
        raise ProbeError(f"{name} has weights without numbers ({empty[0]} is on meta): load them")
    frozen = [path for path, tensor in tensors if tensor.is_inference()]
    if frozen:
        raise ProbeError(
            f"{name} was built in torch.inference_mode() ({frozen[0]}), and no gradient can pass "
            "its weights: give copy.deepcopy(model), made outside of it"
        )
    return model


def twin(model: nn.Module, name: str) -> nn.Module:
    """A copy in eval mode, with the model's own tensors and without its hooks: to be traced.

    What pruning and old-style `weight_norm` and `spectral_norm` compute in a hook is computed once,
    and held.
    """
    found = witness(model, name)
    for module in found.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, DERIVED):
                _hold(module, hook)
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    return found


def witness(model: nn.Module, name: str) -> nn.Module:
    """A copy in eval mode, with the model's own tensors and its hooks: to be run in its place.

    What a forward pass writes into the module's attributes, it writes into the copy's.
    """
    own = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    # Activations that a forward pass kept belong to an autograd graph, and do not copy themselves.
    kept = {id(t): t.detach().clone() for t in _kept(model) if t.grad_fn is not None}
    memo: dict[int, Any] = own | kept
    try:
        found = copy.deepcopy(model, memo).eval()
    except Exception as error:
        raise ProbeError(f"{name} cannot be copied: {error}") from error
    for module in list(found.modules()):
        _rebind(vars(module), memo)
        for key, child in module.named_children():
            inside = _wrapped(child)
            if isinstance(inside, nn.Module):
                setattr(module, key, inside)
    return found


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Whatever runs inside, random state and buffers are afterwards what they were before.

    torch's encoder layers run operation by operation there: their fast path fuses them and rounds
    otherwise.
    """
    buffers = [(b, b._version, b.detach().clone()) for b in model.buffers() if not b.is_inference()]
    devices = {t.device for t in model.parameters() if t.device.type == "cuda"}
    fast = torch.backends.mha.get_fastpath_enabled()
    chance = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), torch.random.fork_rng([d.index or 0 for d in devices]):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        random.setstate(chance[0])
        np.random.set_state(chance[1])  # noqa: NPY002
        with torch.no_grad():
            for buffer, version, value in buffers:
                # A batch norm writes into its statistics without a new version.
                dense = buffer.layout is torch.strided
                if buffer._version != version or (dense and not same_bits(buffer, value)):
                    buffer.copy_(value)


@contextmanager
def usual_torch() -> Iterator[None]:
    """Inside, torch is as it was imported, and afterwards as it was.

    No autocast, no inference mode, float32 and the CPU by default: so what is measured does not
    depend on what the caller has switched on around it.
    """
    kind, place = torch.get_default_dtype(), torch.get_default_device()
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if place.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if kind != torch.float32:
            stack.callback(torch.set_default_dtype, kind)
            torch.set_default_dtype(torch.float32)
        yield


def _wrapped(model: nn.Module) -> object:
    """The module that a wrapper without weights of its own calls, if the model is one."""
    if isinstance(model, torch.jit.ScriptModule):
        return None
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return model.module
    return model.__dict__.get("_orig_mod") or model._modules.get("_orig_mod")


def _rebind(held: dict[Any, Any] | list[Any], memo: dict[int, Any]) -> None:
    """Let functions that `copy.deepcopy` left as they are enclose the copy, and not the model."""
    for key, value in list(held.items() if isinstance(held, dict) else enumerate(held)):
        if isinstance(value, dict | list):
            _rebind(value, memo)
        elif isinstance(value, FunctionType):
            held[key] = _of_copy(value, memo)


def _of_copy(value: Any, memo: dict[int, Any]) -> Any:
    """The copy's own of a module, of its method, or of a function that encloses such."""
    if isinstance(value, MethodType) and isinstance(value.__self__, nn.Module):
        return MethodType(value.__func__, _of_copy(value.__self__, memo))
    if not isinstance(value, nn.Module | FunctionType) or id(value) in memo:
        return memo.get(id(value), value)
    if isinstance(value, nn.Module) or not value.__closure__:
        return value
    cells = tuple(CellType() for _ in value.__closure__)
    made = memo[id(value)] = FunctionType(
        value.__code__, value.__globals__, value.__name__, value.__defaults__, cells
    )
    made.__kwdefaults__ = value.__kwdefaults__
    for cell, old in zip(cells, value.__closure__, strict=True):
        with suppress(ValueError):  # a cell that is empty yet
            cell.cell_contents = _of_copy(old.cell_contents, memo)
    return made


def _hold(module: nn.Module, hook: Any) -> None:
    hook(module, ())
    name = hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name
    weight = getattr(module, name).detach()
    delattr(module, name)
    module.register_buffer(name, weight)


def _kept(model: nn.Module) -> Iterator[Tensor]:
    """The tensors that the modules hold as plain attributes, or in containers of those."""
    waiting: list[Any] = [value for module in model.modules() for value in vars(module).values()]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set):
            waiting.extend(value)
