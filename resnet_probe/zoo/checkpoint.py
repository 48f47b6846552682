"""Weights from a file, other projects' files among them, and whether they fit a network.

Published checkpoints are pickles, wrapped in dictionaries and prefixed by the wrapper they were
trained in. Loaded carelessly they run code, or load in part and leave a network that guesses.
Here a pickle may hold tensors and nothing else, and a load is complete or refused.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from resnet_probe.errors import ProbeError
from resnet_probe.zoo.fitting import difference, fits

PICKLES = (".th", ".pt", ".pth")
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "_orig_mod.", "model.")


def read(path: str | Path) -> dict[str, Tensor]:
    """The named tensors in a ``.safetensors``, ``.th``, ``.pt`` or ``.pth`` file, on the CPU.

    Looks inside the entries ``state_dict``, ``model_state_dict``, ``model`` and ``net``, and
    strips the prefixes ``module.``, ``_orig_mod.`` and ``model.`` where all names carry them.
    Raises ProbeError for a file that is missing, empty, truncated, of another kind, that asks to
    run code, or whose numbers are not all finite.
    """
    path = Path(path)
    if not path.is_file():
        raise ProbeError(f"there is no file {path} to read weights from")
    if path.stat().st_size == 0:
        raise ProbeError(f"{path} is empty")
    if path.suffix == ".safetensors":
        found: Any = read_safetensors(path)
    elif path.suffix in PICKLES:
        found = read_pickle(path)
    else:
        allowed = ", ".join((".safetensors", *PICKLES))
        raise ProbeError(f"{path} is not a file of weights: expected one ending in {allowed}")
    state = stripped(table_of_tensors(found, path))
    for key, value in state.items():
        if not value.isfinite().all():
            raise ProbeError(f"{key} in {path} is not finite: the training had diverged")
    return state


def load_into(model: nn.Module, state: Mapping[str, Tensor], *, arch: str, path: Any) -> None:
    """Copy all of ``state`` into ``model``, whose architecture is called ``arch``.

    Nothing is copied unless every name and shape agrees; batch norm's counters of batches, which
    older files lack and inference ignores, are left out of the comparison. Raises ProbeError
    with the first names that differ and the architectures that ``path`` does fit.
    """
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    differs = difference(expected, found)
    if differs:
        names = " or ".join(str(fit) for fit in fits(state)) or "no architecture known here"
        raise ProbeError(f"{path} does not fit {arch}: {differs}; its shapes fit {names}")
    # Of absent counters, and only of those, batch norm keeps its own.
    model.load_state_dict({key: value for key, value in state.items() if key in expected})


def identify(state: Mapping[str, Tensor]) -> list[str]:
    """The architectures, by name, whose tensors have these names and shapes.

    The number of classes may be any. Several can fit: a plain network has the parameters of the
    residual one whose shortcuts have none.
    """
    return [fit.arch for fit in fits(state)]


def classes_of(state: Mapping[str, Tensor], arch: str) -> int | None:
    """How many classes the head in ``state`` has if it fits ``arch``, else None."""
    return next((fit.classes for fit in fits(state, [arch])), None)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ProbeError(f"{path} is truncated or not a safetensors file ({error})") from error


def read_pickle(path: Path) -> Any:
    """What a pickle holds, if that is tensors, numbers, strings and containers of them."""
    try:
        with warnings.catch_warnings():
            # A file in another pickle protocol is refused below; a warning would add nothing.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL:? ([\w.]+)", str(error))
        what = f"asks to run {asked[1]}" if asked else "holds more than tensors"
        raise ProbeError(
            f"{path} {what}, and a pickle that may run code is refused: "
            "have its tensors saved again, as .safetensors for example"
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise ProbeError(f"{path} is truncated, or not a file that torch.save wrote") from error


def table_of_tensors(found: Any, path: Path) -> dict[str, Tensor]:
    """The dictionary of tensors in what was read, below its wrappers."""
    while isinstance(found, Mapping):
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, Mapping) or not found:
        raise ProbeError(f"{path} holds no named tensors but {type(found).__name__}")
    for key, value in found.items():
        if not isinstance(value, Tensor):
            raise ProbeError(
                f"{path} holds no table of named tensors: {key!r} is a {type(value).__name__}, "
                f"and there is no entry {', '.join(WRAPPERS)}"
            )
    return {str(key): value for key, value in found.items()}


def stripped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without the prefixes of the wrappers that all names carry."""
    for prefix in PREFIXES * 2:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
