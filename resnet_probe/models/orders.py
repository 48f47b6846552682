"""Activation orders: where batch norms and ReLUs stand (He et al. 2016, arXiv 1603.05027, fig. 4).

An order is five short programs of layer kinds, so that one class of block stands for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from resnet_probe.models.parts import Steps

BN_RELU: Steps = ("bn", "relu")


@dataclass(frozen=True)
class Order:
    """Where batch norms ("bn") and ReLUs ("relu") stand, in a block and at both ends of a network.

    `before` the first convolution of a branch, `between` two of them, `behind` the last one, and
    `after` the addition; `opening` behind the stem's convolution, `closing` before the pooling.
    """

    before: Steps = ()
    between: Steps = BN_RELU
    behind: Steps = ()
    after: Steps = ()
    opening: Steps = ()
    closing: Steps = ()


ORDERS = {
    # (a) convolution, batch norm, ReLU; the second ReLU behind the addition.
    "original": Order(behind=("bn",), after=("relu",), opening=BN_RELU),
    # (b) the second batch norm behind the addition too: it stands in the way of the shortcut.
    "bn_after": Order(after=BN_RELU, opening=BN_RELU),
    # (c) both ReLUs in the branch, which can then only add.
    "relu_before": Order(behind=BN_RELU, opening=BN_RELU),
    # (d) ReLU, convolution, batch norm; the network's last ReLU before the pooling.
    "relu_only": Order(before=("relu",), behind=("bn",), opening=("bn",), closing=("relu",)),
    # (e) batch norm, ReLU, convolution.
    "preact": Order(before=BN_RELU, closing=BN_RELU),
}

# Convolutions with biases and ReLUs, no batch norm (Srivastava et al. 2015, arXiv 1505.00387).
UNNORMALIZED = Order(between=("relu",), behind=("relu",), opening=("relu",))
