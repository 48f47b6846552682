"""Save trained weights with their card, find them again, and load them."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from resnet_probe import models
from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.zoo.card import Card
from resnet_probe.zoo.checkpoint import load_into

SHIPPED = Path(__file__).parent


def cards(folder: Path = SHIPPED) -> list[Card]:
    """The cards in a folder (default: those that come with the package), by file name."""
    return [Card.read(path) for path in sorted(folder.glob("*.json"))]


def find(arch: str, which: str, *, folder: Path = SHIPPED) -> Card:
    """The card of an architecture that ``which`` names; ProbeError naming what there is.

    ``which`` is a data set (``digits``, ``cifar10-jpeg``), the beginning of the name of one
    (``cifar10``), or the name of one network as ``zoo list`` prints it. Of several networks that
    fit, the one trained with all blocks and the lowest seed.
    """
    spec = models.architecture(arch).spec
    known = cards(folder)
    mine = [card for card in known if card.arch == spec]
    for fits in (
        lambda card: card.stem == which,
        lambda card: card.data == which,
        lambda card: card.data.startswith(f"{which}-"),
    ):
        fitting = [card for card in mine if fits(card)]
        if fitting:
            return min(fitting, key=lambda card: (card.effective_paths is not None, card.seed))
    there = ", ".join(f"{card.arch} on {card.data}" for card in mine or known)
    more = hint(which) or did_you_mean(which, [w for c in mine for w in (c.data, c.stem)])
    if mine and not more:
        more = f"; give zoo={mine[0].data} and where its test images lie, data="
        here = ", ".join(dict.fromkeys(card.arch for card in known if card.data == which))
        more += f", or another network: on {which} it has {here}" if here else ""
    raise ProbeError(
        f"the zoo has no weights of {spec} for {which}: it has {there or 'no weights at all'}{more}"
    )


def hint(which: str) -> str:
    """What to do where ``which`` is a file or folder of images."""
    own = "; for images of your own give zoo=, one of those data sets, or weights="
    return own if ":" in which else ""


def weights(card: Card, *, folder: Path = SHIPPED) -> dict[str, Tensor]:
    """The tensors of a card's file: float32 (stored as float16), counters as they are.

    Raises ProbeError if the file is missing, or is not the one that the card describes.
    """
    path = folder / f"{card.stem}.safetensors"
    try:
        if not path.is_file():  # a pipe would be waited for
            raise FileNotFoundError(path)
        content = path.read_bytes()
    except OSError as error:
        raise ProbeError(f"the weights of {card.arch} cannot be read from {path}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.weights_sha256:
        raise ProbeError(
            f"{path} is not the file that its card describes: its SHA-256 begins with "
            f"{found[:12]}, the card's with {card.weights_sha256[:12]}"
        )
    try:
        stored = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ProbeError(f"{path} is not a safetensors file ({error})") from error
    return {key: value.float() if is_float(value) else value for key, value in stored.items()}


def load(card: Card, *, folder: Path = SHIPPED) -> nn.Module:
    """The card's network in eval mode, with its stored weights, in float32."""
    model = models.architecture(card.arch).build(card.classes, seed=0)
    path = folder / f"{card.stem}.safetensors"
    load_into(model, weights(card, folder=folder), arch=card.arch, path=path)
    return model.eval()


def rounded(model: nn.Module) -> nn.Module:
    """A copy whose numbers are those that half precision can hold, still in float32.

    This is the network to evaluate for the card: exactly what ``save`` stores. Raises ProbeError
    if a number is beyond the range of half precision (65,504).
    """
    copied = copy.deepcopy(model)
    for key, value in copied.state_dict().items():
        if is_float(value):
            half = value.half()
            if not half.isfinite().all():
                raise ProbeError(f"{key} cannot be stored in half precision: it is beyond ±65,504")
            value.copy_(half)
    return copied


def save(model: nn.Module, card: Card, folder: Path) -> Card:
    """Write ``STEM.safetensors`` in half precision and ``STEM.json``; return the card as written.

    The card comes back with the hash of the file. Raises ProbeError if the model is not already
    rounded to half precision (see ``rounded``), since the card would then be about another
    network, or if the folder cannot be written.
    """
    stored = {}
    for key, value in model.state_dict().items():
        half = value.half() if is_float(value) else value
        if not torch.equal(half.to(value.dtype), value):
            raise ProbeError(
                f"{card.arch} is not rounded to half precision ({key}): evaluate and save the "
                "network that zoo.rounded gives"
            )
        stored[key] = half.cpu().contiguous()
    content = safetensors.torch.save(stored)
    written = replace(card, weights_sha256=hashlib.sha256(content).hexdigest())
    write(folder / f"{card.stem}.safetensors", content)
    write(folder / f"{card.stem}.json", written.to_json().encode())
    return written


def write(path: Path, content: bytes) -> None:
    """Write a file so that no reader ever sees half of it; ProbeError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            beside = Path(file.name)
            try:
                file.write(content)
                file.close()
                beside.chmod(0o644)  # a temporary file is for its owner only
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
    except OSError as error:
        raise ProbeError(f"{path} cannot be written ({error.strerror})") from error


def is_float(value: Tensor) -> bool:
    """Whether half precision applies: not to the integer counters of batch norm."""
    return value.is_floating_point()
