"""Why no graph could be taken of a forward pass: in the words of the field, with the line."""

from __future__ import annotations

import ast
import linecache
import traceback
from contextlib import suppress
from pathlib import Path

import torch

from resnet_probe.errors import first_line

OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1] / "discover"))
"""Code that is nobody's forward pass."""
REASONS = {  # what a tracer says, and what the network does
    "inputs to control flow": "its forward pass branches on the data",
    "data-dependent expression": "its forward pass branches on the data",
    "_local_scalar_dense": "its forward pass takes a number out of the data",
    "nonzero": "the shapes in its forward pass depend on the data",
    "masked_select": "the shapes in its forward pass depend on the data",
    "unique": "the shapes in its forward pass depend on the data",
    ".numpy()": "its forward pass leaves torch for numpy",
}
INSTEAD = "a chain is the same network for every input, so take this out of forward"


def why(error: BaseException | None) -> str:
    """One sentence: what the forward pass does and where, or else what the tracer says of it."""
    said = first_line(error)
    for words, reason in REASONS.items():
        if error is not None and words in str(error):
            place = _place(error)
            return f"{reason}{f', {place}' if place else ''}; {INSTEAD}"
    return said


def _place(error: BaseException) -> str:
    """`torch.isnan(x).any() (nets.py, line 9)`: the innermost code that is no library's tracer."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if frame.filename.startswith((*OURS, "<")):
            continue
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        return f"{_code(frame)} ({where})" if _code(frame) else where
    return ""


def _code(frame: traceback.FrameSummary) -> str:
    """The expression that was being computed; nothing where the source is not at hand."""
    line = linecache.getline(frame.filename, frame.lineno or 0)
    if frame.lineno != frame.end_lineno or frame.colno is None or frame.end_colno is None:
        return line.strip()
    return _condition(line.encode()[frame.colno : frame.end_colno].decode())


def _condition(code: str) -> str:
    """Of a statement such as an `if` what it asks for, else the code itself."""
    with suppress(SyntaxError):
        asked = getattr(
            ast.parse(code if code[-1:] != ":" else f"{code} pass").body[0], "test", None
        )
        return (asked and ast.get_source_segment(code, asked)) or code
    return code
