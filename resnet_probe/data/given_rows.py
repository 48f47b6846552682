"""The rows of a user's data set: which ones, what a batch of them is, which labels they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torch.utils.data import default_collate as stacked

from resnet_probe.errors import ProbeError

KEYS = (("image", "images", "img", "pixel_values"), ("label", "labels", "target", "targets"))
"""What the two parts are called where a batch is a dictionary."""


class Batch(NamedTuple):
    """Images `[n, …]` and labels int64 `[n]`."""

    images: Tensor
    labels: Tensor


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
        return pair_of(self.collate(rows))

    def images(self, rows: list[Any]) -> Tensor:
        return self.batch(rows).images

    def example(self) -> Tensor:
        """The first image; ProbeError if there is none, or if it is another the next time."""
        if not self.places:
            raise ProbeError(f"the given {self.name} has no rows")
        with torch.random.fork_rng(devices=[]):
            first, again = (self._read(0) for _ in range(2))
        if not torch.equal(first, again):
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
        found = torch.as_tensor([int(listed[place]) for place in self.places])
        for row in (0, len(self) - 1):
            with torch.random.fork_rng(devices=[]):
                if int(self.batch([self[row]]).labels[0]) != int(found[row]):
                    return None
        return found

    def _read(self, row: int) -> Tensor:
        try:
            return self.images([self[row]])[0]
        except TypeError as error:  # a PIL image, for one, cannot be stacked
            raise ProbeError(
                f"the given {self.name} does not give tensors ({str(error).splitlines()[0]}): give "
                "it a transform that makes them"
            ) from error


def rows_of(source: Any) -> Rows | None:
    """The rows of a `DataLoader`, a `Dataset` or a pair of tensors; None for other batches."""
    if isinstance(source, tuple) and all(isinstance(part, Tensor) for part in source):
        source = TensorDataset(*source)
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

    Raises ProbeError unless these are a tensor `[n, …]` and a whole number for each.
    """
    if isinstance(batch, Mapping):
        parts = [next((batch[key] for key in keys if key in batch), None) for keys in KEYS]
    elif isinstance(batch, Iterable) and not isinstance(batch, Tensor | str):
        parts = list(batch)[:2]
    else:
        parts = []
    images, labels = parts if len(parts) == 2 else (None, None)
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        raise ProbeError(
            f"a batch of the given data is {_kind(batch)}: expected tensors (images, labels)"
        )
    whole = not labels.is_floating_point() and labels.shape == images.shape[:1]
    if not whole:
        raise ProbeError(
            f"the labels of a batch are {labels.dtype} of shape {tuple(labels.shape)}: expected a "
            f"whole number for each of its {len(images)} images"
        )
    return Batch(images, labels.to(torch.int64))


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
