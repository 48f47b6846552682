"""Which network on which images: the options of every command, and what they prepare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_probe.errors import ProbeError
from resnet_probe.settings import Option, Settings, option, whole_number

if TYPE_CHECKING:
    from resnet_probe.loading.prepared import Prepared

LARGEST = 2**26
"""Numbers of the largest image."""
NETWORK, IMAGES, FILES, RUN = "the network", "the images", "images in files", "run"


def image_size(text: str) -> str:
    """`3×224×224` as `3x224x224`; raises `ProbeError` for anything else."""
    sides = text.lower().replace("×", "x").split("x")
    numbers = prod(whole_number(side) or 0 for side in sides)
    if len(sides) != 3 or not 0 < numbers <= LARGEST:
        raise ProbeError(
            f"input={text!r} is no image shape: write CxHxW, such as 3x32x32, of at most "
            f"{LARGEST:,} numbers"
        )
    return "x".join(sides)


@dataclass(frozen=True, kw_only=True)
class Request(Settings):
    """A network by name, or your own, with its weights, and the images that it is measured on."""

    arch: str | None = option(
        None,
        "architecture by name, such as resnet110, preresnet110, plain20, vgg16_bn:width=16, "
        "resnet50 (the list: describe --list), any name of torchvision's, or timm:NAME",
        metavar="NAME",
        group=NETWORK,
    )
    model: str | None = option(
        None,
        "a network of your own: what the callable returns, as mypkg.nets:build; or hf:FOLDER, as "
        "transformers saves one",
        metavar="MODULE:CALLABLE",
        group=NETWORK,
    )
    input: str | None = option(
        None,
        "the shape of an image, such as 3x224x224: needed for --model, and for --arch where it is "
        "not the usual one",
        read=image_size,
        metavar="CxHxW",
        group=NETWORK,
    )
    output: str | None = option(
        None,
        "which output are the logits, where --model returns several: a place or a key, such as 0, "
        "logits or aux.0",
        metavar="NAME",
        group=NETWORK,
    )
    weights: str | None = option(
        None,
        "weights in a file, `pretrained:NAME` for those of torchvision by their name, such as "
        "IMAGENET1K_V1, or `initial:SEED` (default: the bundled ones, and for --model those it is "
        "built with)",
        metavar="FILE",
        group=NETWORK,
    )
    weights_key: str | None = option(
        None,
        "which of several sets of weights in the file, such as state_dict_ema",
        metavar="NAME",
        group=NETWORK,
    )
    zoo: str | None = option(
        None,
        "other bundled weights: what they were trained on, as cifar10-jpeg, or their name in `zoo "
        "list` (default: those for --data, else for the digits)",
        metavar="NAME",
        group=NETWORK,
    )
    level: str = option(
        "inner",
        "which blocks: the innermost that make a series, the outer ones around them, or one for "
        "each branch where a block has several, x + a(x) + m(x) (default: inner)",
        choices=("inner", "outer", "branch"),
        group=NETWORK,
    )
    twin: str | None = option(
        None,
        "untrained: the same architecture from its initial state, with batch-norm statistics of "
        "training images, beside which a result of training shows",
        choices=("untrained",),
        group=NETWORK,
    )
    data: str | None = option(
        None,
        "digits, cifar10, cifar100, fashion_mnist, parquet:FILE, imagefolder:DIR, csv:FILE (paths "
        "and classes), npz:FILE, webdataset:TAR (or x-{000..003}.tar), hf:DIR (a folder of "
        "Hugging Face datasets) or, for networks of tokens, text:FILE (default: what the bundled "
        "weights were trained on)",
        metavar="NAME",
        group=IMAGES,
    )
    context: int = option(
        128, "tokens of a row, of text:FILE (default: 128)", metavar="TOKENS", group=IMAGES, least=2
    )
    data_root: Path | None = option(
        None,
        "where the files of a named data set lie, or are kept",
        read=Path,
        metavar="DIR",
        group=IMAGES,
    )
    normalize: str | None = option(
        None,
        "imagenet, cifar10, none, or mean=a,b,c,std=d,e,f (default: what the weights' card says)",
        metavar="NAME",
        group=IMAGES,
    )
    limit: int | None = option(
        None,
        "use only the first IMAGES; of a folder, one of each class in turn",
        least=1,
        metavar="IMAGES",
        group=IMAGES,
    )
    preprocess: str | None = option(
        None,
        "resize=256,crop=224,interpolation=bicubic in part or whole, or none; resize=HxW squeezes "
        "(default: what belongs to the weights, else crop / 0.875 and bilinear)",
        metavar="HOW",
        group=FILES,
    )
    class_map: Path | None = option(
        None,
        "which class of the network each folder is: lines of FOLDER,NUMBER, a line a class in "
        "order, or JSON (default: by WordNet id or class name, else in alphabetical order)",
        read=Path,
        metavar="FILE",
        group=FILES,
    )
    stream: bool | None = option(
        None,
        "leave the images of a folder on disk, and decode them when needed (default: beyond 1 GiB "
        "of pixels)",
        group=FILES,
    )
    workers: int | None = option(
        None,
        "processes that decode images (default: one a core, 8 at most)",
        least=0,
        metavar="N",
        group=FILES,
    )
    device: str = option("auto", "(default: auto)", choices=("auto", "cpu", "cuda"), group=RUN)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.arch is None and self.model is None:
            raise ProbeError("which network? give arch=, or model= for your own")
        if self.arch is not None and self.model is not None:
            raise ProbeError(f"arch={self.arch} and model={self.model} are two networks: give one")
        if self.output is not None and self.model is None:
            raise ProbeError(f"output= goes with model=: {self.arch} returns its logits alone")

    @property
    def spec(self) -> str:
        """The network by name, or the model with its image shape and its output."""
        if self.model is None:
            return str(self.arch)
        return "@".join(part for part in (self.model, self.input, self.output) if part)

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """The shape of an image where `input=` goes with a named architecture."""
        if self.model is not None or self.input is None:
            return None
        channels, height, width = (int(side) for side in self.input.split("x"))
        return channels, height, width

    def prepared(self, *, limit: int | None = None) -> Prepared:
        """The network in its chain, with its images: `limit` of them if that is fewer."""
        from resnet_probe.loading.prepared import prepare
        from resnet_probe.loading.untrained import untrained

        limits = [most for most in (self.limit, limit) if most is not None]
        found = prepare(
            self.spec,
            weights=self.weights,
            weights_key=self.weights_key,
            zoo=self.zoo,
            data=self.data,
            data_root=self.data_root,
            normalize=self.normalize,
            limit=min(limits, default=None),
            where=self.device,
            input_shape=self.input_shape,
            preprocess=self.preprocess,
            class_map=self.class_map,
            stream=self.stream,
            workers=self.workers,
            context=self.context,
            level=self.level,
        )
        return found if self.twin is None else untrained(found, data_root=self.data_root)

    def fresh(self, seed: int) -> Request:
        """The same network as it is before training."""
        return replace(self, weights=f"initial:{seed}", weights_key=None, zoo=None)

    def words(self) -> list[str]:
        """How a command asks for the same; how many images is the study's to say."""
        aside = ("limit", "device", "workers", "stream")  # they do not change what is measured
        given = [each for each in self.options() if each.name not in aside]
        return [word for each in given for word in self._word(each)]

    def _word(self, each: Option) -> list[str]:
        value = getattr(self, each.name)
        return [] if value == each.default else each.words(value)
