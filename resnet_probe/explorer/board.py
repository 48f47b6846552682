"""The switches: a button a block, grouped by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as widgets
import pandas as pd

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.explorer.switches import Setting, Switches


class Board(widgets.VBox):
    """Shows `Switches`; tells `pressed` which blocks were clicked, and `None` or on/off for all.

    `buttons[b − 1]` is the button of block b; `groups` maps (stage, "on" or "off") to the button
    that switches a whole stage.
    """

    def __init__(
        self,
        chain: ResidualChain,
        *,
        pressed: Callable[[int], None],
        stage_pressed: Callable[[Sequence[int], Setting], None],
    ) -> None:
        self.chain = chain
        self.shown: list[Setting] = ["on"] * len(chain)
        layout, look = widgets.Layout(), widgets.ButtonStyle()
        self.buttons = [
            widgets.Button(
                description=str(block.number), tooltip=_about(block), layout=layout, style=look
            )
            for block in chain
        ]
        for block, button in zip(chain, self.buttons, strict=True):
            button.add_class("rp-block")
            button.on_click(lambda _, number=block.number: pressed(number))
        self.groups: dict[tuple[int, str], widgets.Button] = {}
        super().__init__([self._stage(numbers, stage_pressed) for numbers in chain.stages])

    def show(self, switches: Switches) -> None:
        """Bring the buttons up to date; only those that differ are touched."""
        for place, setting in enumerate(switches.settings):
            if setting != self.shown[place]:
                self.shown[place] = setting
                button, kind = self.buttons[place], _kind(setting)
                button.description = f"{place + 1}{_mark(setting)}"
                button._dom_classes = ("rp-block", *([f"rp-{kind}"] if kind != "on" else []))

    def tell(self, singles: pd.DataFrame) -> None:
        """Add to the tooltips what deleting each single block costs, in points of error."""
        costs = dict(zip(singles["block"], singles["delta_pct"], strict=True))
        for block, button in zip(self.chain, self.buttons, strict=True):
            cost = costs[block.number]
            button.tooltip = f"{_about(block)}; deleted alone: {cost:+.1f} points of error"

    def _stage(
        self, numbers: Sequence[int], stage_pressed: Callable[[Sequence[int], Setting], None]
    ) -> widgets.VBox:
        stage = self.chain.block(numbers[0]).stage
        shape = "×".join(map(str, self.chain.block(numbers[-1]).out_shape))
        title = widgets.HTML(f'<span class="rp-title">stage {stage} · {shape}</span>')
        both = []
        for setting in ("on", "off"):
            button = widgets.Button(
                description=f"all {setting}",
                tooltip=f"switch stage {stage} {setting}",
                layout=widgets.Layout(width="auto", height="auto"),
            )
            button.add_class("rp-small")
            button.on_click(lambda _, s=setting: stage_pressed(numbers, s))
            self.groups[stage, setting] = button
            both.append(button)
        line = widgets.Box(
            [self.buttons[number - 1] for number in numbers],
            layout=widgets.Layout(flex_flow="row wrap"),
        )
        top = widgets.HBox([title, *both], layout=widgets.Layout(align_items="center"))
        return widgets.VBox([top, line])


def _about(block: ResidualBlock) -> str:
    return f"{block.name}: {block.shortcut_kind} shortcut"


def _kind(setting: Setting) -> str:
    return setting if isinstance(setting, str) else "scaled"


def _mark(setting: Setting) -> str:
    if isinstance(setting, str):
        return "×2" if setting == "twice" else ""
    return "×" + f"{setting:.2g}".replace("0.", ".", 1)
