"""Images as a person sees them, from the normalised tensors that a network sees."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from torch import Tensor


class Pictures:
    """Each channel stretched from its least value over all images to its largest.

    For images normalised by one mean and deviation a channel that undoes the normalisation, up to
    the range that the images use. `there` is False for tensors that are no images.
    """

    def __init__(self, images: Tensor) -> None:
        self.there = images.dim() == 4
        self.images = images
        if self.there:
            self.low = images.amin((0, 2, 3), keepdim=True)[0]
            spread = images.amax((0, 2, 3), keepdim=True)[0] - self.low
            self.spread = spread.where(spread > 0, spread.new_ones(()))

    def array(self, index: int) -> np.ndarray:
        """uint8 `[height, width, 3]`; of other than three channels their mean, in grey."""
        image = (self.images[index] - self.low) / self.spread
        if len(image) != 3:
            image = image.mean(0, keepdim=True).expand(3, -1, -1)
        return (255 * image).round().byte().permute(1, 2, 0).cpu().numpy()

    def uri(self, index: int) -> str:
        """The same as a PNG in a data URI."""
        file = io.BytesIO()
        Image.fromarray(self.array(index)).save(file, "png")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
