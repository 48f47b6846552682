"""What each option of an architecture is about, in words."""

from __future__ import annotations

ABOUT = {
    "depth": "layers with weights, as the papers count them",
    "widen": "how many times wider than the stem the blocks of the first stage are",
    "order": "where batch norms and ReLUs stand (He et al. 2016, figure 4)",
    "shortcut": "A pads with zeros where the shape changes, B projects there, C everywhere (conv "
    "is another word for it); scaled halves shortcut and branch, gated lets a gate share between "
    "them (…_shortcut: the shortcut alone), dropout has ratio 0.5 (He et al. 2016, table 1)",
    "gate_bias": "the initial bias of gates; negative ones begin near the shortcut",
    "stride": "which convolution of a bottleneck strides: v1 the first 1×1, as in 2015, v1.5 the "
    "3×3, as in torchvision",
    "width": "channels of the stem, of a ResNeXt's groups, or units of a layer",
    "cardinality": "the groups of a 3×3 convolution",
    "side": "pixels to a side that images are averaged to before they are flattened",
    "batch_norm": "whether one stands behind every convolution",
    "dropout": "the share of values dropped inside a branch in training",
    "zero_init": "whether the last batch norm of each branch begins at 0, so that blocks are idle",
    "stochastic_depth": "the probability that the last block's branch is run in training; it falls "
    "linearly from 1 (Huang et al. 2016)",
    "deleted": "blocks that are built without a branch, as a lesion leaves them",
}  # fmt: skip
