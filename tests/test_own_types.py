"""A model and images as they come in Python: number types, wrappers, lazy layers, outputs."""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset
from toy_chains import TinyResNet, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, data, figures
from resnet_probe.cli import main
from resnet_probe.loading import hash_of
from resnet_probe.results import Result, provenance

X = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6) % 5
FLOATS = [torch.bfloat16, torch.float16, torch.float64]


def prepared(model: nn.Module, images: Any = X, labels: Any = Y, **options: Any) -> rp.Prepared:
    return rp.prepare(model, data=(images, labels), **options)


def unhooked_counts(model: nn.Module, images: Tensor) -> list[int]:
    """How many are right whole, and with the branch of each block zeroed where it is added."""
    with torch.no_grad():
        found = [int((model(images).argmax(1) == Y).sum())]
        for block in model.blocks:
            hook = block.bn2.register_forward_hook(lambda module, given, made: made * 0)
            found.append(int((model(images).argmax(1) == Y).sum()))
            hook.remove()
    return found


# ---- number types


@pytest.mark.many(2)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("given", [torch.float32, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_images_follow_the_model(dtype: torch.dtype, given: torch.dtype, stream: bool) -> None:
    model = seeded(TinyResNet).to(dtype)
    ready = prepared(model, X.to(given), stream=stream)
    assert ready.images[:2].to().dtype == dtype if stream else ready.images.dtype == dtype
    table = rp.lesion(ready.chain, ready.images, ready.labels, exact=True, batch=6).table
    assert table["correct"].tolist() == unhooked_counts(model, X.to(given).to(dtype))
    assert model.stem.weight.dtype == dtype


def test_doubles_are_not_rounded_on_the_way() -> None:
    fine = X.double() + 1e-12
    assert torch.equal(prepared(seeded(TinyResNet).double(), fine).images, fine)
    half = prepared(seeded(TinyResNet).double(), fine, normalize="mean=0.5,std=0.5").images
    assert half.dtype == torch.float64


@pytest.mark.parametrize("dtype", [*FLOATS, torch.float32, torch.float8_e4m3fn, torch.int8])
def test_a_hash_tells_weights_of_any_type_apart(dtype: torch.dtype) -> None:
    class Holds(nn.Module):
        def __init__(self, values: list[float]) -> None:
            super().__init__()
            self.register_buffer("w", torch.tensor(values).to(dtype))

    hashes = [hash_of(Holds(values)) for values in ([1.0, 2.0], [1.0, 2.0], [2.0, 1.0])]
    assert hashes[0] == hashes[1] != hashes[2] and re.fullmatch("[0-9a-f]{64}", hashes[0])


def test_the_hash_of_float32_weights_is_that_of_their_bytes() -> None:
    import hashlib

    model = nn.BatchNorm1d(2)
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    assert hash_of(model) == digest.hexdigest()


# ---- images and labels


@pytest.mark.many(3)
@pytest.mark.parametrize(
    "images", [X.numpy(), list(X), [x.numpy() for x in X], X.tolist(), X.double().numpy()],
    ids=["array", "tensors", "arrays", "lists", "doubles"],
)  # fmt: skip
@pytest.mark.parametrize(
    "labels", [Y.numpy(), Y.tolist(), list(Y), Y[:, None], Y.to(torch.uint8),
               Y.numpy().astype(np.uint16)],
    ids=["array", "list", "tensors", "n x 1", "bytes", "unsigned"],
)  # fmt: skip
def test_arrays_and_lists_are_taken(images: Any, labels: Any) -> None:
    ready = prepared(seeded(TinyResNet), images, labels)
    assert torch.equal(ready.images, X) and torch.equal(ready.labels, Y)
    assert ready.identity["data_sha256"] == data.given((images, labels)).fingerprint()


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (X * 1j, Y, "the given images are complex numbers"),
        (X.to(torch.int32), Y, "are torch.int32: expected torch.uint8"),
        (X > 0, Y, "are torch.bool"),
        (X.to_sparse(), Y, "torch.sparse_coo"),
        (X.to("meta"), Y, "expected torch.uint8"),
        (np.array(["a"] * 6), Y, "no table of numbers"),
        (X, torch.eye(5, dtype=torch.long)[Y], r"one-hot rows give labels.argmax\(1\)"),
        (X, Y + 0.5, "labels hold fractions"),
        (X, Y[:4], "a whole number for each of its 6 images"),
        (X, ["a"] * 6, "no table of numbers|whole number"),
        ([X[0], X[1, :, :4]], [0, 1], "different sizes: image 1 has the shape"),
    ],
)
def test_others_are_refused_in_a_sentence(images: Any, labels: Any, said: str) -> None:
    with pytest.raises(ProbeError, match=said) as caught:
        prepared(seeded(TinyResNet), images, labels)
    assert "\n" not in str(caught.value)


def test_bytes_of_one_channel_are_scaled_by_one_number() -> None:
    gray = (X[:, :1].sigmoid() * 255).to(torch.uint8)
    found = data.given((gray, Y)).on(torch.device("cpu"), data.normalization("mean=0.5,std=0.25"))
    torch.testing.assert_close(found, (gray / 255 - 0.5) / 0.25)
    with pytest.raises(ProbeError, match="three numbers, and the images have one channel"):
        data.given((gray, Y)).on(torch.device("cpu"), data.normalization("imagenet"))


# ---- wrappers


@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, lambda model: torch.compile(model, backend="eager"),
     lambda model: torch.compile(nn.DataParallel(model), backend="eager")],
)  # fmt: skip
def test_a_model_is_taken_out_of_its_wrapper(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = seeded(TinyResNet)
    ready = prepared(wrap(model))
    assert ready.network.model is model
    assert ready.identity == prepared(model).identity


class Scriptable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.norm(x)).mean((2, 3))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", [prepared, lambda model: rp.chain_of(model, X)])
def test_a_scripted_model_is_refused_as_one(call: Callable[[nn.Module], Any]) -> None:
    for whole in (torch.jit.script(Scriptable()), torch.jit.trace(Scriptable().eval(), X),
                  nn.Sequential(torch.jit.script(Scriptable()))):  # fmt: skip
        with pytest.raises(ProbeError, match=r"torch\.jit\): give the eager model"):
            call(whole)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(ProbeError, match="the given model is a dict, not a torch"):
        rp.prepare({"w": X}, data=(X, Y))  # type: ignore[arg-type]


# ---- lazy layers


class Lazy(TinyResNet):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(5)


def test_lazy_layers_get_their_shapes_in_a_copy() -> None:
    with torch.random.fork_rng():
        model = Lazy().train()
    hooks = len(model.head._forward_pre_hooks)
    ready = prepared(model)
    assert isinstance(model.head.weight, nn.UninitializedParameter) and model.training
    assert len(model.head._forward_pre_hooks) == hooks
    assert ready.network.model.head.weight.shape == (5, 8)
    assert re.fullmatch("[0-9a-f]{64}", ready.identity["weights_sha256"])
    with torch.no_grad():
        assert torch.equal(ready.chain(X), ready.network.model.eval()(X))
    with pytest.raises(ProbeError, match="Lazy has lazy layers and cannot run on an image"):
        prepared(model, torch.randn(6, 4, 8, 8, generator=torch.Generator()))


# ---- outputs


@dataclass
class Fields:
    logits: Tensor


class Holder:
    def __init__(self, logits: Tensor) -> None:
        self.logits, self.aux = logits, [logits + 1, logits]


Pair = namedtuple("Pair", "hidden logits")


class Gives(TinyResNet):
    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor) -> Any:
        return self.form(super().forward(x))


@pytest.mark.parametrize(
    ("form", "output"),
    [
        (lambda t: {"logits": t, "hidden": t + 1}, "logits"),
        (Fields, "logits"),
        (Holder, "logits"),
        (Holder, "aux.1"),
        (lambda t: (t + 1, t), 1),
        (lambda t: Pair(t + 1, t), "logits"),
        (lambda t: Pair(t + 1, t), 1),
        (lambda t: {"a": [t + 1, {"b": t}]}, "a.1.b"),
        (lambda t: {"a": t}, lambda given: given["a"]),
        (lambda t: t, None),
    ],
)
def test_the_logits_are_taken_out_of_what_a_model_returns(
    form: Callable[[Tensor], Any], output: Any
) -> None:
    model = seeded(lambda: Gives(form)).eval()
    ready = prepared(model, output=output)
    plain = TinyResNet.forward
    with torch.no_grad():
        assert torch.equal(ready.chain(X), plain(model, X))
    names = [block.name for block in rp.chain_of(seeded(TinyResNet), X)]
    assert [block.name for block in ready.chain] == names
    assert type(model) is Gives and model.form is form
    called = "" if output is None else f"@{'<lambda>' if callable(output) else output}"
    assert ready.identity["arch"] == f"Gives{called}"


def test_an_output_that_is_not_there_is_listed() -> None:
    model = seeded(lambda: Gives(lambda t: {"logits": t, "aux": t}))
    with pytest.raises(ProbeError, match="no output 'lgits': what it returns has logits, aux"):
        prepared(model, output="lgits")


class Holder:
    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


@pytest.mark.parametrize(
    ("wrap", "called"),
    [
        (lambda z: {"hidden": z + 1, "logits": z}, "logits"),
        (lambda z: {"out": z, "aux": z + 1}, "out"),
        (lambda z: {"anything": z, "nothing": None}, "anything"),
        (lambda z: Holder(logits=z, hidden=z + 1), "logits"),
        (lambda z: (z,), "0"),
    ],
)
def test_the_logits_are_found_among_other_outputs_and_named(wrap: Any, called: str) -> None:
    class Net(TinyResNet):
        def forward(self, x: Tensor) -> Any:
            return wrap(super().forward(x))

    ready = prepared(seeded(Net), X, Y)
    name = "Net@logits" if ready.chain.output is None else "Net"  # of an object of its own
    assert ready.chain.output in (None, called) and ready.chain.name == name
    said = f"of what Net returns, {called!r} is taken as its logits"
    assert name != "Net" or ready.remarks[0] == said
    assert torch.equal(ready.chain(X), seeded(TinyResNet)(X))


def test_of_several_tensors_none_is_guessed() -> None:
    class Net(TinyResNet):
        def forward(self, x: Tensor) -> Any:
            z = super().forward(x)
            return {"first": z, "second": z + 1}

    with pytest.raises(ProbeError, match="choose one with output=: first, second"):
        prepared(seeded(Net), X, Y)


def test_what_the_loss_is_can_be_said() -> None:
    rows = torch.eye(5)[Y]
    with pytest.raises(ProbeError, match=r"say loss='binary'"):
        rp.prepare(seeded(TinyResNet), data=(X, rows))
    ready = rp.prepare(seeded(TinyResNet), data=(X, rows), loss="binary")
    assert ready.identity["loss"] == "binary" and ready.chain.output_shape == (5, 2)
    z = seeded(TinyResNet)(X).double()
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(z, rows.double())
    result = rp.lesion(ready, exact=True)
    assert result.table.loss[0] == pytest.approx(float(wanted.detach()), rel=1e-5)
    with pytest.raises(ProbeError, match="there is no loss='hinge': there are cross-entropy"):
        rp.prepare(seeded(TinyResNet), data=(X, Y), loss="hinge")


def test_a_result_says_of_what_it_is_and_what_has_changed_since_is_another(tmp_path: Path) -> None:
    model = seeded(TinyResNet)
    ready = prepared(model)
    first = rp.lesion(ready)
    assert first.identity == first.identity | ready.identity
    first.save(tmp_path / "x")
    assert rp.lesion(prepared(model)).identity == first.identity
    with torch.no_grad():
        model.stem.weight.mul_(1.5)
    second = rp.lesion(ready)  # of the same object, as its weights are now
    assert not second.table["loss"].equals(first.table["loss"])
    with pytest.raises(ProbeError, match="holds another study: weights_sha256 is"):
        second.save(tmp_path / "x")
    assert (
        rp.lesion(prepared(model, X + 1)).identity["data_sha256"] != ready.identity["data_sha256"]
    )


def test_a_command_and_a_call_give_one_identity(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["lens", "--arch", "resnet20", "--limit", "30", "--quiet"]) == 0
    there = Result.load(tmp_path / "runs" / "lens-resnet20-digits").identity
    here = rp.lens(rp.prepare("resnet20", limit=30)).identity
    assert not provenance.difference(there, here) and here["weights_sha256"]


def test_images_that_are_left_where_they_are_are_not_read_for_an_identity() -> None:
    read = []

    class Rows(Dataset[Any]):
        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, row: int) -> Any:
            read.append(row)
            return X[row], int(Y[row])

    ready = rp.prepare(seeded(TinyResNet), data=Rows(), stream=True, workers=0)
    read.clear()
    assert "data_sha256" not in ready.known and not read
    result = rp.responses(ready)
    assert "data_sha256" not in result.identity and result.identity["weights_sha256"]
    assert ready.identity["data_sha256"] and read


class Scans(TensorDataset):
    """A data set whose class says what it is."""


def test_a_figure_is_titled_with_what_is_known() -> None:
    titles = [
        figures._title(rp.lens(ready))
        for ready in (
            prepared(seeded(TinyResNet)),
            rp.prepare(seeded(TinyResNet), data=Scans(X, Y)),
            rp.prepare("resnet20", limit=30),
        )
    ]
    assert titles == ["TinyResNet, 6 images", "TinyResNet on Scans, 6 images",
                      "resnet20 on digits, 30 images"]  # fmt: skip
