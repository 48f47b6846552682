"""From the options of a command to a chain and its images."""

from __future__ import annotations

from argparse import Namespace

from resnet_probe.loading import Prepared
from resnet_probe.loading import prepare as prepare_by_name


def prepare(options: Namespace) -> Prepared:
    """What `add_network`, `add_data` and `add_run` of `cli.options` ask for."""
    return prepare_by_name(
        options.arch,
        weights=options.weights,
        data=options.data,
        data_root=options.data_root,
        normalize=options.normalize,
        limit=options.limit,
        where=options.device,
    )
