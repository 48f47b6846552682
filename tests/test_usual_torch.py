"""What the caller has switched on in torch changes no number, and is on afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import Any

import pandas as pd
import pytest
import torch
from toy_chains import TinyResNet, seeded

import resnet_probe as rp
from resnet_probe import ProbeError
from resnet_probe.discover.copies import usual_torch

X = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 5
MODEL = seeded(TinyResNet)
STUDIES = {
    "lesion": rp.lesion,
    "recalibrated": lambda ready: rp.lesion(ready, recalibrate=X[:6] + 0.1),
    "control": rp.control,
    "paths": lambda ready: rp.paths(ready, samples=4, signs=2),
    "gates": rp.gates,
    "append": lambda ready: rp.append(ready, steps=2, draws=1),
}


@contextmanager
def default_type() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == torch.float64
        torch.set_default_dtype(torch.float32)


@contextmanager
def fewer_bits() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        assert torch.get_float32_matmul_precision() == "medium"
        torch.set_float32_matmul_precision(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SWITCHES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default type": default_type,
    "default device": lambda: torch.device("meta"),
    "fewer bits": fewer_bits,
    "deterministic": deterministic,
}


def state() -> tuple[Any, ...]:
    return (
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"), torch.get_default_device(),
        torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return {name: study(rp.prepare(MODEL, data=(X, Y))).table for name, study in STUDIES.items()}


@pytest.mark.many(8)
@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_gives_the_same_numbers(switch, study, tables) -> None:
    outside = rp.prepare(MODEL, data=(X, Y))
    with SWITCHES[switch]():
        before = state()
        found = STUDIES[study](rp.prepare(MODEL, data=(X, Y))).table
        again = STUDIES[study](outside).table
        assert state() == before
    pd.testing.assert_frame_equal(found, tables[study], check_exact=True)
    pd.testing.assert_frame_equal(again, tables[study], check_exact=True)


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_chain_is_cut_and_a_refusal_leaves_what_is_on(switch) -> None:
    with SWITCHES[switch]():
        before = state()
        assert len(rp.chain_of(MODEL, X[:2])) == 3
        with pytest.raises(ProbeError, match="has no residual block"):
            rp.chain_of(MODEL.stem, X[:2])
        assert state() == before


@pytest.mark.parametrize("switch", SWITCHES)
def test_an_edited_network_is_made(switch) -> None:
    with SWITCHES[switch]():
        module = rp.edited(rp.chain_of(MODEL, X[:2]), "delete 2", X)
    assert torch.equal(module(X), rp.edited(rp.chain_of(MODEL, X[:2]), "delete 2", X)(X))


def test_images_that_were_made_in_inference_mode_do(tables) -> None:
    with torch.inference_mode():
        images = X.clone()
        ready = rp.prepare(MODEL, data=(images, Y))
    found = STUDIES["paths"](ready).table
    pd.testing.assert_frame_equal(found, tables["paths"], check_exact=True)


def test_a_model_that_was_built_in_inference_mode_is_refused() -> None:
    with torch.inference_mode():
        model = deepcopy(MODEL)
        with pytest.raises(ProbeError, match=r"built in torch.inference_mode\(\) \(stem.weight\)"):
            rp.prepare(model, data=(X, Y))
    assert len(rp.prepare(deepcopy(model), data=(X, Y)).chain) == 3


def test_all_of_it_is_off_inside() -> None:
    with torch.inference_mode(), torch.autocast("cpu"), default_type(), torch.device("meta"):
        with usual_torch():
            made = torch.ones(2) @ torch.ones(2, 2)
            assert (made.dtype, made.device.type) == (torch.float32, "cpu")
            assert not made.is_inference() and not torch.is_autocast_enabled("cpu")
        assert (torch.ones(1).dtype, torch.ones(1).device.type) == (torch.float64, "meta")
