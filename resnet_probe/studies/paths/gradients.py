"""The gradients themselves, by path length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.memory import DEFAULT_MEMORY
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.spectrum import gradients_by_length
from resnet_probe.studies.checks import check_data
from resnet_probe.studies.paths.passes import Passes
from resnet_probe.studies.paths.request import request
from resnet_probe.studies.study import subject_of


def path_gradients(
    chain: ResidualChain | Any,
    images: Any = None,
    labels: Any = None,
    *,
    max_length: int | None = None,
    tolerance: float = 0.0,
    at: str | int = "input",
    precision: str = "float32",
    batch: int | None = None,
    memory: int = DEFAULT_MEMORY,
) -> Tensor:
    """G[k], the gradient of each image's cross-entropy over all paths of k branches.

    `[lengths, n, *shape]` for images `[n, …]`, on the chain's device; without `max_length` and
    `tolerance` they add up to the gradient that autograd gives.  In the place of the three may
    stand what `prepare` gives.  Options and refusals as in `paths`; `memory` bounds the work, not
    the result.
    """
    chain, images, labels, _ = subject_of(chain, images, labels)
    at = "stem" if at == "input" and chain.of_tokens else at
    asked = request(
        chain, method="exact", max_length=max_length, tolerance=tolerance, at=at,
        precision=precision,
    )  # fmt: skip
    check_data(chain, images, labels)
    found = []
    with torch.no_grad(), full_precision(chain.device):
        passes = Passes.of(chain, images, labels, asked, batch=batch, memory=memory)
        for part in passes.over(0, passes.count):
            whole = tolerance > 0  # what lengths are measured by
            rows = gradients_by_length(
                part.frozen, part.gradient, most=asked.most, total=whole, chunk=part.chunk,
                tolerance=tolerance,
            )  # fmt: skip
            values, scale = rows.values[whole:], rows.scale[whole:]
            size = scale.unsqueeze(1) * part.size
            axes = [1] * (values.dim() - 2)
            found.append(values * size.to(values.dtype).view(*size.shape, *axes))
    return torch.cat(found, dim=1)
