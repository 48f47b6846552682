"""From a model to a chain, with a proof.

`chain_of` cuts a residual network at its additions; `layers_of` cuts a plain one at its layers.
Both work on the torch.fx graph of a copy that shares the model's tensors, and neither changes
anything of the model itself.
"""

from resnet_probe.discover.layers import layers_of
from resnet_probe.discover.residual import chain_of

__all__ = ["chain_of", "layers_of"]
