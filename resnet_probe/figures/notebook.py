"""A result as a notebook shows it: its figure, and the first rows of its table."""

from __future__ import annotations

import base64
import html
import io

from resnet_probe.errors import ProbeError
from resnet_probe.figures import draw
from resnet_probe.results import Result

ROWS = 5
DPI = 120


def html_of(result: Result) -> str:
    """What the result is, its figure as a picture that needs no file, the first rows below.

    Without a figure where there is none for the study.
    """
    name = html.escape(repr(result), quote=True)
    rows = result.table.head(ROWS).to_html(index=False, border=0, float_format="{:.4g}".format)
    return f"<p>{name}</p>{_figure(result, name)}<div style='overflow-x:auto'>{rows}</div>"


def _figure(result: Result, name: str) -> str:
    try:
        figure = draw(result)
    except ProbeError:
        return ""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    picture = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="The figure of {name}" src="data:image/png;base64,{picture}">'
