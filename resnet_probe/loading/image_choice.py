"""From what was asked for as images to those that a network is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.data import AnySet, Normalization, Preprocess
    from resnet_probe.loading.networks import Network

TEXT = "text:"
RESIZED = ("imagefolder", "csv", "webdataset", "parquet", "hf")
READY = ("parquet", "hf")
"""Of these, whose images usually have one size, only where that is asked for."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for; `source` is a name, or what `data.given` takes."""

    source: Any
    root: Path | None = None
    normalize: str | None = None
    limit: int | None = None
    preprocess: str | None = None
    stream: bool | None = None
    workers: int | None = None
    tokenizer: Any = None
    context: int = 128
    sized: bool = False
    """Whether the size of the images was asked for, and is not just the network's usual one."""


def images_for(network: Network, asked: Asked) -> tuple[AnySet, Normalization, Preprocess | None]:
    """The images, how they are normalized, and what was done to them before.

    Raises `ProbeError` for images without a normalization, of another shape than was asked for,
    and for preprocessing of images that lie ready.
    """
    from resnet_probe import data

    how = asked.normalize or network.normalize
    options: Any = {"limit": asked.limit, "stream": asked.stream, "workers": asked.workers}
    if isinstance(asked.source, str) and asked.source.startswith(TEXT):
        path = Path(asked.source.removeprefix(TEXT)).expanduser()
        tokenizer = asked.tokenizer or tokenizer_of(network)
        rows = data.load_text(path, tokenizer, asked.context, asked.limit)
        return rows, data.normalization("none"), None
    if isinstance(asked.source, str):
        scale = data.normalization(_said(how, network))
        ready = _preprocess(network, asked)
        images = data.read(asked.source, root=asked.root, preprocess=ready, **options)
        images = images.of_channels(network.arch.input_shape[0])
        _check_shape(network, asked, images)
        return images, scale, ready
    if asked.preprocess is not None:
        raise ProbeError("preprocess is for images in files: a data set has its own transforms")
    given = data.given(asked.source, **options)
    # Floats have been normalized by the user's own transforms, unless the user says how to.
    how = asked.normalize or ("none" if given.floats or given.tokens else _said(how, network))
    return given, data.normalization(how), None


def tokenizer_of(network: Network) -> Any:
    """The one in the folder that a model of transformers was loaded from.

    Raises `ProbeError` where there is none.
    """
    folder = Path(str(getattr(network.model, "name_or_path", "") or ""))
    if not (folder / "tokenizer_config.json").is_file():
        raise ProbeError(
            f"{network.arch.spec} comes without a tokenizer: give tokenizer=, of transformers or a "
            "function that makes whole numbers of a text"
        )
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def _said(normalize: str | None, network: Network) -> str:
    if normalize is None:
        raise ProbeError(
            f"{network.source} does not say how its images were normalized: give normalize= "
            "(imagenet, cifar10, none, or mean=…,std=…)"
        )
    return normalize


def _preprocess(network: Network, asked: Asked) -> Preprocess | None:
    """What was asked for, else what belongs to the weights, else what is usual for a folder."""
    from resnet_probe import data

    kind = str(asked.source).partition(":")[0]
    height, width = network.arch.input_shape[1:]
    if asked.preprocess is not None and kind not in RESIZED:
        raise ProbeError(
            f"preprocess={asked.preprocess}: the images of {asked.source} lie ready; it is for "
            "imagefolder:DIR, csv:FILE, webdataset:TAR, parquet:FILE and hf:DIR"
        )
    if kind not in RESIZED:
        return None
    spec = asked.preprocess or (None if asked.sized else network.preprocess)
    if spec is not None:
        return data.preprocess(spec, (height, width))
    return data.Preprocess.usual((height, width)) if kind not in READY or asked.sized else None


def _check_shape(network: Network, asked: Asked, images: AnySet) -> None:
    found, wanted = tuple(images.shape[1:]), network.arch.input_shape
    here, there = ("×".join(map(str, shape)) for shape in (found, wanted))
    if found[0] != wanted[0]:
        raise ProbeError(
            f"{network.arch.spec} takes images of {there}, and those of {images.name} have "
            f"{found[0]} channels ({here}): other numbers of channels come from a DataLoader, in "
            "Python"
        )
    if asked.sized and asked.preprocess is None and found != wanted:
        raise ProbeError(
            f"the images of {images.name} are {here} and input= says {there}: give input="
            f"{here.replace('×', 'x')}"
        )
