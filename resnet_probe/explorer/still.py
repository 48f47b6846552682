"""What is shown where there are no widgets."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_probe.explorer.engine import Explorer

ADVICE = (
    "To click on the blocks, install the widgets: pip install 'resnet-probe[notebook]', "
    "then run this cell in JupyterLab."
)


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
