"""The parameter-free shortcut of He et al. 2015, section 3.3, option A."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class OptionA(nn.Module):
    """Subsample by `stride`, then pad the channels with zeros, half before and half after.

    Maps `[n, channels_in, h, w]` to `[n, channels_out, ⌈h/stride⌉, ⌈w/stride⌉]`.  The paper leaves
    the place of the new channels open; this is the one that published CIFAR weights were trained
    with.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        new = channels_out - channels_in
        if new < 0:
            raise ValueError(f"option A cannot drop channels ({channels_in} to {channels_out})")
        self.stride = stride
        self.before, self.behind = new // 2, new - new // 2

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, :, :: self.stride, :: self.stride]
        return F.pad(kept, (0, 0, 0, 0, self.before, self.behind))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, padding=({self.before}, {self.behind})"
