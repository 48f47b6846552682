"""The gradient by path length: exact, over all single paths, and as published.

A residual network of N blocks has 2^N paths.  Three quantities, never to be mixed up: the norm of
the sum over all paths of a length (`exact`), the root mean square norm of its single paths (`all`),
and the mean norm of sampled single paths (`sample`, Veit et al. 2016, section 5).
"""

from resnet_probe.studies.paths.gradients import path_gradients
from resnet_probe.studies.paths.study import paths

__all__ = ["path_gradients", "paths"]
