"""From the name of a network to one with weights, and what has to be known to use it.

Nothing here imports torch before it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, device, nn

    from resnet_probe.models import Architecture
    from resnet_probe.zoo import Card

PRETRAINED = "pretrained"
INITIAL = "initial:"
OWN = "own"
LIBRARIES = ("torchvision", "timm")


@dataclass(frozen=True)
class Network:
    """A model with weights: where they are from, and what has to be known to use them."""

    arch: Architecture
    model: nn.Module
    source: str
    weights_sha256: str
    data: str | None
    normalize: str | None
    known_error_pct: float | None
    preprocess: str | None = None
    class_names: tuple[str, ...] = ()
    card: Card | None = None
    """That of bundled weights."""


def architecture(spec: str) -> Architecture:
    """By name, or as `module:callable@CxHxW` for a network of the user's own."""
    from resnet_probe import models
    from resnet_probe.models.own import is_own, own_architecture

    return own_architecture(spec) if is_own(spec) else models.architecture(spec)


def load_network(
    spec: str,
    weights: str | Path | None,
    data: str | None,
    *,
    zoo: str | None = None,
) -> Network:
    """The bundled weights, those of a library, in a file, freshly drawn, or as your own is built.

    `weights` is a file, `pretrained`, `pretrained:NAME` for others of torchvision's, or
    `initial:SEED`.

    Raises `ProbeError` for unknown names and weights that are not there or do not fit.
    """
    arch = architecture(spec)
    if zoo is not None and (weights is not None or arch.family == OWN):
        raise ProbeError("bundled weights (--zoo) and other ones (--weights, --model): give one")
    if weights is None and arch.family == OWN:
        return _as_built(arch)
    if weights is None:
        return _from_zoo(arch, zoo or data or "digits")
    published, _, which = str(weights).partition(":")
    if published == PRETRAINED:
        return _published(arch, which or "DEFAULT")
    if str(weights).startswith(INITIAL):
        return _initial(arch, str(weights).removeprefix(INITIAL), data or "digits")
    return _from_file(arch, Path(weights))


def _from_zoo(arch: Architecture, which: str) -> Network:
    """The bundled weights that `which` names: a data set, or one network."""
    from resnet_probe import zoo

    if arch.family in LIBRARIES:
        raise ProbeError(
            f"{arch.spec} comes without weights here: give --weights pretrained or FILE"
        )
    card = zoo.find(arch.spec, which)
    return Network(
        arch=arch,
        model=zoo.load(card),
        source=f"bundled {card.stem}",
        weights_sha256=card.weights_sha256,
        data=card.data,
        normalize=card.normalize,
        known_error_pct=card.error_pct,
        card=card,
    )


def _published(arch: Architecture, which: str) -> Network:
    """Of torchvision or timm, with the preprocessing that belongs to them."""
    found = arch.pretrained(which, progress=True)
    known = found.accuracy_pct
    return Network(
        arch=replace(arch, input_shape=found.input_shape),
        model=found.model,
        source=f"{arch.family} {found.weights}",
        weights_sha256=hash_of(found.model),
        data=None,
        normalize=found.normalize,
        known_error_pct=None if known is None else 100 - known,
        preprocess=found.preprocess,
        class_names=found.class_names,
    )


def _from_file(arch: Architecture, path: Path) -> Network:
    from resnet_probe.zoo import Card, checkpoint

    state = checkpoint.read(path)
    if arch.family in (OWN, *LIBRARIES):
        model = _sized(arch, state)
    else:
        model = arch.build(checkpoint.classes_of(state, arch.spec), seed=0)
    checkpoint.load_into(model, state, arch=arch.spec, path=path)
    beside = path.with_suffix(".json")
    card = Card.read(beside) if path.suffix == ".safetensors" and beside.exists() else None
    return Network(
        arch=arch,
        model=model.eval(),
        source=path.name,
        weights_sha256=hash_of(model),
        data=(card.test_data or card.data) if card else None,
        normalize=card.normalize if card else None,
        known_error_pct=card.error_pct if card else None,
    )


def _sized(arch: Architecture, state: Mapping[str, Tensor]) -> nn.Module:
    """The network, with as many classes as the last matrix in `state` has rows."""
    model = arch.build(seed=0)
    heads = [key for key, value in model.state_dict().items() if value.dim() == 2]
    there = state.get(heads[-1]) if heads else None
    if arch.family == OWN or there is None or len(there) == arch.classes:
        return model
    return arch.build(len(there), seed=0)


def _initial(arch: Architecture, seed: str, data: str) -> Network:
    """Freshly drawn weights; images are normalized as bundled weights on the same data want it."""
    from resnet_probe import zoo

    if not seed.isdecimal():
        raise ProbeError(f"{INITIAL}{seed} names no seed: write a whole number, such as initial:0")
    model = arch.build(seed=int(seed)).eval()
    like = next((card for card in zoo.cards() if card.data == data), None)
    return Network(
        arch=arch,
        model=model,
        source=f"initial, seed {seed}",
        weights_sha256=hash_of(model),
        data=data,
        normalize=like.normalize if like else None,
        known_error_pct=None,
    )


def _as_built(arch: Architecture) -> Network:
    """Your own network with the weights that its callable gives it."""
    model = arch.build(seed=0).eval()
    return Network(
        arch=arch,
        model=model,
        source=f"{arch.spec} as built",
        weights_sha256=hash_of(model),
        data=None,
        normalize=None,
        known_error_pct=None,
    )


def given_network(model: nn.Module) -> tuple[Network, device]:
    """A model that the user has, as it is, and the device it is on."""
    from itertools import chain

    import torch

    from resnet_probe.models import Architecture

    place = next((t.device for t in chain(model.parameters(), model.buffers())), None)
    name = type(model).__name__
    arch = Architecture(name, OWN, (3, 224, 224), 1, residual=True, make=lambda *, classes: model)
    network = Network(
        arch=arch,
        model=model,
        source="as given",
        weights_sha256=hash_of(model),
        data=None,
        normalize=None,
        known_error_pct=None,
    )
    return network, place or torch.device("cpu")


def hash_of(model: nn.Module) -> str:
    """SHA-256 over the names and values of all parameters and buffers."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
