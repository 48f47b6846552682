"""Images of the user's own: loaders, data sets, tensors and batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from toy_chains import TinyResNet, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, data
from resnet_probe.engine.images import ImageStream

CPU = torch.device("cpu")
X = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 5
PAIRS = TensorDataset(X, Y)


class Photos(Dataset[Any]):
    """Lists its labels and classes as torchvision's data sets do."""

    classes = ("a", "b", "c", "d", "e")

    def __init__(self, targets: list[int] | None = None, **form: str) -> None:
        self.targets = Y.tolist() if targets is None else targets
        self.form = form
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> Any:
        self.read.append(row)
        item = X[row], int(Y[row])
        return dict(zip(self.form.values(), item, strict=True)) if self.form else item


def images_of(given: data.ImageSet) -> torch.Tensor:
    return given.on(CPU, data.normalization("none")).to(CPU)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "source",
    [
        (X, Y),
        PAIRS,
        DataLoader(PAIRS, batch_size=7),
        DataLoader(PAIRS, batch_size=7, shuffle=True),
        DataLoader(PAIRS, batch_size=None),
        Photos(),
        Photos(image="image", label="label"),
        DataLoader(Photos(pixels="pixel_values", labels="labels"), batch_size=9),
    ],
)
def test_all_images_with_their_labels_in_order(source: Any, stream: bool) -> None:
    before = torch.get_rng_state()
    found = data.given(source, stream=stream)
    assert isinstance(found.on(CPU, data.normalization("none")), ImageStream) is stream
    assert torch.equal(images_of(found), X) and torch.equal(found.labels, Y)
    assert found.shape == X.shape and len(found) == 40
    assert torch.equal(torch.get_rng_state(), before)
    assert found.fingerprint() == data.given((X, Y)).fingerprint()


@pytest.mark.parametrize("stream", [False, True])
def test_only_what_the_loader_gives(stream: bool) -> None:
    part = Subset(PAIRS, range(30, 10, -2))
    assert torch.equal(images_of(data.given(part, stream=stream)), X[list(range(30, 10, -2))])
    loader = DataLoader(PAIRS, batch_size=7, drop_last=True)
    assert torch.equal(images_of(data.given(loader, stream=stream)), X[:35])
    picked = DataLoader(PAIRS, sampler=torch.utils.data.SubsetRandomSampler([9, 3, 5]))
    assert torch.equal(images_of(data.given(picked, stream=stream)), X[[3, 5, 9]])
    assert torch.equal(data.given(PAIRS, limit=4, stream=stream).labels, Y[:4])


def test_a_loader_is_left_as_it_was() -> None:
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(PAIRS, batch_size=7, shuffle=True, generator=generator)
    before = generator.get_state()
    data.given(loader)
    assert torch.equal(generator.get_state(), before)


def test_batches_that_can_only_be_iterated_over_are_kept() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(zip(X, Y, strict=True))

    for source in (
        [(X[:25], Y[:25]), (X[25:], Y[25:])],
        ((x[None], y[None]) for x, y in zip(X, Y, strict=True)),
        DataLoader(Stream(), batch_size=16),
    ):
        found = data.given(source)
        assert torch.equal(images_of(found), X) and torch.equal(found.labels, Y)
    assert len(data.given([(X, Y)] * 3, limit=50)) == 50
    with pytest.raises(ProbeError, match="can only be iterated over cannot be streamed"):
        data.given([(X, Y)], stream=True)


def test_listed_labels_are_used_if_the_images_bear_them_out() -> None:
    photos = Photos()
    found = data.given(Subset(photos, range(10, 30)), stream=True)
    assert torch.equal(found.labels, Y[10:30]) and found.class_names == Photos.classes
    assert set(photos.read) == {10, 29}  # nothing else was read for them
    wrong = data.given(Photos(targets=[1] * 40), stream=True)
    assert torch.equal(wrong.labels, Y)


def test_many_images_are_left_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_probe.data.own.AS_FLOAT", X.nbytes)
    assert isinstance(data.given(PAIRS).images, torch.Tensor)
    monkeypatch.setattr("resnet_probe.data.own.AS_FLOAT", X.nbytes - 1)
    assert isinstance(data.given(PAIRS).images, ImageStream)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ([X], "a batch of the given data is a Tensor: expected tensors"),
        ([], "the given batches are none"),
        (TensorDataset(X), "is a list of Tensor: expected tensors"),
        ([{"image": X}], "a dictionary of image"),
        ([(X, Y * 1j)], r"the labels of a batch are torch.complex64 of shape \(40,\)"),
        ([(X, Y[:3])], "a whole number for each of its 40 images"),
        (Subset(PAIRS, []), "the given TensorDataset has no rows"),
    ],
)
def test_what_is_no_images_with_labels_is_refused(source: Any, reason: str) -> None:
    with pytest.raises(ProbeError, match=reason):
        data.given(source)


def test_images_that_change_are_refused() -> None:
    class Augmented(Photos):
        def __getitem__(self, row: int) -> Any:
            return X[row] + torch.rand(()), int(Y[row])

    with pytest.raises(ProbeError, match="image 0 of the given Augmented is another every time"):
        data.given(Augmented())


def test_a_row_that_cannot_be_read_is_named() -> None:
    class Broken(Photos):
        def __getitem__(self, row: int) -> Any:
            if row == 20:
                raise KeyError("gone")
            return super().__getitem__(row)

    with pytest.raises(ProbeError, match=r"row 20 cannot be read \(KeyError: 'gone'\)"):
        data.given(Broken())


# ---- prepared, for a model of the user's own


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_and_a_loader_are_all_a_study_needs(stream: bool) -> None:
    model = seeded(TinyResNet).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    ready = rp.prepare(model, data=DataLoader(PAIRS, batch_size=7), stream=stream)
    table = rp.lesion(ready.chain, ready.images, ready.labels).table
    expected = rp.lesion(rp.chain_of(model, X[:1]), X, Y).table
    assert table.equals(expected)
    assert model.training and all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert ready.identity["arch"] == "TinyResNet" and ready.normalize == "none"


def test_floats_are_taken_as_they_are_and_bytes_are_normalized() -> None:
    model = seeded(TinyResNet)
    ready = rp.prepare(model, data=(X, Y), normalize="mean=0.5,std=0.5")
    torch.testing.assert_close(ready.images, (X - 0.5) / 0.5)
    whole = (X.sigmoid() * 255).to(torch.uint8)
    with pytest.raises(ProbeError, match="does not say how its images were normalized"):
        rp.prepare(model, data=(whole, Y))
    ready = rp.prepare(model, data=(whole, Y), normalize="none")
    torch.testing.assert_close(ready.images, whole / 255)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "as given does not say which images it is for: give data="),
        ({"data": (X, Y), "weights": "w.pt"}, "a model comes with its weights"),
        ({"data": (X, Y), "where": "cuda"}, "the given model is on cpu, not cuda"),
        ({"data": (X, Y), "preprocess": "resize=9"}, "has its own transforms"),
    ],
)
def test_what_does_not_go_with_a_given_model_is_refused(options: Any, reason: str) -> None:
    with pytest.raises(ProbeError, match=reason):
        rp.prepare(seeded(TinyResNet), **options)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_model_on_cuda_stays_there() -> None:
    model = seeded(TinyResNet).cuda()
    ready = rp.prepare(model, data=PAIRS, stream=True)
    assert ready.chain.device.type == ready.images[:1].to().device.type == "cuda"
    assert next(model.parameters()).device.type == "cuda"
