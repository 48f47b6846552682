"""From names and options to a chain, its images and their labels."""

from resnet_probe.loading.prepared import (
    Network,
    Prepared,
    architecture,
    cut,
    example_for,
    find_device,
    hash_of,
    load_network,
    prepare,
    remarks,
)

__all__ = [
    "Network",
    "Prepared",
    "architecture",
    "cut",
    "example_for",
    "find_device",
    "hash_of",
    "load_network",
    "prepare",
    "remarks",
]
