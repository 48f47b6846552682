"""Texts as rows of tokens: from a file and a tokenizer, or from batches by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_probe.data.files import said, text_of
from resnet_probe.data.image_set import ImageSet, check_limit
from resnet_probe.engine.task import IGNORED
from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs

IDS, MASK, LABELS = "input_ids", "attention_mask", "labels"
Tokenizer = Callable[..., Any]
"""From a text to its tokens, whole numbers: of transformers, or any function."""


def load_text(path: Path, tokenizer: Tokenizer, context: int, limit: int | None) -> ImageSet:
    """The text of a file in rows of `context` tokens; what is left at its end is left out.

    The labels are the tokens: each is to be predicted from those before it in its row.

    Raises `ProbeError` for a file that is no text, a tokenizer that gives no whole numbers, and a
    text shorter than one row.
    """
    check_limit(limit)
    if context < 2:
        raise ProbeError(f"context={context}: a row needs at least 2 tokens to predict one")
    ids = tokens_of(text_of(path, what="a text"), tokenizer)
    rows = len(ids) // context
    if not rows:
        raise ProbeError(
            f"{path} has {len(ids):,} tokens, and a row of context={context} needs as many"
        )
    tokens = ids[: rows * context].view(rows, context)
    note = f"{len(ids):,} tokens in rows of {context}"
    return ImageSet(f"text:{path}", "", tokens, tokens, (), note).take(limit)


def tokens_of(text: str, tokenizer: Tokenizer) -> Tensor:
    """The tokens of a text, int64 `[tokens]`, without any that a tokenizer puts at its ends."""
    try:
        if hasattr(tokenizer, "add_special_tokens"):  # of transformers
            found = tokenizer(text, add_special_tokens=False, verbose=False)[IDS]
        else:
            found = tokenizer(text)
        ids = torch.as_tensor(found)
    except Exception as error:  # whatever a user's tokenizer raises
        raise ProbeError(f"the tokenizer fails on the text ({said(error)})") from error
    if ids.dim() != 1 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ProbeError(
            f"the tokenizer gives {ids.dtype} of shape {tuple(ids.shape)}: expected whole numbers, "
            "one a token"
        )
    return ids.to(torch.int64)


def inputs_and_labels(batch: Mapping[str, Any]) -> tuple[Inputs, Tensor]:
    """Of a batch by name its tensors, and its labels: those called so, else its tokens.

    What the mask leaves out has the label that counts for nothing.  Raises `ProbeError` for a batch
    without tokens and labels.
    """
    parts = {
        str(key): torch.as_tensor(value)
        for key, value in batch.items()
        if isinstance(value, Tensor | list) or hasattr(value, "__array__")
    }
    labels = parts.pop(LABELS, None)
    if not parts or (labels is None and IDS not in parts):
        raise ProbeError(
            f"a batch of the given data is a dictionary of {', '.join(map(str, batch))}: expected "
            f"images with their labels, or {IDS} and what else the network takes"
        )
    if labels is None:
        labels = parts[IDS]
        labels = labels.masked_fill(parts[MASK] == 0, IGNORED) if MASK in parts else labels
    if len({len(part) for part in (*parts.values(), labels)}) > 1:
        sizes = ", ".join(f"{key} {tuple(part.shape)}" for key, part in parts.items())
        raise ProbeError(f"the tensors of a batch have different lengths: {sizes}, labels "
                         f"{tuple(labels.shape)}")  # fmt: skip
    return Inputs(parts), labels
