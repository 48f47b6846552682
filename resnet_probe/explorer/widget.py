"""The explorer in JupyterLab, of ipywidgets."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import ipywidgets as widgets

from resnet_probe.errors import ProbeError
from resnet_probe.explorer import page
from resnet_probe.explorer.board import Board
from resnet_probe.explorer.engine import Explorer
from resnet_probe.explorer.outcome import Outcome
from resnet_probe.explorer.pictures import Pictures
from resnet_probe.explorer.presets import PRESETS
from resnet_probe.explorer.switches import Setting, Switches

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
        self.code = widgets.Textarea(layout=widgets.Layout(width="auto", height="130px"))
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
        small = widgets.Layout(width="64px")
        kinds = ("off", "twice", "scaled") if self.explorer.chain.residual else ("off", "twice")
        self.brush = widgets.ToggleButtons(
            options=kinds, tooltips=["leave the branch out", "run it twice", "times the factor"],
            style=widgets.ToggleButtonsStyle(button_width="68px"),
        )  # fmt: skip
        self.factor = widgets.FloatText(0.5, step=0.1, layout=small)
        self.count = widgets.BoundedIntText(min(5, blocks), min=0, max=blocks, layout=small)
        self.seed = widgets.IntText(0, layout=small)
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
            [say(f"A click turns a {self.explorer.chain.unit}&nbsp;"), self.brush,
             say("&nbsp;by&nbsp;"), self.factor], layout=row,
        )  # fmt: skip
        presets = widgets.Box(
            [
                say("k&nbsp;"),
                self.count,
                *self.presets.values(),
                say("&nbsp;seed&nbsp;"),
                self.seed,
            ],
            layout=row,
        )
        code = widgets.Accordion([self.code], titles=("Copy as code",), selected_index=None)
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
