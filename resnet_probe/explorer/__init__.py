"""Switch the blocks of a network off, twice or to another scale, and watch what it answers.

`Explorer` is the engine, without any display; `explore` shows it in a notebook.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from resnet_probe.chain import ResidualChain
from resnet_probe.explorer.engine import MEMORY, Explorer
from resnet_probe.explorer.outcome import Outcome
from resnet_probe.explorer.switches import Switches

if TYPE_CHECKING:
    from resnet_probe.explorer.widget import ExplorerWidget

__all__ = ["Explorer", "Outcome", "Still", "Switches", "explore"]

ADVICE = (
    "To click on the blocks, install the widgets: pip install 'resnet-probe[notebook]', "
    "then run this cell in JupyterLab."
)


def explore(
    chain: ResidualChain | Any,
    images: Any = None,
    labels: Any = None,
    *,
    off: Iterable[int] = (),
    twice: Iterable[int] = (),
    scaled: Mapping[int, float] | None = None,
    class_names: Sequence[str] | None = None,
    batch: int | None = None,
    memory: int = MEMORY,
    exact: bool = False,
) -> ExplorerWidget | Still:
    """One switch a block, in a notebook; the last expression of a cell shows it.

    `images` `[n, …]` and `labels` `[n]` as for every study: some two hundred answer within a
    blink; in the place of the three may stand what `prepare` gives. `off`, `twice` and `scaled`
    (block to factor) say how the blocks are switched at first; the other options are those of
    `Explorer`, which is the returned object's `explorer`.

    Without ipywidgets (`pip install 'resnet-probe[notebook]'`) the figure of that state is shown.
    Raises `ProbeError` as `Explorer` and `Explorer.set` do.
    """
    explorer = Explorer(
        chain, images, labels, class_names=class_names, batch=batch, memory=memory, exact=exact
    )
    explorer.set(off=off, twice=twice, scaled=scaled)
    if find_spec("ipywidgets") is None:
        return Still(explorer)
    from resnet_probe.explorer.widget import ExplorerWidget

    return ExplorerWidget(explorer)


class Still:
    """The figure of the state that `explorer` is in when it is shown, and how to get the widget."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer

    def __repr__(self) -> str:
        return f"{self.explorer.now!r}\n{ADVICE}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        file = io.BytesIO()
        self.explorer.figure().savefig(file, format="png", dpi=120)
        picture = base64.b64encode(file.getvalue()).decode()
        alt = html.escape(repr(self.explorer.now), quote=True)
        return {
            "text/html": f'<img alt="{alt}" src="data:image/png;base64,{picture}">'
            f"<p>{html.escape(ADVICE)}</p>",
            "text/plain": repr(self),
        }
