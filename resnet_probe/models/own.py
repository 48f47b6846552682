"""Your own network as an architecture: `mypkg.nets:build@3x224x224`, `./nets.py:build@3x32x32`."""

from __future__ import annotations

import os
import random
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from resnet_probe.errors import ProbeError
from resnet_probe.models import registry
from resnet_probe.models.architecture import Architecture

SPEC = re.compile(
    r"(?P<module>[A-Za-z_][\w.]*|[^:@]+\.py):(?P<name>[A-Za-z_]\w*)"
    r"(@(?P<shape>\d{1,7}x\d{1,7}x\d{1,7}))?(@(?P<output>[\w.]+))?"
)

TEXT = "__text__"
"""Under which a module keeps the text that it was made from."""


def is_own(spec: str) -> bool:
    """Whether `spec` names a callable in a module rather than an architecture of the table."""
    match = SPEC.fullmatch(spec)
    known = (*registry.names(), *registry.LIBRARIES)
    return match is not None and match["module"] not in known


def own_architecture(spec: str) -> Architecture:
    """The architecture that a callable without arguments builds, or a module class.

    `spec` is `module:callable@CxHxW`, the module found as Python finds it from the current folder,
    or a path to its file; `@output` behind it names the logits, by place or key, where the network
    returns more than them. The number of classes is the network's own, so `build` leaves the one it
    is given aside. Whatever your code does to the process while it is imported and builds (folder,
    random numbers, default type, warning filters) is undone, and what it prints goes to standard
    error.

    Raises `ProbeError` if there is no such module or callable, if it fails or exits, or the image
    shape is missing.
    """
    match = SPEC.fullmatch(spec)
    if match is None:
        raise ProbeError(f"{spec!r} names no network: write module:callable, as mypkg.nets:build")
    if match["shape"] is None:
        raise ProbeError(f"{spec} does not say what its images are: give input=CxHxW")
    build = _callable(match["module"], match["name"])

    def make(*, classes: int) -> nn.Module:
        with _contained(f"{match['module']}:{match['name']}"):
            model = build()
        if not isinstance(model, nn.Module):
            raise ProbeError(f"{spec} gives a {type(model).__name__}, not a torch.nn.Module")
        return model

    channels, height, width = (int(side) for side in match["shape"].split("x"))
    return Architecture(
        spec=spec,
        family="own",
        input_shape=(channels, height, width),
        classes=1,
        residual=True,
        make=make,
        output=match["output"],
    )


def _callable(module: str, name: str) -> Any:
    file = Path(module).expanduser() if module.endswith(".py") else None
    if file is not None and not file.is_file():
        raise ProbeError(f"there is no file {file} to build a network from")
    here = str(Path.cwd() if file is None else file.resolve().parent)
    added = here not in sys.path and (file is not None or "" not in sys.path)
    sys.path.extend([here] if added else [])
    try:
        with _contained(module), torch.random.fork_rng(devices=[]):
            found = getattr(import_module(module) if file is None else _of_file(file), name, None)
    finally:
        if added:
            sys.path.remove(here)
    if not callable(found):
        raise ProbeError(f"{module} has no callable {name!r} that builds a network")
    return found


def _of_file(file: Path) -> Any:
    """The module in a file as it stands there now, under a name that no other module has."""
    name, place = f"_own_{file.stem}", str(file.resolve())
    text, known = file.read_bytes(), sys.modules.get(name)
    if known is not None and (known.__file__, vars(known).get(TEXT)) == (place, text):
        return known
    spec = spec_from_file_location(name, place)
    assert spec is not None and isinstance(spec.loader, SourceLoader)  # it ends in .py
    module = sys.modules[name] = module_from_spec(spec)
    vars(module)[TEXT] = text
    try:
        exec(spec.loader.source_to_code(text, place), vars(module))  # never from a .pyc
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _contained(what: str) -> Iterator[None]:
    """The user's code runs inside: the process is left as it was, and every end is a sentence."""
    folder, dtype, grad = Path.cwd(), torch.get_default_dtype(), torch.is_grad_enabled()
    place = torch.get_default_device()
    numbers, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            yield
    except ProbeError:
        raise
    except ImportError as error:
        raise ProbeError(f"{what} cannot be imported: {error}") from error
    except SystemExit as end:
        raise ProbeError(
            f"{what} ends Python by sys.exit({end.code!r}) and gives no network"
        ) from end
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [""]
        raise ProbeError(f"{what} fails with {type(error).__name__} ({reason[0]})") from error
    finally:
        os.chdir(folder)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != place:
            torch.set_default_device(place)
        torch.set_grad_enabled(grad)
        random.setstate(numbers)
        np.random.set_state(arrays)  # noqa: NPY002
