"""From names to a chain and its images: the way in, the same for every study.

Nothing here imports torch before it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from torch import Tensor, device, nn

    from resnet_probe.chain import ResidualChain
    from resnet_probe.data import ImageSet
    from resnet_probe.models import Architecture

PRETRAINED = "pretrained"
INITIAL = "initial:"
OWN = "own"


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


@dataclass(frozen=True)
class Prepared:
    """All that a study takes; `identity` is what determines its outcome."""

    network: Network
    image_set: ImageSet
    normalize: str
    chain: ResidualChain
    images: Tensor
    labels: Tensor

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "arch": self.network.arch.spec,
            "weights": self.network.source,
            "data": self.image_set.name,
            "data_note": self.image_set.note,
            "images": len(self.image_set),
            "normalize": self.normalize,
            "weights_sha256": self.network.weights_sha256,
            "data_sha256": self.image_set.fingerprint(),
        }


def prepare(
    arch: str,
    *,
    weights: str | Path | None = None,
    data: str | None = None,
    data_root: Path | None = None,
    normalize: str | None = None,
    limit: int | None = None,
    where: str = "auto",
) -> Prepared:
    """Load network and images, put them on the device, and cut the network into its chain.

    `arch` is a name such as `resnet110` or `vgg16_bn:width=16`.  Without `weights` (a file,
    `pretrained` for torchvision's, or `initial:SEED` for none yet) they are the bundled ones, and
    `data` and `normalize` what the weights' card says.  `limit` takes the first images only;
    `where` is auto, cpu or cuda.

    Raises `ProbeError` for unknown names, weights that do not fit, images without a normalisation,
    and a device that is not there.
    """
    from resnet_probe import data as data_sets

    place = find_device(where)
    if data:
        data_sets.slug(data)  # an unknown name is refused before anything is loaded
    network = load_network(arch, weights, data)
    name = data or network.data
    if name is None:
        raise ProbeError(f"{network.source} does not say which images it is for: give --data")
    normalize = normalize or network.normalize
    if normalize is None:
        raise ProbeError(
            f"{network.source} does not say how its images were normalized: give --normalize "
            "(imagenet, cifar10, none, or mean=…,std=…)"
        )
    scale = data_sets.normalization(normalize)
    size = network.arch.input_shape[1:]
    image_set = data_sets.load(name, root=data_root, size=size, limit=limit)
    images = scale.apply(image_set.images).to(place)
    chain = cut(network.arch, network.model.to(place), images[:1])
    return Prepared(network, image_set, scale.name, chain, images, image_set.labels)


def find_device(name: str) -> device:
    """The torch device of that name; `auto` is CUDA where there is one."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise ProbeError("--device cuda: torch finds no CUDA device here; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def cut(arch: Architecture, model: nn.Module, example: Tensor) -> ResidualChain:
    """The chain of a residual network, or the layers of a plain one."""
    from resnet_probe.discover import chain_of, layers_of

    return (chain_of if arch.residual else layers_of)(model, example, name=arch.spec)


def architecture(spec: str) -> Architecture:
    """By name, or as `module:callable@CxHxW` for a network of the user's own."""
    from resnet_probe import models
    from resnet_probe.models.own import is_own, own_architecture

    return own_architecture(spec) if is_own(spec) else models.architecture(spec)


def load_network(spec: str, weights: str | Path | None, data: str | None) -> Network:
    """The bundled weights, torchvision's, those in a file, or those your own is built with."""
    arch = architecture(spec)
    if weights is None and arch.family == OWN:
        return _as_built(arch)
    if weights is None:
        return _from_zoo(arch, data)
    if weights == PRETRAINED:
        return _from_torchvision(arch)
    if str(weights).startswith(INITIAL):
        return _initial(arch, str(weights).removeprefix(INITIAL), data or "digits")
    return _from_file(arch, Path(weights))


def _from_zoo(arch: Architecture, data: str | None) -> Network:
    from resnet_probe import zoo

    if arch.family == "torchvision":
        raise ProbeError(
            f"{arch.spec} comes without weights here: give --weights pretrained or FILE"
        )
    # The bundled weights are of the digits; other images need weights that were made for them.
    card = zoo.find(arch.spec, data or "digits")
    return Network(
        arch=arch,
        model=zoo.load(card),
        source=f"bundled {card.stem}",
        weights_sha256=card.weights_sha256,
        data=card.data,
        normalize=card.normalize,
        known_error_pct=card.error_pct,
    )


def _from_torchvision(arch: Architecture) -> Network:
    found = arch.pretrained(progress=True)
    return Network(
        arch=arch,
        model=found.model,
        source=f"torchvision {found.weights}",
        weights_sha256=hash_of(found.model),
        data=None,
        normalize=found.normalize,
        known_error_pct=100 - found.accuracy_pct,
    )


def _from_file(arch: Architecture, path: Path) -> Network:
    from resnet_probe.zoo import Card, checkpoint

    state = checkpoint.read(path)
    known = arch.family != OWN
    model = arch.build(checkpoint.classes_of(state, arch.spec) if known else None, seed=0)
    checkpoint.load_into(model, state, arch=arch.spec, path=path)
    beside = path.with_suffix(".json")
    card = Card.read(beside) if path.suffix == ".safetensors" and beside.exists() else None
    return Network(
        arch=arch,
        model=model.eval(),
        source=path.name,
        weights_sha256=hash_of(model),
        data=card.data if card else None,
        normalize=card.normalize if card else None,
        known_error_pct=card.error_pct if card else None,
    )


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


def hash_of(model: nn.Module) -> str:
    """SHA-256 over the names and values of all parameters and buffers."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
