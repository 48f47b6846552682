"""The explorer in JupyterLab, of ipywidgets."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import ipywidgets as widgets
import pandas as pd

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.errors import ProbeError
from resnet_probe.explorer import page
from resnet_probe.explorer.engine import Explorer
from resnet_probe.explorer.figure import Pictures
from resnet_probe.explorer.outcome import Outcome
from resnet_probe.explorer.switches import PRESETS, Setting, Switches

LABELS = {
    "all on": "All on",
    "random": "Random k off",
    "most important": "Most important k off",
    "short paths": "Keep only k",
}


class ExplorerWidget(widgets.VBox):
    """Buttons for the blocks, presets, and what the network answers; `explorer` is the engine.

    A click on a block that is on gives it the setting of `brush`; any other click turns it on.
    Everything can be done from code: `board.buttons`, `brush`, `factor`, `count`, `seed` and
    `presets` are the widgets, `set` switches the whole network.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.board = Board(explorer.chain, pressed=self._pressed, stage_pressed=self._stage_pressed)
        self._make_tools()
        self.head, self.bars, self.pictures = (widgets.HTML() for _ in range(3))
        self.message = widgets.HTML()
        self.code = widgets.Textarea(
            description="Python",
            layout=widgets.Layout(width="auto", height="132px"),
            style={"description_width": "initial"},
        )
        found = Pictures(explorer.images)
        self._uri = cache(found.uri) if found.there else None
        super().__init__(self._arranged())
        self.add_class("rp-explore")
        self._show()

    @property
    def now(self) -> Outcome:
        return self.explorer.now

    def set(self, **options: Any) -> Outcome:
        """As `Explorer.set`, and shown."""
        self.explorer.set(**options)
        self._show()
        return self.now

    def _make_tools(self) -> None:
        blocks = len(self.explorer.chain)
        wide = {"description_width": "initial"}  # every field has a name of its own
        kinds = ("off", "twice", "scaled") if self.explorer.chain.residual else ("off", "twice")
        self.brush = widgets.ToggleButtons(
            options=kinds, tooltips=["leave the branch out", "run it twice", "times the factor"],
            style=widgets.ToggleButtonsStyle(button_width="68px"),
        )  # fmt: skip
        self.factor = widgets.FloatText(
            0.5, step=0.1, description="factor", style=wide, layout=widgets.Layout(width="104px")
        )
        self.count = widgets.BoundedIntText(
            min(5, blocks), min=0, max=blocks, description="k", style=wide,
            layout=widgets.Layout(width="76px"),
        )  # fmt: skip
        self.seed = widgets.IntText(
            0, description="seed", style=wide, layout=widgets.Layout(width="92px")
        )
        self.presets = {
            name: widgets.Button(
                description=LABELS[name], tooltip=about, layout=widgets.Layout(width="auto")
            )
            for name, about in PRESETS.items()
        }
        for name, button in self.presets.items():
            button.on_click(lambda _, name=name: self._preset(name))
        self.progress = widgets.IntProgress(
            layout=widgets.Layout(display="none", width="420px"),
            style={"description_width": "initial"},
            description="deleting each one once",
        )

    def _arranged(self) -> list[widgets.Widget]:
        row = widgets.Layout(flex_flow="row wrap", align_items="center")
        say = lambda text: widgets.HTML(f'<span class="rp-title">{text}</span>')  # noqa: E731
        half = widgets.Layout(flex="1 1 320px", min_width="0", padding="0 16px 0 0")
        for panel in (self.bars, self.pictures):
            panel.layout = half
        brush = widgets.Box(
            [say(f"A click turns a {self.explorer.chain.unit}&nbsp;"), self.brush, self.factor],
            layout=row,
        )
        presets = widgets.Box([self.count, *self.presets.values(), self.seed], layout=row)
        inside = widgets.VBox([self.code, widgets.HTML(page.COPY)])
        inside.add_class("rp-code")
        code = widgets.Accordion([inside], titles=("This state as code",), selected_index=None)
        both = widgets.Box([self.bars, self.pictures], layout=widgets.Layout(flex_flow="row wrap"))
        return [
            widgets.HTML(page.STYLE), self.head, self.message, brush, presets, self.progress,
            self.board, both, code,
        ]  # fmt: skip

    def _pressed(self, number: int) -> None:
        setting: Setting = "on"
        if self.explorer.switches.settings[number - 1] == "on":
            setting = self.factor.value if self.brush.value == "scaled" else self.brush.value
        self._try(lambda: self.explorer.switch(number, setting))

    def _stage_pressed(self, numbers: Sequence[int], setting: Setting) -> None:
        settings = list(self.explorer.switches.settings)
        for number in numbers:
            settings[number - 1] = setting
        self._try(lambda: self.explorer.turn(Switches(tuple(settings))))

    def _preset(self, name: str) -> None:
        self._try(
            lambda: self.explorer.preset(
                name, self.count.value, seed=self.seed.value, progress=self._advance
            )
        )
        self.progress.layout.display = "none"
        if self.explorer.ranked:
            self.board.tell(self.explorer.singles())

    def _advance(self, done: int, total: int) -> None:
        if done == total or done >= self.progress.value + total // 100:
            self.progress.max, self.progress.value = total, done
            self.progress.layout.display = None

    def _try(self, act: Callable[[], object]) -> None:
        self.message.value = ""
        try:
            act()
        except ProbeError as error:
            text = html.escape(str(error))
            self.message.value = f'<div class="rp-message" role="alert">{text}</div>'
        self._show()

    def _show(self) -> None:
        now = self.now
        self.board.show(now.switches)
        self.head.value = page.headline(now, self.explorer.chain.unit)
        self.bars.value = page.bars(now)
        if self._uri is not None:
            self.pictures.value = page.pictures(now, self.explorer.class_names, self._uri)
        self.code.value = self.explorer.code


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
            button.add_class(f"rp-{block.shortcut_kind.split()[0]}")
            button.on_click(lambda _, number=block.number: pressed(number))
        self.groups: dict[tuple[int, str], widgets.Button] = {}
        super().__init__(
            [self._stage(numbers, stage_pressed) for numbers in chain.stages],
            layout=widgets.Layout(flex_flow="row wrap"),
        )

    def show(self, switches: Switches) -> None:
        """Bring the buttons up to date; only those that differ are touched."""
        for place, setting in enumerate(switches.settings):
            if setting != self.shown[place]:
                self.shown[place] = setting
                button, kind = self.buttons[place], _kind(setting)
                button.description = f"{place + 1}{_mark(setting)}"
                shortcut = button._dom_classes[1]
                more = [f"rp-{kind}"] if kind != "on" else []
                button._dom_classes = ("rp-block", shortcut, *more)

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
        line.add_class("rp-line")
        top = widgets.HBox([title, *both], layout=widgets.Layout(align_items="center"))
        apart = widgets.Layout(margin="0 24px 0 0")  # stages that fit stand side by side
        return widgets.VBox([top, line], layout=apart)


def _about(block: ResidualBlock) -> str:
    return f"{block.name}: {block.shortcut_kind} shortcut"


def _kind(setting: Setting) -> str:
    return setting if isinstance(setting, str) else "scaled"


def _mark(setting: Setting) -> str:
    if isinstance(setting, str):
        return "×2" if setting == "twice" else ""
    return "×" + f"{setting:.2g}".replace("0.", ".", 1)
