"""Transposed Jacobians of a traced module, for many cotangents at once.

`Linearizer(module)` prepares a module once; called on a batch it gives the output and a `Pullback`,
which sends stacks of cotangents `[k, n, …]` back through the module as it stood at that batch:
activation masks, batch norm statistics and pooling winners are frozen.  No autograd graph, and the
forward pass is never run again.
"""

from resnet_probe.engine.pullback.linearizer import Linearizer
from resnet_probe.engine.pullback.tape import Pullback

__all__ = ["Linearizer", "Pullback"]
