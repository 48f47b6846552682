"""A family of architectures: one row of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from resnet_probe.models import rules
from resnet_probe.models.options import Option, Value

SMALL = (3, 32, 32)


@dataclass(frozen=True)
class Family:
    """One row: `make` takes the options and `classes` as keywords.

    `presets` are names with the options that they stand for; a family without any is one network
    of its own name. `blocks` counts the blocks that the options make, `check` refuses options that
    do not go together. Where `variant` is set, options off their default make a member of that.
    """

    name: str
    kind: str
    make: Callable[..., nn.Module]
    options: tuple[Option, ...] = ()
    presets: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    residual: bool = True
    input_shape: tuple[int, int, int] = SMALL
    classes: int = 10
    blocks: Callable[[Mapping[str, Any]], int] | None = None
    check: Callable[[str, Mapping[str, Any]], None] = rules.anything
    variant: Family | None = None
