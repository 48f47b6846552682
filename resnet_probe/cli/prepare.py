"""From the options of a command to a chain and its images."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared
from resnet_probe.loading import prepare as prepare_by_name


def prepare(options: Namespace) -> Prepared:
    """What `add_network`, `add_data` and `add_run` of `cli.options` ask for."""
    return prepare_by_name(
        options.arch,
        weights=options.weights,
        zoo=options.zoo,
        data=options.data,
        data_root=options.data_root,
        normalize=options.normalize,
        limit=options.limit,
        where=options.device,
        **shape_of(options),
        **files(options),
    )


def shape_of(options: Namespace) -> dict[str, Any]:
    """The shape of an image where `--input` goes with a named architecture."""
    if options.model is not None or options.input is None:
        return {}
    return {"input_shape": tuple(int(side) for side in options.input.split("x"))}


def files(options: Namespace) -> dict[str, Any]:
    """How images in files are read, as `add_files` of `cli.options` asks for it."""
    if options.workers is not None and options.workers < 0:
        raise ProbeError(f"--workers {options.workers}: give 0 (this process alone) or more")
    return {
        name: getattr(options, name) for name in ("preprocess", "class_map", "stream", "workers")
    }
