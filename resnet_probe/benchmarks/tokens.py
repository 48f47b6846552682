"""All single deletions of a language model: hooks on the model itself, and the study of lesions.

The model is GPT-2's architecture (Radford et al. 2019) in the transformers library, its weights and
the texts drawn at random: nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnet_probe.benchmarks.clock import (
    Comparison,
    fastest,
    in_turn,
    peak_memory,
    ratio,
    size_said,
)
from resnet_probe.discover import chain_of
from resnet_probe.errors import ProbeError
from resnet_probe.studies.lesion import lesion

PLAIN_BATCHES = (1, 2, 4, 8, 16)
NEAR = 1e-5
"""Losses that differ by no more than this part are equal as far as float32 rounds."""
LARGEST = 2**31
"""Parameters, 8 GiB of them; tokens."""
ENDS = ("attn.c_proj", "mlp.c_proj")
"""What ends the two branches of a layer."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of the model, and of the texts."""

    layers: int = 12
    width: int = 768
    vocabulary: int = 50257
    texts: int = 64
    context: int = 128

    @property
    def heads(self) -> int:
        """Of 64 numbers each; one where the width is less."""
        return max(1, self.width // 64)

    @property
    def parameters(self) -> int:
        """Of the matrices: 12 width² a layer, the tables of tokens and of their places."""
        return self.width * (12 * self.layers * self.width + self.vocabulary + self.context)

    def check(self) -> None:
        """Raises `ProbeError` for a model that cannot be, or would not fit a machine."""
        if min(self.layers, self.texts, self.width) < 1 or min(self.vocabulary, self.context) < 2:
            raise ProbeError(
                "at least one layer, one text, two words and texts of two tokens are needed"
            )
        if self.width % self.heads:
            raise ProbeError(f"width={self.width} is more than 64, and no multiple of it")
        if self.parameters > LARGEST:
            raise ProbeError(
                f"{self.layers} layers of width {self.width:,} with {self.vocabulary:,} tokens and "
                f"texts of {self.context:,} have {self.parameters:,} parameters: at most "
                f"{LARGEST:,} are built"
            )
        if self.texts * self.context > LARGEST:
            raise ProbeError(
                f"{self.texts:,} texts of {self.context:,} tokens are {self.texts * self.context:,}"
                f" tokens: at most {LARGEST:,} are drawn"
            )


def language_model(size: Size, seed: int) -> nn.Module:
    """GPT-2 of that size with fresh weights, in eval mode; `ProbeError` without transformers."""
    try:
        import transformers
    except ImportError as error:
        raise ProbeError("this needs transformers: pip install 'resnet_probe[language]'") from error
    size.check()
    config = transformers.GPT2Config(
        n_layer=size.layers, n_embd=size.width, n_head=size.heads,
        vocab_size=size.vocabulary, n_positions=size.context, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.GPT2LMHeadModel(config).eval()
    model.loss_type = "ForCausalLM"  # what it is by default, with a warning
    return model


def benchmark(
    size: Size, *, rounds: int, seed: int, memory: int, batch: int | None, device: torch.device
) -> Comparison:
    """Time both in turn, `rounds` times, on the same texts: the loss of every deletion.

    The plain loop runs the model once an edit, with a hook that zeroes the branch, at the batch
    size that is best for it.  Raises `ProbeError` for sizes below one and without transformers.
    """
    model = language_model(size, seed).to(device)
    generator = torch.Generator().manual_seed(seed)
    shape = (size.texts, size.context)
    tokens = torch.randint(size.vocabulary, shape, generator=generator)
    chain = chain_of(model, {"input_ids": tokens[:2].to(device)}, name="gpt2")
    best = fastest(
        lambda count: plain_loss(model, tokens[: 2 * count], 0, count),
        PLAIN_BATCHES, size.texts, device, tries=2,
    )  # fmt: skip
    with peak_memory(device) as peak:
        study = partial(lesion, chain, tokens, tokens, memory=memory, batch=batch, seed=seed)
        study()
    peak_bytes = peak()
    calls: dict[str, Callable[[], Any]] = {
        f"plain loop with hooks, batch {best} (its best)": partial(every_loss, model, tokens, best),
        "study": study,
    }
    times, outputs = in_turn(calls, rounds, device)
    (plain, engine), (wanted, found) = times.values(), outputs.values()
    apart = float(np.abs(found.table["loss"].to_numpy(float) / wanted - 1).max())
    remarks = [
        ratio("study against the plain loop", plain, engine),
        f"peak memory of the study: {size_said(peak_bytes)}",
        f"losses differ by {apart:.2g} of their size at most",
    ]
    what = f"every single deletion of {size.layers} layers, {len(chain)} blocks"
    return Comparison(list(times.items()), remarks, apart <= NEAR, what)


def every_loss(model: Any, tokens: Tensor, batch: int) -> np.ndarray:
    """The mean loss of the whole model, then without each block, by hooks."""
    blocks = len(ENDS) * model.config.n_layer
    return np.array([plain_loss(model, tokens, block, batch) for block in range(blocks + 1)])


@torch.inference_mode()
def plain_loss(model: nn.Module, tokens: Tensor, block: int, batch: int) -> float:
    """The mean loss over texts, as the model itself gives it of labels, with the branch of a block
    (from 1; 0 for none) zeroed."""
    place = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=place)
    with _zeroed(model, block):
        for part in tokens.to(place).split(batch):
            total += len(part) * model(input_ids=part, labels=part, use_cache=False).loss
    return float(total) / len(tokens)


@contextmanager
def _zeroed(model: nn.Module, block: int) -> Iterator[None]:
    if not block:
        yield
        return
    layer, side = divmod(block - 1, len(ENDS))
    module = model.get_submodule(f"transformer.h.{layer}.{ENDS[side]}")
    handle = module.register_forward_hook(lambda _m, _given, made: torch.zeros_like(made))
    try:
        yield
    finally:
        handle.remove()
