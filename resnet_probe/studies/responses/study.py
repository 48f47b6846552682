"""`responses`: what every weight layer and every residual branch of a network gives."""

from __future__ import annotations

import time

from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import DEFAULT_MEMORY
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.sweep import Progress
from resnet_probe.results import Result
from resnet_probe.studies.checks import check_spread, check_weights
from resnet_probe.studies.lesion import check_data
from resnet_probe.studies.responses.collect import Collector
from resnet_probe.studies.responses.passes import Passes
from resnet_probe.studies.responses.table import tabulate

STUDY = "responses"


def responses(
    chain: ResidualChain,
    images: Images,
    labels: Tensor,
    *,
    batch: int | None = None,
    memory: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> Result:
    """The responses of a network on `images` `[n, …]` with `labels` `[n]`, in one pass.

    The table is in long form: `COLUMNS` says what its columns hold, `QUANTITIES` what is measured,
    in which unit, and after whom.  A quantity that is not defined (no two terms to compare, a
    length or variance of 0) is NaN.  `batch` and `memory` (bytes) bound what goes through at once;
    the result does not depend on either but for rounding in the forward pass.

    Raises `ProbeError` for one image alone, labels outside the head's classes, images of another
    shape than the chain's, weights that are not finite (by name), and a budget too small.
    """
    began = time.perf_counter()
    check_data(chain, images, labels)
    check_spread(images, STUDY)
    check_weights(chain)
    passes = Passes(chain)
    with full_precision(chain.device):
        size = passes.batch_for(images, labels, asked=batch, memory=memory)
        found = Collector(chain, len(passes.layers), len(images))
        for start in range(0, len(images), size):
            stop = min(start + size, len(images))
            found.add(passes(images[start:stop], labels[start:stop], start))
            if progress is not None:
                progress(stop, len(images))
    table = tabulate(chain, passes.layers, found, images=len(images))
    identity = {"study": STUDY, "arch": chain.name, "images": len(images)}
    facts = {
        "blocks": len(chain),
        "residual": chain.residual,
        "seconds": time.perf_counter() - began,
    }
    return Result(STUDY, table, {"identity": identity, **facts})
