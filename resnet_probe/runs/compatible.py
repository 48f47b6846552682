"""Which studies can measure a chain, and why not the others, before any data are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_probe.errors import ProbeError
from resnet_probe.runs.catalogue import ROWS
from resnet_probe.studies.study import Subject

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain

EXAMPLES = 4
"""Inputs that a study is asked about, as many as any of them needs."""


class Answer(NamedTuple):
    """A study by name; `reason` is empty where it can run with its usual options."""

    study: str
    reason: str


def answers(chain: ResidualChain, example: Any) -> Sequence[Answer]:
    """What each study says of this chain, on `example` inputs with labels that fit its outputs.

    Nothing is measured: a study only says what it refuses.
    """
    from resnet_probe.studies.checks import fitted

    try:
        subject = Subject(*fitted(chain, _repeated(example), labels_for(chain)))
    except ProbeError as error:
        return [Answer(row.name, str(error)) for row in ROWS]
    found = []
    for row in ROWS:
        try:
            row.study.check(subject)
            row.study.fit(subject, row.study.settings())
        except ProbeError as error:
            found.append(Answer(row.name, str(error)))
        else:
            found.append(Answer(row.name, ""))
    return found


def labels_for(chain: ResidualChain) -> Tensor:
    """Labels of the first class, in the form that the outputs ask for."""
    import torch

    shape = (chain.classes,) if chain.output_shape is None else tuple(chain.output_shape)
    single = len(shape) == 1
    places = () if single else shape[1:] if len(shape) > 2 else shape[:-1]
    return torch.zeros(EXAMPLES, *places, dtype=torch.int64)


def _repeated(example: Any) -> Any:
    """`EXAMPLES` rows of an input, whatever it has."""
    import torch

    if isinstance(example, torch.Tensor):
        return example[:1].repeat(EXAMPLES, *[1] * (example.dim() - 1))
    return example.map(_repeated)
