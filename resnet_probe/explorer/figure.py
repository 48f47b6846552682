"""The state of an explorer as one figure: the switches, the classes, the most changed images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle
from PIL import Image
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.explorer.outcome import Outcome
from resnet_probe.figures import marks, style

SHOWN = 8
"""Images."""
CLASSES = 20
"""At most; of more classes those whose accuracy changed most."""
FACES = {"on": style.OURS, "off": "white", "twice": style.TRANSITION, "scaled": style.LIGHT}


def draw(chain: ResidualChain, now: Outcome, images: Tensor, names: Sequence[str]) -> Figure:
    """7 inches wide: what the chain answers `now`; `names` are those of the classes."""
    with style.theme():
        figure = Figure(figsize=(style.WIDTHS[2], 3.6), layout="constrained")
        figure.suptitle(f"{chain.name}: {now.sentence}", x=0.01, ha="left", fontsize=8.5)
        rows: Any = figure.subfigures(2, 1, height_ratios=(1, 2.9))
        top, bottom = rows
        _draw_switches(top.subplots(), chain, now)
        left, right = bottom.subfigures(1, 2, width_ratios=(1.1, 1))
        _draw_classes(left.subplots(), now)
        _draw_images(right, now, Pictures(images), names)
    return figure


def _draw_switches(ax: Axes, chain: ResidualChain, now: Outcome) -> None:
    for block, setting in zip(chain, now.switches.settings, strict=True):
        kind = setting if isinstance(setting, str) else "scaled"
        place = (block.number - 0.42, 0)
        ax.add_patch(Rectangle(place, 0.84, 1, fc=FACES[kind], ec=style.INK, lw=0.6))
        if kind == "off":
            ax.plot([place[0], place[0] + 0.84], [0, 1], color=style.INK, lw=0.6)
    for numbers in chain.stages[1:]:
        ax.axvline(numbers[0] - 0.5, color=style.INK, lw=1.2)
    ax.set_ylim(-0.15, 1.15)
    marks.number(ax, 1, len(chain))
    ax.yaxis.set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.set_xlabel(chain.unit, labelpad=1)
    keys = [Patch(fc=face, ec=style.INK, lw=0.6, label=kind) for kind, face in FACES.items()]
    ax.legend(
        handles=keys, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=6.5,
        borderpad=0.1,
    )  # fmt: skip


def _draw_classes(ax: Axes, now: Outcome) -> None:
    table = now.classes
    change = (table["accuracy_pct"] - table["whole_pct"]).abs()
    table = table.loc[change.nlargest(CLASSES).index.sort_values()]
    x = np.arange(len(table))
    reach = table[["low_pct", "high_pct"]].sub(table["accuracy_pct"], axis=0).abs()
    ax.bar(x, table["accuracy_pct"], width=0.72, color=style.LIGHT, ec=style.OURS, lw=0.6)
    ax.errorbar(
        x, table["accuracy_pct"], reach.to_numpy().T, fmt="none", ecolor=style.OURS, elinewidth=0.7
    )
    ax.hlines(table["whole_pct"], x - 0.42, x + 0.42, color=style.INK, lw=1.4, label="with all on")
    ax.set_xticks(x, table["name"], rotation=0 if len(table) <= 10 else 90)
    ax.set_ylim(0, 104)
    ax.set_ylabel("accuracy (%, 95 % CI)")
    ax.set_xlabel("class")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), fontsize=6.5, borderpad=0.1)


def _draw_images(part: SubFigure, now: Outcome, pictures: Pictures, names: Sequence[str]) -> None:
    if not pictures.there:
        return
    part.suptitle("most changed answers (✗: wrong now)", fontsize=8)
    axes = list(part.subplots(2, SHOWN // 2, squeeze=False).flat)
    rows: list[Any] = list(now.changed.head(SHOWN).itertuples())
    for ax in axes:
        ax.set_axis_off()
    for ax, row in zip(axes, rows, strict=False):
        ax.imshow(pictures.array(row.image), interpolation="nearest")
        changed = row.before != row.after
        text = f"{names[row.before]} → {names[row.after]}" if changed else names[row.after]
        mark = " ✗" if row.after != row.label else ""
        ax.set_title(text + mark, fontsize=7, loc="center", pad=2)


class Pictures:
    """Images as a person sees them, from the normalised tensors that a network sees.

    Each channel is stretched from its least value over all images to its largest.

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
