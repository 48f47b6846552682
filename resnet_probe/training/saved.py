"""The state of an unfinished training run in a file, from which it goes on bit for bit."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from resnet_probe.errors import ProbeError

PARTS = {"model", "optimizer", "generator", "starting", "history", "options"}


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Replace ``path`` by this state, in one step: an interruption leaves the old file or the new.

    Raises ProbeError if it cannot be written.
    """
    beside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(state), beside)
        os.replace(beside, path)  # noqa: PTH105
    except (OSError, RuntimeError) as error:  # torch reports a refused write as RuntimeError
        with suppress(OSError):
            beside.unlink()  # half a state is of no use, and takes the room of others
        raise ProbeError(f"the checkpoint {path} cannot be written ({error})") from error


def read(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The state in ``path``, whose run must have been started with the same options.

    Raises ProbeError if the file is damaged, is no training checkpoint, or was written by a run
    with other options (naming them).
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, LookupError, pickle.UnpicklingError) as error:
        raise ProbeError(f"the checkpoint {path} is damaged: remove it to start again") from error
    if not isinstance(state, dict) or not set(state) >= PARTS:
        raise ProbeError(f"{path} is not a checkpoint of a training run: remove it to start again")
    found = state["options"]
    other = [
        f"{name} {found.get(name)}, not {value}"
        for name, value in options.items()
        if found.get(name) != value
    ]
    if other:
        raise ProbeError(
            f"the checkpoint {path} cannot be resumed: it was made with {'; '.join(other)}"
        )
    return state


def refuse_existing(path: Path) -> None:
    """Raise ProbeError rather than write over the checkpoint of another run."""
    if path.exists():
        raise ProbeError(f"{path} holds an earlier training run: resume it, or remove it first")
