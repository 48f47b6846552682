"""Networks of other libraries by name: `efficientnet_b0`, `torchvision:vgg16`, `timm:resnet26d`."""

from __future__ import annotations

import difflib
from functools import partial

from resnet_probe.errors import ProbeError
from resnet_probe.models import from_timm, pretrained
from resnet_probe.models.architecture import Architecture

LIBRARIES = ("torchvision", "timm")


def is_library(spec: str) -> bool:
    """Whether `spec` names a library and, behind a colon, a network of its own."""
    return spec.partition(":")[0] in LIBRARIES and ":" in spec


def library_architecture(spec: str) -> Architecture | None:
    """The network of torchvision or timm that `spec` names; None for a plain name of neither.

    A name without its library is torchvision's.  `residual` says that its blocks are looked for;
    a plain network is cut into its layers.

    Raises ProbeError for a name that the library does not have, with the nearest.
    """
    library, _, name = spec.rpartition(":")
    if library not in ("", *LIBRARIES):
        return None
    if library == "timm":
        shape, classes = from_timm.known(name)
        make = partial(from_timm.network, name=name)
        return Architecture(spec, "timm", shape, classes, residual=True, make=make)
    names = pretrained.all_names()
    if name not in names:
        if not library:
            return None
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ProbeError(f"torchvision has no classification network {name!r}{hint}")
    shape = pretrained.input_shape(name)
    made = partial(pretrained.network, name=name)
    return Architecture(spec, "torchvision", shape, 1000, residual=True, make=made)
