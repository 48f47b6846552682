"""From names to a chain and its images: the way in, the same for every study.

Nothing here imports torch before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from resnet_probe.errors import ProbeError
from resnet_probe.loading.networks import (
    GIVEN,
    LIBRARIES,
    OWN,
    Network,
    architecture,
    filled,
    given_network,
    hash_of,
    is_lazy,
    load_network,
    usual_output,
    with_output,
)

if TYPE_CHECKING:
    from torch import Tensor, device, dtype, nn

    from resnet_probe.chain import ResidualChain
    from resnet_probe.data import AnySet, Preprocess
    from resnet_probe.engine.images import Images
    from resnet_probe.models import Architecture

__all__ = [
    "Network",
    "Prepared",
    "architecture",
    "cut",
    "example_for",
    "find_device",
    "hash_of",
    "load_network",
    "prepare",
    "remarks",
]


P = ParamSpec("P")
TOKENS = 16
"""Of a row of an example."""


@dataclass(frozen=True, repr=False)
class Prepared:
    """All that a study takes; `identity` is what determines its outcome.

    `images` is a float tensor `[n, …]` on the network's device, or for many an `ImageStream` that
    stands in for it; `remarks` are sentences that a reader of the results should know.
    """

    network: Network
    image_set: AnySet
    normalize: str
    chain: ResidualChain
    images: Images
    labels: Tensor
    preprocess: Preprocess | None = None
    remarks: tuple[str, ...] = ()
    loss: str | None = None
    level: str = "inner"

    def __repr__(self) -> str:
        """`Prepared(resnet110 on digits: 54 blocks, 898 images of 3×16×16)`."""
        shape = "×".join(map(str, self.images.shape[1:]))
        return (
            f"Prepared({self.network.arch.spec} on {self.image_set.name}: {len(self.chain)} "
            f"{self.chain.unit}s, {len(self.images):,} {self.inputs} of {shape})"
        )

    @property
    def inputs(self) -> str:
        """What the network takes, as words call it: images, or texts."""
        return self.chain.inputs

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the outcome of a study, beside its settings."""
        return {**self.known, "data_sha256": self.image_set.fingerprint()}

    @property
    def known(self) -> dict[str, Any]:
        """The same, but for the hash of images that would all have to be read for it.

        The hash of a given model's weights is that of what they are now.
        """
        network, images = self.network, self.image_set
        now = hash_of(network.model) if network.source == GIVEN else network.weights_sha256
        return {
            "arch": network.arch.spec,
            "weights": network.source,
            "data": images.name,
            "data_note": images.note,
            "images": len(images),
            "normalize": self.normalize,
            "weights_sha256": now,
            **({"data_sha256": images.fingerprint()} if images.at_hand else {}),
            **self._code,
            **({} if self.loss is None else {"loss": self.loss}),
            **({} if self.level == "inner" else {"level": self.level}),
        }

    @cached_property
    def _code(self) -> dict[str, str]:
        """What a network of the user's own computes: its code may be edited, its weights stay."""
        from resnet_probe.discover.code import code_sha256

        return {"code_sha256": code_sha256(self.chain)} if self.network.arch.family == OWN else {}


def _in_usual_torch(function: Callable[P, Prepared]) -> Callable[P, Prepared]:
    """Run it in `usual_torch`, which is imported with torch when it is called."""

    @wraps(function)
    def run(*given: P.args, **named: P.kwargs) -> Prepared:
        from resnet_probe.discover.copies import usual_torch

        with usual_torch():
            return function(*given, **named)

    return run


@_in_usual_torch
def prepare(
    arch: str | nn.Module,
    *,
    weights: str | Path | None = None,
    weights_key: str | None = None,
    zoo: str | None = None,
    data: Any = None,
    data_root: Path | None = None,
    normalize: str | None = None,
    limit: int | None = None,
    where: str = "auto",
    input_shape: tuple[int, int, int] | None = None,
    preprocess: str | None = None,
    class_map: str | Path | None = None,
    stream: bool | None = None,
    workers: int | None = None,
    output: str | int | Callable[[Any], Tensor] | None = None,
    loss: str | None = None,
    tokenizer: Any = None,
    context: int = 128,
    level: str = "inner",
) -> Prepared:
    """Load network and images, put them on the device, and cut the network into its chain.

    `arch` is a name such as `resnet110`, `vgg16_bn:width=16` or `timm:resnet26d`, or a model of
    your own, which stays on its device.  Of a name, the weights are the bundled ones unless
    `weights` is a file, `pretrained` for those that torchvision or timm publishes, or
    `initial:SEED` for none yet; `data` and `normalize` are then what the weights' card says.
    `weights_key` chooses among several sets of weights in a file, such as `state_dict_ema`.
    `zoo` picks other bundled ones: by what they were trained on (`cifar10-jpeg`), or by their name
    in `zoo list`; where no `data` is given, their images are looked for in `data_root`.

    A model in `DataParallel` or `torch.compile` is taken out of it, lazy layers get their shapes in
    a copy.  Of a model that returns more than its logits, `output` says which they are: a key, a
    place, an attribute, or a function of what it returns; without it what is called `logits`, the
    only tensor, or what is called `out`.  The labels say what its outputs mean (`engine.task`): one
    class an image, a class at each position, 0 or 1 for each logit, or numbers; `loss` says so
    where that is not to be guessed: `cross-entropy`, `binary` or `mse`.

    A network of tokens takes `data="text:FILE"`, in rows of `context` tokens of `tokenizer` (of
    transformers, or a function of a text; by default the one in the model's folder); tokens
    `[n, t]`; or batches in dictionaries, by the names of the model's own inputs, with `labels`.
    Labels that repeat the tokens are those of the next one.

    `data` is a name, or a `DataLoader`, a `Dataset`, a pair of tensors or arrays, or any batches of
    (images, labels), which come as their own transforms make them, in the model's number type.
    `limit` takes the first images only, of a folder all classes in turn.  Images in files are
    resized and cropped as `preprocess` says (`resize=256,crop=224,interpolation=bicubic`), by
    default as belongs to the weights; `input_shape` (channels, height, width) is for a network that
    takes several.  Folders get the network's class numbers by WordNet id, by name or by
    `class_map`, a file.  Many images are left where they are and read when needed, by so many
    `workers`; `stream` says so or not.

    `where` is auto, cpu or cuda.  `level` says which blocks are cut, as in `chain_of`: `inner`,
    `outer`, or each `branch` of a sum of several.

    Raises `ProbeError` for unknown names, weights that do not fit, images without a normalisation,
    folders that are none of the network's classes, and a device that is not there.
    """
    from resnet_probe.engine.task import asked
    from resnet_probe.loading.image_choice import Asked, images_for

    network, place = _network(arch, weights, weights_key, zoo, data, where, input_shape)
    source = data if data is not None else _images_of(network, data_root)
    if source is None:
        raise ProbeError(f"{network.source} does not say which images it is for: give data=")
    sized = input_shape is not None or (isinstance(arch, str) and network.arch.family == OWN)
    choice = Asked(
        source=source, root=data_root, normalize=normalize, limit=limit, preprocess=preprocess,
        stream=stream, workers=workers, sized=sized, tokenizer=tokenizer, context=context,
    )  # fmt: skip
    image_set, scale, ready = images_for(network, choice)
    images = image_set.on(place, scale, number_type(network.model))
    if is_lazy(network.model):
        network = filled(network, images[:1].to(place))
    if output is None and network.arch.family == OWN and network.arch.output is None:
        output = usual_output(network, images[:1].to(place))
    if output is not None:
        network = with_output(network, output)
    chain = cut(network.arch, network.model, images[:1].to(place), level=level)
    image_set = _numbered(image_set, chain, network, class_map)
    first: Any = getattr(images, "first", images)
    tokens = first if image_set.tokens else None
    fitted = asked(chain, image_set.labels, tokens, loss=loss)
    said = (*remarks(network.arch, chain), *fitted.said)
    return Prepared(
        network, image_set, scale.name, fitted.chain, images, fitted.labels, ready, said, loss,
        level,
    )  # fmt: skip


def _network(
    arch: str | nn.Module,
    weights: str | Path | None,
    weights_key: str | None,
    zoo: str | None,
    data: Any,
    where: str,
    input_shape: tuple[int, int, int] | None,
) -> tuple[Network, device]:
    """The network, on the device that it is measured on."""
    from resnet_probe import data as data_sets

    name = data if isinstance(data, str) else None
    if name is not None:
        data_sets.slug(name)  # an unknown name is refused before anything is loaded
    if isinstance(arch, str):
        place = find_device(where)
        network = load_network(arch, weights, name, zoo=zoo, weights_key=weights_key)
        network.model.to(place)
    else:
        if any(given is not None for given in (weights, weights_key, zoo)):
            raise ProbeError("a model comes with its weights: give weights to a name only")
        network, place = given_network(arch)
        if where not in ("auto", place.type):
            raise ProbeError(f"the given model is on {place.type}, not {where}: move it there")
    if input_shape is not None:
        network = replace(network, arch=replace(network.arch, input_shape=input_shape))
    return network, place


def _numbered(
    images: AnySet, chain: ResidualChain, network: Network, class_map: str | Path | None
) -> AnySet:
    """With the network's class numbers as labels; numbers without names are these already.

    Those with names, as a data set numbers its own, are where there are as many as the network has,
    unless its names stand in another order.
    """
    from resnet_probe.data import in_order_of
    from resnet_probe.data.own import NOTE

    classes, called = max(chain.classes, 2), images.class_names  # one logit is of two classes
    numbers = all(map(str.isdecimal, called))
    same = len(called) == classes and {*called} != {*network.class_names}
    own = images.note == NOTE or images.tokens or numbers or same  # given ones are as they are
    if not images.named and own and class_map is None:
        _check_numbers(images, chain)
        return images
    return in_order_of(
        images,
        classes=classes,
        names=network.class_names,
        class_map=Path(class_map) if class_map is not None else None,
        network=network.arch.spec,
    )


def _check_numbers(images: AnySet, chain: ResidualChain) -> None:
    """Raises `ProbeError` for a class beyond the network's, none of which is among the images.

    So labels that count from 1 are refused with a limit as they are without one.
    """
    known = images.class_names
    beyond = 1 < chain.classes < len(known) and all(map(str.isdecimal, known))
    if beyond and images.labels.dim() == 1 and int(images.labels.max()) < chain.classes:
        raise ProbeError(
            f"{images.name} has labels up to {len(known) - 1}, if not among these images: "
            f"{chain.name} has {chain.classes} classes (0–{chain.classes - 1})"
        )


def remarks(arch: Architecture, chain: ResidualChain) -> tuple[str, ...]:
    """What a reader should know of how a network was cut, and of what its blocks are."""
    if chain.output is not None and arch.output is None:
        told = f"of what {arch.spec} returns, {chain.output!r} is taken as its logits"
        return (told, *remarks(arch, replace(chain, output=None)))
    if arch.note:
        return (f"{arch.spec}: {arch.note}",)
    if any(block.shortcut_kind == "gated" for block in chain.blocks):
        return (f"{arch.spec} has gated shortcuts: a deleted block keeps its own, gate and all",)
    if not arch.residual or chain.residual:
        return ()
    return (
        f"{arch.spec} has no residual blocks: its {len(chain)} layers are measured instead, and "
        "what a deleted layer leaves is a parameter-free stand-in",
    )


def number_type(model: nn.Module) -> dtype:
    """The type that the model computes in: that of its first floating-point parameter."""
    import torch

    found = (t.dtype for t in model.parameters() if t.is_floating_point())
    return next(found, torch.float32)


def find_device(name: str) -> device:
    """The torch device of that name; `auto` is CUDA where there is one."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise ProbeError("device=cuda: torch finds no CUDA device here; use device=cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def example_for(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """An input to cut a network with: one drawn image, or two rows of drawn tokens.

    Of tokens for a network of transformers that says that it takes them.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    words = getattr(getattr(model, "config", None), "vocab_size", None)
    if isinstance(words, int) and getattr(model, "main_input_name", "") == "input_ids":
        return torch.randint(words, (2, TOKENS), generator=generator)
    return torch.randn(1, *shape, generator=generator).to(number_type(model))


def cut(
    arch: Architecture, model: nn.Module, example: Tensor, *, level: str = "inner"
) -> ResidualChain:
    """The chain of a residual network, or the layers of a plain one.

    Of a network that is not from here, the layers where it has no residual block.

    Raises `ProbeError` where it has neither.
    """
    from functools import partial

    from resnet_probe.discover import chain_of, layers_of

    find = partial(chain_of, level=level) if arch.residual else layers_of
    try:
        return find(model, example, name=arch.spec, output=arch.output)
    except ProbeError as refusal:
        if not arch.residual or arch.family not in (OWN, *LIBRARIES):
            raise
        with suppress(ProbeError):
            return layers_of(model, example, name=arch.spec, output=arch.output)
        raise refusal from None


def _images_of(network: Network, data_root: Path | None) -> str | None:
    """What the card of bundled weights was measured on; else what is known of the network."""
    from resnet_probe.zoo.images import source_of

    return network.data if network.card is None else source_of(network.card, data_root)
