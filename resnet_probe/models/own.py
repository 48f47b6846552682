"""Your own network as an architecture: `mypkg.nets:build@3x224x224`."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from resnet_probe.errors import ProbeError
from resnet_probe.models import registry
from resnet_probe.models.architecture import Architecture

SPEC = re.compile(
    r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)"
    r"(@(?P<shape>\d+x\d+x\d+))?(@(?P<output>[\w.]+))?"
)


def is_own(spec: str) -> bool:
    """Whether `spec` names a callable in a module rather than an architecture of the table."""
    match = SPEC.fullmatch(spec)
    known = (*registry.names(), *registry.LIBRARIES)
    return match is not None and match["module"] not in known


def own_architecture(spec: str) -> Architecture:
    """The architecture that a callable without arguments builds, or a module class.

    `spec` is `module:callable@CxHxW`, the module found as Python finds it from the current folder;
    `@output` behind it names the logits, by place or key, where the network returns more than them.
    The number of classes is the network's own, so `build` leaves the one it is given aside.

    Raises `ProbeError` if there is no such module or callable, or the image shape is missing.
    """
    match = SPEC.fullmatch(spec)
    if match is None:
        raise ProbeError(f"{spec!r} names no network: write module:callable, as mypkg.nets:build")
    if match["shape"] is None:
        raise ProbeError(f"{spec} does not say what its images are: give input=CxHxW")
    build = _callable(match["module"], match["name"])

    def make(*, classes: int) -> nn.Module:
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
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    sys.path.extend([here] if added else [])
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        raise ProbeError(f"{module}:{name} cannot be imported: {error}") from error
    finally:
        if added:
            sys.path.remove(here)
    if not callable(found):
        raise ProbeError(f"{module} has no callable {name!r} that builds a network")
    return found
