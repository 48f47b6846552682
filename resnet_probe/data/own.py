"""Images of the user's own: a `DataLoader`, a `Dataset`, arrays, or batches one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torch.utils.data import default_collate as stacked

from resnet_probe.data.image_set import AS_FLOAT, ImageSet, check_limit, on_demand
from resnet_probe.data.read_ahead import ReadAhead, in_order
from resnet_probe.data.tokens import inputs_and_labels
from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs

KEYS = (("image", "images", "img", "pixel_values"), ("label", "labels", "target", "targets"))
"""What the two parts are called where a batch is a dictionary."""
IMAGE_TYPES = {torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64}
NOTE = "as given"


class Batch(NamedTuple):
    """Images `[n, …]`, tokens or inputs by name, and labels `[n, …]`, whole numbers as int64."""

    images: Any
    labels: Tensor


def given(
    source: Any, *, limit: int | None = None, stream: bool | None = None, workers: int | None = None
) -> ImageSet:
    """What a user has: a `DataLoader` or `Dataset` of (image, label), or any batches of both.

    A pair of tensors, arrays or lists is all images and all labels.  The rows of a data set are
    read in their order, whatever the loader's, and only those that its sampler gives; `stream`
    leaves them where they are and None does so beyond 1 GiB, else they are read once.  Batches that
    are only iterable are read once and kept.  `workers` processes read, by default as many as the
    loader has.

    Raises `ProbeError` for what gives no images of one size with a whole number each, and for
    images that differ from one reading to the next.

    Whole numbers `[n, t]` are tokens, whose labels may be they themselves.  Batches in dictionaries
    are inputs by the names of the network's own, with `labels`, or else `input_ids` for labels.
    """
    check_limit(limit)
    rows = rows_of(_arrays(source))
    if rows is None:
        if stream:
            raise ProbeError("batches that can only be iterated over cannot be streamed: give a "
                             "DataLoader or a Dataset with a length")  # fmt: skip
        return _of_batches(source, limit)
    return _of_rows(rows.first(limit), stream, rows.workers if workers is None else workers)


def _of_rows(rows: Rows, stream: bool | None, workers: int) -> ImageSet:
    example = rows.example()
    if isinstance(example, Inputs) or example.dtype == torch.int64:
        parts = list(_gathered(rows, workers, keep=True))
        truth = torch.cat([part.labels for part in parts])
        return _image_set(rows.name, _joined([part.images for part in parts]), truth, example)
    size = len(rows) * example.nbytes
    kept = size <= AS_FLOAT if stream is None else not stream
    labels = None if kept else rows.known_labels()
    shape = (len(rows), *example.shape)
    images: Any = on_demand(ReadAhead(rows, workers=workers, collate=rows.images), shape)
    if labels is None:
        parts = list(_gathered(rows, workers, keep=kept))
        labels = torch.cat([part.labels for part in parts])
        images = _joined([part.images for part in parts]) if kept else images
    return _image_set(rows.name, images, labels, example, rows.class_names)


def _of_batches(source: Iterable[Any], limit: int | None) -> ImageSet:
    parts: list[Batch] = []
    count = 0
    with torch.random.fork_rng(devices=[]):  # a loader draws a seed for its workers
        for batch in source:
            parts.append(pair_of(batch))
            count += len(parts[-1].labels)
            if limit is not None and count >= limit:
                break
    if not count:
        raise ProbeError("the given batches are none: expected batches of (images, labels)")
    images = _joined([part.images for part in parts])[:limit]
    labels = torch.cat([part.labels for part in parts])[:limit]
    return _image_set(type(source).__name__, images, labels, images)


def _image_set(
    name: str, images: Any, labels: Tensor, example: Any, classes: tuple[str, ...] = ()
) -> ImageSet:
    floats = isinstance(example, Tensor) and example.is_floating_point()
    return ImageSet(name, "", images, labels, classes, NOTE, floats=floats)


def _gathered(rows: Rows, workers: int, *, keep: bool) -> Iterator[Batch]:
    for batch in in_order(rows, 0, workers=workers, collate=rows.batch):
        yield batch if keep else Batch(batch.images[:0], batch.labels)


def _joined(parts: list[Any]) -> Any:
    """All images together; `ProbeError` for other sizes or types from some batch on."""
    first = parts[0]
    if isinstance(first, Inputs):
        names = list(first)
        other = next((part for part in parts if list(part) != names), None)
        if other is not None:
            raise ProbeError(
                f"the given batches hold {', '.join(names)} and then {', '.join(other)}: the same "
                "inputs are needed in all of them"
            )
        return Inputs({name: _joined([part[name] for part in parts]) for name in names})
    for number, part in enumerate(parts):
        if (part.shape[1:], part.dtype) != (first.shape[1:], first.dtype):
            here, there = (f"{tuple(each.shape[1:])}, {each.dtype}" for each in (part, first))
            raise ProbeError(
                f"the given images are of different sizes or types: those of batch {number} are "
                f"{here}, where those of batch 0 are {there}"
            )
    return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class Rows(Dataset[Any]):
    """Some rows of a map-style data set, in its order; `collate` makes a batch of some of them."""

    dataset: Any
    places: Sequence[int] = field(repr=False)
    collate: Callable[[list[Any]], Any]
    workers: int = 0

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: int) -> Any:
        return self.dataset[self.places[row]]

    @property
    def name(self) -> str:
        """What kind of data set it is."""
        return type(_whole(self.dataset)).__name__

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those that the data set itself names."""
        return tuple(map(str, getattr(_whole(self.dataset), "classes", ()) or ()))

    def first(self, limit: int | None) -> Rows:
        return replace(self, places=self.places[:limit])

    def batch(self, rows: list[Any]) -> Batch:
        """Some rows as one; ProbeError for what cannot be put together."""
        try:
            made = self.collate(rows)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ProbeError(_apart(self.name, rows, error)) from error
        return pair_of(made)

    def images(self, rows: list[Any]) -> Any:
        return self.batch(rows).images

    def example(self) -> Any:
        """The first image; ProbeError if there is none, or if it is another the next time."""
        if not self.places:
            raise ProbeError(f"the given {self.name} has no rows")
        with torch.random.fork_rng(devices=[]):
            first, again = (self.images([self[0]]) for _ in range(2))
        if isinstance(first, Inputs):
            return first
        first, again = first[0], again[0]
        if first.shape != again.shape or not torch.equal(_raw(first), _raw(again)):
            raise ProbeError(
                f"image 0 of the given {self.name} is another every time it is read: networks are "
                "compared on the same images, so give a data set without random augmentation"
            )
        return first

    def known_labels(self) -> Tensor | None:
        """The labels that the data set lists, if the first and the last row bear them out."""
        listed = _listed(self.dataset)
        if listed is None or len(listed) != len(self.dataset):
            return None
        found = as_labels([listed[place] for place in self.places], len(self))
        for row in (0, len(self) - 1):
            with torch.random.fork_rng(devices=[]):
                if not torch.equal(self.batch([self[row]]).labels[0], found[row]):
                    return None
        return found


def rows_of(source: Any) -> Rows | None:
    """The rows of a `DataLoader` or a `Dataset`; None for other batches."""
    if isinstance(source, DataLoader):
        if isinstance(source.dataset, IterableDataset):
            return None
        collate = source.collate_fn if source.batch_size is not None else stacked
        return Rows(source.dataset, _places(source), collate, source.num_workers)
    if isinstance(source, IterableDataset) or not hasattr(source, "__getitem__"):
        return None
    if isinstance(source, Sequence) and not isinstance(source, Dataset):
        return None  # a list of batches
    if not hasattr(source, "__len__"):
        raise ProbeError(f"the given {type(source).__name__} has no length")
    return Rows(source, range(len(source)), stacked)


def pair_of(batch: Any) -> Batch:
    """The images and labels in what a loader gives.

    Raises ProbeError unless these are a tensor `[n, …]` and a label for each.
    """
    if isinstance(batch, Mapping):
        if not any(key in batch for key in KEYS[0]):
            found, labels = inputs_and_labels(batch)
            return Batch(found, as_labels(labels, len(found), of="a batch"))
        parts = [next((batch[key] for key in keys if key in batch), None) for keys in KEYS]
    elif isinstance(batch, Iterable) and not isinstance(batch, Tensor | str):
        parts = list(batch)[:2]
    else:
        parts = []
    if len(parts) != 2 or not all(isinstance(part, Tensor | np.ndarray | list) for part in parts):
        raise ProbeError(
            f"a batch of the given data is {_kind(batch)}: expected tensors (images, labels)"
        )
    images = as_images(parts[0])
    return Batch(images, as_labels(parts[1], len(images), of="a batch"))


def as_images(images: Any) -> Tensor:
    """Bytes or floats `[n, …]` from a tensor, an array, or a list of either.

    Raises `ProbeError` for images of different sizes, and for numbers of another type, by its name.
    """
    if isinstance(images, list | tuple):
        shapes = [tuple(np.shape(image)) for image in images]
        other = next((n for n, shape in enumerate(shapes) if shape != shapes[0]), None)
        if other is not None:
            raise ProbeError(
                f"the given images are of different sizes: image {other} has the shape "
                f"{shapes[other]}, where that of image 0 is {shapes[0]}"
            )
    found = _tensor(images, "images")
    if found.dtype in (torch.int32, torch.int64) and found.dim() == 2 and not found.is_sparse:
        return found.to(torch.int64)  # tokens
    if found.dtype not in IMAGE_TYPES or found.layout != torch.strided or found.is_meta:
        kind = "complex numbers" if found.is_complex() else str(found.dtype)
        form = "" if found.layout == torch.strided else f", {found.layout}"
        raise ProbeError(
            f"the given images are {kind}{form}: expected torch.uint8 (0–255) or floats"
        )
    return found


def as_labels(labels: Any, images: int, *, of: str = "the given data") -> Tensor:
    """A label for each image, `[n]` or `[n, …]`, from a tensor, an array or a list.

    Whole numbers become int64, `[n, 1]` of them `[n]`.  Raises `ProbeError` for anything but
    numbers, as many as there are images.
    """
    found = _tensor(labels, "labels")
    if found.is_complex() or found.dim() == 0 or len(found) != images:
        raise ProbeError(
            f"the labels of {of} are {found.dtype} of shape {tuple(found.shape)}: expected a "
            f"whole number for each of its {images} images, or numbers"
        )
    if found.is_floating_point():
        return found
    return (found[:, 0] if found.dim() == 2 and found.shape[1] == 1 else found).to(torch.int64)


def _tensor(values: Any, what: str) -> Tensor:
    if isinstance(values, list | tuple) and any(isinstance(each, Tensor) for each in values):
        values = torch.stack([torch.as_tensor(each) for each in values])
    try:
        if isinstance(values, list | tuple) and any(isinstance(v, np.ndarray) for v in values):
            values = np.stack(values)
        return values.detach() if isinstance(values, Tensor) else torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ProbeError(f"the given {what} are no table of numbers ({reason})") from error


def _arrays(source: Any) -> Any:
    """A pair of all images and all labels as a data set; anything else as it is."""
    if isinstance(source, Tensor) and source.dtype == torch.int64 and source.dim() == 2:
        return TensorDataset(source, source)  # tokens are their own labels
    pair = isinstance(source, tuple) and len(source) == 2
    if not pair or not all(isinstance(part, Tensor | np.ndarray | list) for part in source):
        return source
    if isinstance(source[1], list) and not all(_is_number(label) for label in source[1]):
        return source  # two batches
    images = as_images(source[0])
    return TensorDataset(images, as_labels(source[1], len(images)))


def _is_number(label: Any) -> bool:
    return isinstance(label, int | float | np.number) or np.ndim(label) == 0


def _raw(image: Tensor) -> Tensor:
    """The bytes of an image: NaN equals itself."""
    return image.contiguous().view(-1).view(torch.uint8)


def _apart(name: str, rows: list[Any], error: Exception) -> str:
    """Why some rows cannot be put together."""
    images = [next(iter(r.values())) if isinstance(r, Mapping) else r[0] for r in rows if r]
    shapes = [tuple(image.shape) for image in images if isinstance(image, Tensor | np.ndarray)]
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    if other is not None:
        return (
            f"the given {name} holds images of different sizes: {other} beside {shapes[0]}: give "
            "it a transform that makes them one size"
        )
    reason = str(error).splitlines()[0].rstrip(".")
    if isinstance(error, TypeError):  # a PIL image, for one, cannot be stacked
        return (
            f"the given {name} does not give tensors ({reason}): give it a transform that makes "
            "them"
        )
    return f"rows of the given {name} cannot be put together ({reason})"


def _places(loader: DataLoader[Any]) -> list[int]:
    """The rows that a loader gives, in the order of the data set; no random number is drawn."""
    if loader.generator is not None:
        state = loader.generator.get_state()
    with torch.random.fork_rng(devices=[]):
        batches = loader.batch_sampler
        found = sorted(loader.sampler if batches is None else (r for b in batches for r in b))
    if loader.generator is not None:
        loader.generator.set_state(state)
    return found


def _whole(dataset: Any) -> Any:
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def _listed(dataset: Any) -> Any:
    """Labels that lie beside the images: torchvision's `targets`, the second of some tensors."""
    if isinstance(dataset, Subset):
        below = _listed(dataset.dataset)
        return None if below is None else [below[place] for place in dataset.indices]
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) > 1:
        return dataset.tensors[1]
    found = getattr(dataset, "targets", None)
    return found if isinstance(found, Sequence | Tensor) else None


def _kind(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"a dictionary of {', '.join(map(str, batch))}"
    if isinstance(batch, list | tuple):
        return f"a {type(batch).__name__} of {', '.join(type(part).__name__ for part in batch)}"
    return f"a {type(batch).__name__}"
