"""From the name of a network to one with weights, and what has to be known to use it.

Nothing here imports torch before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.errors import ProbeError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, device, nn

    from resnet_probe.models import Architecture
    from resnet_probe.zoo import Card

PRETRAINED = "pretrained"
INITIAL = "initial:"
OWN = "own"
GIVEN = "as given"
"""The weights of a model that the user has."""
LIBRARIES = ("torchvision", "timm")


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        """`Network(resnet110: bundled resnet110-digits, known error 1.67 %)`."""
        known = self.known_error_pct
        error = "" if known is None else f", known error {known:.2f} %"
        return f"Network({self.arch.spec}: {self.source}{error})"


def architecture(spec: str) -> Architecture:
    """By name, as `module:callable@CxHxW` for a network of the user's own, or as `hf:FOLDER`."""
    from resnet_probe import models
    from resnet_probe.models.from_transformers import PREFIX, transformers_architecture
    from resnet_probe.models.own import is_own, own_architecture

    if spec.startswith(PREFIX):
        return transformers_architecture(spec)
    return own_architecture(spec) if is_own(spec) else models.architecture(spec)


def load_network(
    spec: str,
    weights: str | Path | None,
    data: str | None,
    *,
    zoo: str | None = None,
    weights_key: str | None = None,
) -> Network:
    """The bundled weights, those of a library, in a file, freshly drawn, or as your own is built.

    `weights` is a file, `pretrained`, `pretrained:NAME` for others of torchvision's, or
    `initial:SEED`; `weights_key` says which of several sets in a file.

    Raises `ProbeError` for unknown names and weights that are not there or do not fit.
    """
    arch = architecture(spec)
    if zoo is not None and (weights is not None or arch.family == OWN):
        raise ProbeError("bundled weights (zoo=) and other ones (weights=, model=): give one")
    if weights_key is not None and weights is None:
        raise ProbeError("weights_key= chooses among the weights in a file: give weights=")
    if weights is None and arch.family == OWN:
        return _as_built(arch, spec)
    if weights is None:
        return _from_zoo(arch, zoo or data or "digits")
    published, _, which = str(weights).partition(":")
    if published == PRETRAINED:
        return _published(arch, which or "DEFAULT")
    if str(weights).startswith(INITIAL):
        return _initial(arch, str(weights).removeprefix(INITIAL), data or "digits")
    return _from_file(arch, Path(weights), weights_key)


def _from_zoo(arch: Architecture, which: str) -> Network:
    """The bundled weights that `which` names: a data set, or one network."""
    from resnet_probe import zoo

    if arch.family in LIBRARIES:
        whose = "ImageNet's" if arch.classes == 1000 else f"{arch.family}'s"
        bundled = dict.fromkeys(card.arch for card in zoo.cards())
        raise ProbeError(
            f"{arch.spec} is {whose} and comes without weights here: give weights=pretrained or a "
            f"file; bundled are those of {', '.join(bundled)}"
            f"{did_you_mean(arch.spec, bundled)}"
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


def _from_file(arch: Architecture, path: Path, key: str | None) -> Network:
    from resnet_probe.zoo import checkpoint, fitting

    path = path.expanduser()
    known = arch.family not in (OWN, *LIBRARIES)
    model = None if known else arch.build(seed=0)
    names = [*(fitting.skeleton(arch.spec).shapes if model is None else model.state_dict())]
    state = checkpoint.read(path, key=key, names=names)
    if model is None:
        model = arch.build(checkpoint.classes_of(state, arch.spec), seed=0)
    else:
        model = _sized(arch, model, state)
    checkpoint.load_into(model, state, arch=arch.spec, path=path)
    card = _card_beside(path)
    return Network(
        arch=arch,
        model=model.eval(),
        source=path.name if key is None else f"{path.name} ({key})",
        weights_sha256=hash_of(model),
        data=(card.test_data or card.data) if card else None,
        normalize=card.normalize if card else None,
        known_error_pct=card.error_pct if card else None,
    )


def _card_beside(path: Path) -> Card | None:
    """The model card of a safetensors file; None where the JSON file beside it is something else.

    Raises `ProbeError` for a card that is broken.
    """
    import json

    from resnet_probe.data.files import LARGEST_TEXT
    from resnet_probe.zoo import Card

    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors" or not beside.is_file():
        return None
    if beside.stat().st_size > LARGEST_TEXT:
        return None
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    is_card = isinstance(found, dict) and {"arch", "correct", "normalize"} <= found.keys()
    return Card.read(beside) if is_card else None


def _sized(arch: Architecture, model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """The network, with as many classes as the last matrix in `state` has rows."""
    if arch.family == OWN:  # as its callable makes it, maybe lazy
        return model
    heads = [key for key, value in model.state_dict().items() if value.dim() == 2]
    there = state.get(heads[-1]) if heads else None
    if there is None or there.dim() != 2 or len(there) == arch.classes:
        return model
    return arch.build(len(there), seed=0)


def _initial(arch: Architecture, seed: str, data: str) -> Network:
    """Freshly drawn weights; images are normalized as bundled weights on the same data want it."""
    from resnet_probe import zoo

    if not (seed.isascii() and seed.isdecimal() and len(seed) < 20 and int(seed) < 2**63):
        raise ProbeError(
            f"{INITIAL}{seed[:40]} names no seed: write a whole number below 2^63, such as "
            "initial:0"
        )
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


def _as_built(arch: Architecture, spec: str) -> Network:
    """Your own network with the weights that its callable gives it, or that lie in its folder."""
    from resnet_probe.models.from_transformers import images_of

    how = images_of(spec)
    model = arch.build(seed=0).eval()
    return Network(
        arch=arch,
        model=model,
        source=f"{arch.spec} as built",
        weights_sha256=hash_of(model),
        data=None,
        normalize=how.get("normalize"),
        known_error_pct=None,
        preprocess=how.get("preprocess"),
    )


def given_network(model: nn.Module) -> tuple[Network, device]:
    """A model that the user has, as it is, and the device it is on.

    Its weights have no hash as long as it has lazy layers, which `filled` gives their shapes.
    Raises `ProbeError` for a scripted model, which has no layers to cut.
    """
    from itertools import chain

    import torch

    from resnet_probe.discover.copies import unwrapped
    from resnet_probe.models import Architecture

    if not isinstance(model, torch.nn.Module):
        raise ProbeError(f"the given model is a {type(model).__name__}, not a torch.nn.Module")
    model = unwrapped(model, type(model).__name__)
    place = next((t.device for t in chain(model.parameters(), model.buffers())), None)
    name = type(model).__name__
    arch = Architecture(name, OWN, (3, 224, 224), 1, residual=True, make=lambda *, classes: model)
    network = Network(
        arch=arch,
        model=model,
        source=GIVEN,
        weights_sha256="" if is_lazy(model) else hash_of(model),
        data=None,
        normalize=None,
        known_error_pct=None,
    )
    return network, place or torch.device("cpu")


def is_lazy(model: nn.Module) -> bool:
    """Whether it has parameters or buffers that wait for the first input to have a shape."""
    from torch.nn.parameter import is_lazy as lazy

    return any(lazy(tensor) for tensor in (*model.parameters(), *model.buffers()))


def filled(network: Network, example: Tensor) -> Network:
    """A copy in which lazy layers have the shapes that `example` gives them, with a hash.

    The weights are drawn from a copy of the state of torch's random numbers; the model itself and
    that state are left alone.
    """
    import copy

    import torch

    model = copy.deepcopy(network.model)
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()(example)
    except Exception as error:  # whatever a user's forward raises
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ProbeError(
            f"{network.arch.spec} has lazy layers and cannot run on an image of shape "
            f"{tuple(example.shape)}: {reason[0]}"
        ) from error
    for module, mode in modes.items():
        module.training = mode
    return replace(network, model=model, weights_sha256=hash_of(model))


def usual_output(network: Network, example: Any) -> str | None:
    """Which part of what a model returns are its logits, where that is an object of its own.

    None where it returns tensors alone, or what a graph holds (a dictionary, a tuple): there
    `chain_of` finds them.
    """
    from dataclasses import is_dataclass

    from torch import Tensor

    from resnet_probe.discover.copies import undisturbed, witness
    from resnet_probe.discover.outputs import Pick

    name = network.arch.spec
    try:
        with undisturbed(network.model):
            value = witness(network.model, name)(example)
    except Exception:  # whatever a user's forward raises: discovery says it better
        return None
    if isinstance(value, Tensor | Mapping | tuple | list) or is_dataclass(value):
        return None
    return Pick(name).settled(value).path


def with_output(network: Network, output: str | int | Callable[[Any], Tensor]) -> Network:
    """The network with one of the things that its model returns as its logits.

    `output` is a key, a place, an attribute, a way through several (`"aux.0"`), or a function of
    what the model returns. The layers are those of the model, under their own names.
    """
    import copy

    model, name = network.model, network.arch.spec
    kind = type(model)

    def forward(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        value = kind.forward(self, *args, **kwargs)
        if callable(output):
            return output(value)
        for key in str(output).split("."):
            value = _entry(value, key, name)
        return value

    view = copy.copy(model)
    body = {"forward": forward, "__module__": kind.__module__}
    view.__class__ = type(kind.__name__, (kind,), body)
    called = output.__name__ if callable(output) else output
    return replace(network, model=view, arch=replace(network.arch, spec=f"{name}@{called}"))


def _entry(value: Any, key: str, name: str) -> Any:
    if isinstance(value, Mapping):
        entries = {str(each): part for each, part in value.items()}
    elif isinstance(value, tuple | list):
        entries = {str(place): part for place, part in enumerate(value)}
        entries |= dict(zip(getattr(value, "_fields", ()), value, strict=False))
    else:
        entries = {key: getattr(value, key)} if hasattr(value, key) else {}
        entries = entries or dict.fromkeys(getattr(value, "__dict__", {}))
    if key not in entries:
        there = ", ".join(entries) or "nothing by a name"
        raise ProbeError(f"{name} has no output {key!r}: what it returns has {there}")
    return entries[key]


def hash_of(model: nn.Module) -> str:
    """SHA-256 over the names and values of all parameters and buffers, whatever their type."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        values = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
        digest.update(values.numpy().data)
    return digest.hexdigest()
