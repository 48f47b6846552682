"""The graph of a chain as SVG: blocks in stages, their shortcuts, and where the shape changes.

Drawn from the table of a chain (`ResidualChain.table`), without torch.  Every block is a box with
its branch; its shortcut goes around it to the sum.  Stages begin on a row of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from textwrap import wrap
from typing import NamedTuple

import pandas as pd

from resnet_probe.figures.style import INK

WIDTH, MARGIN = 1000, 24  # pixels
BOX, HEIGHT, GAP = 74, 40, 28  # a box, and the room for the sum behind it
ROW = 112  # from one row of boxes to the next
TEXT, SMALL = 12, 10  # font sizes
GREY = "#5F5F5F"
ROLES = {  # fill and edge; the word is written too, so that colour is not needed
    "convolution": ("#DCEAF7", "#0072B2"),
    "attention": ("#FCE6C4", "#B86E00"),
    "mlp": ("#D9F0E6", "#007A55"),
    "": ("#EEEEEE", "#6A6A6A"),
}
SHORT = {"convolution": "conv", "attention": "attn", "mlp": "mlp", "": "branch"}
SHORTCUTS = {  # colour, width and dashes
    "identity": (INK, 1.3, ""),
    "projection": ("#D55E00", 2.6, ""),
    "parameter-free": ("#0072B2", 1.8, "6 3"),
    "affine": ("#CC79A7", 1.8, "2 2.5"),
}
OTHER = ("#6A3D9A", 1.8, "7 2.5 2 2.5")  # scaled, gated, the stand-ins of plain layers


class Place(NamedTuple):
    """A block of the table and the upper left corner of its box."""

    block: pd.Series
    x: float
    y: float


def chain_graph(
    table: pd.DataFrame,
    *,
    title: str,
    before: str = "",
    behind: str = "",
    notes: Iterable[str] = (),
) -> str:
    """The SVG of a chain, as a text.

    `table` has a row for each block: number, name, role, layer, stage, shortcut, in_shape,
    out_shape, parameters, inner.  `before` and `behind` say what the stem and the head do; `notes`
    are sentences below the drawing.
    """
    y, parts = 74.0, [_text(MARGIN, 34, title, 17, "bold"), _text(MARGIN, 56, before, TEXT)]
    for stage, blocks in table.groupby("stage", sort=False):
        places = _places(blocks, y)
        parts += [_stage(stage, blocks, y), *map(_block, places), *_layers(places)]
        parts += [_turn(a, b) for a, b in pairwise(places) if a.y != b.y]
        y = places[-1].y + HEIGHT + 40
    parts.append(_text(MARGIN, y + 14, behind, TEXT))
    legend, y = _legend(table, y + 44)
    lines = [line for note in notes for line in wrap(note, 150)]
    parts += [*legend, *(_text(MARGIN, y + 17 * i, line, 11) for i, line in enumerate(lines))]
    return _document(parts, y + 17 * len(lines) + 8, title)


def _places(blocks: pd.DataFrame, y: float) -> list[Place]:
    """Boxes from the left to the right, in as many rows as they take; pairs are kept together."""
    a_row = int((WIDTH - 2 * MARGIN - GAP) // (BOX + GAP))
    together = int(blocks["layer"].value_counts().max())
    a_row -= a_row % together if together <= a_row else 0
    return [
        Place(block, MARGIN + GAP + i % a_row * (BOX + GAP), y + 58 + i // a_row * ROW)
        for i, (_, block) in enumerate(blocks.iterrows())
    ]


def _stage(stage: object, blocks: pd.DataFrame, y: float) -> str:
    first, last = blocks.iloc[0], blocks.iloc[-1]
    # The shape of the sums; what follows the last one, to the next stage, is in its `after`.
    inside = blocks["in_shape"].iloc[1] if len(blocks) > 1 else last["out_shape"]
    shape = inside if first["in_shape"] == inside else f"{first['in_shape']} → {inside}"
    if last["out_shape"] != inside:
        shape += f" → {last['out_shape']}"
    count = f"{len(blocks)} block" + ("s" if len(blocks) > 1 else "")
    line = f'<path d="M{MARGIN} {y}H{WIDTH - MARGIN}" stroke="#D0D0D0"/>'
    name = f'<tspan font-weight="bold">stage {stage}</tspan>'
    return line + _text(MARGIN, y + 20, f"{name}   {escape(shape)}   {count}", TEXT, raw=True)


def _block(place: Place) -> str:
    block, x, y = place
    fill, edge = ROLES.get(block["role"], ROLES[""])
    middle, end = y + HEIGHT / 2, x + BOX + GAP / 2
    weights = _count(block["parameters"]) + (f" (+{block['inner']})" if block["inner"] else "")
    return "".join(
        [
            f"<g><title>{escape(_hint(block))}</title>",
            _shortcut(block["shortcut"], x - GAP / 2 + 6, end, middle, y - 13),
            f'<path d="M{x - GAP / 2 + 6} {middle}H{x}M{x + BOX} {middle}H{end - 6}'
            f'M{end + 6} {middle}H{end + GAP / 2 + 1}" stroke="{INK}" fill="none"/>',
            f'<circle cx="{end}" cy="{middle}" r="6" fill="white" stroke="{INK}"/>',
            f'<path d="M{end - 3.5} {middle}h7M{end} {middle - 3.5}v7" stroke="{INK}"/>',
            f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="5" fill="{fill}" '
            f'stroke="{edge}" stroke-width="1.2"/>',
            _text(x + 8, y + 17, str(block["number"]), 13, "bold"),
            _text(x + BOX - 7, y + 17, SHORT.get(block["role"], "branch"), SMALL, anchor="end"),
            _text(x + BOX - 7, y + 32, weights, SMALL, colour=GREY, anchor="end"),
            _text(x + BOX / 2, y + HEIGHT + 13, _fitting(block["name"]), 9, anchor="middle"),
            "</g>",
        ]
    )


def _shortcut(kind: str, start: float, end: float, middle: float, top: float) -> str:
    colour, width, dashes = SHORTCUTS.get(kind, OTHER)
    way = f"M{start} {middle}V{top + 8}Q{start} {top} {start + 8} {top}"
    way += f"H{end - 8}Q{end} {top} {end} {top + 8}V{middle - 6}"
    style = f'stroke="{colour}" stroke-width="{width}" fill="none" stroke-linejoin="round"'
    return f'<path d="{way}" {style}' + (f' stroke-dasharray="{dashes}"' if dashes else "") + "/>"


def _turn(last: Place, first: Place) -> str:
    """The way from the end of one row to the beginning of the next."""
    right, left = last.x + BOX + GAP + 1, first.x - GAP / 2 + 6
    low, y = last.y + HEIGHT + 37, first.y + HEIGHT / 2
    way = f"M{right} {last.y + HEIGHT / 2}V{low}H{left - 10}V{y}H{left}"
    return f'<path d="{way}" stroke="#9A9A9A" fill="none"/>'


def _layers(places: Sequence[Place]) -> Iterable[str]:
    """A bracket under blocks that are one layer, in each row that they lie in."""
    rows: dict[tuple[int, float], list[Place]] = {}
    sizes = pd.Series([place.block["layer"] for place in places]).value_counts()
    for place in places:
        if sizes[place.block["layer"]] > 1:
            rows.setdefault((place.block["layer"], place.y), []).append(place)
    for (layer, y), found in rows.items():
        left, right, low = found[0].x, found[-1].x + BOX, y + HEIGHT + 19
        yield f'<path d="M{left} {low - 3}v3H{right}v-3" stroke="{GREY}" fill="none"/>'
        yield _text((left + right) / 2, low + 11, f"layer {layer}", 9, anchor="middle", colour=GREY)


def _legend(table: pd.DataFrame, y: float) -> tuple[list[str], float]:
    """What the lines and colours mean, as far as they occur; and where the next line begins."""
    parts, x = [_text(MARGIN, y, "shortcut", TEXT, "bold")], MARGIN + 80.0
    for kind in dict.fromkeys(table["shortcut"]):
        colour, width, dashes = SHORTCUTS.get(kind, OTHER)
        parts.append(
            f'<path d="M{x} {y - 4}h34" stroke="{colour}" stroke-width="{width}" '
            f'stroke-dasharray="{dashes or "none"}"/>' + _text(x + 41, y, kind, TEXT)
        )
        x += 70 + 7 * len(kind)
    y += 24
    parts.append(_text(MARGIN, y, "branch", TEXT, "bold"))
    x = MARGIN + 80.0
    for role in dict.fromkeys(table["role"]):
        fill, edge = ROLES.get(role, ROLES[""])
        short = SHORT.get(role, "branch")
        named = {"": "neither", short: short}.get(role, f"{short}: {role}")
        parts.append(
            f'<rect x="{x}" y="{y - 11}" width="34" height="14" rx="3" fill="{fill}" '
            f'stroke="{edge}"/>' + _text(x + 41, y, named, TEXT)
        )
        x += 70 + 7 * len(named)
    y += 24
    what = "in a box: number, branch, weights" + (
        " (+ residual blocks inside it)" if table["inner"].any() else ""
    )
    return [*parts, _text(MARGIN, y, what, TEXT, colour=GREY)], y + 30


def _hint(block: pd.Series) -> str:
    return (
        f"block {block['number']}: {block['name']}\n{block['shortcut']} shortcut, "
        f"{block['in_shape']} → {block['out_shape']}, {block['parameters']:,} weights"
    )


def _count(number: int) -> str:
    """2,363,904 as `2.4 M`."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.{int(number < 100 * size)}f} {letter}"
    return str(number)


def _fitting(name: str, letters: int = 18) -> str:
    """The last parts of a name, which tell it from others, as many as there is room for."""
    parts = name.split(".")
    ends = (".".join(parts[i:]) for i in range(len(parts)))
    return next((end for end in ends if len(end) <= letters), f"…{name[1 - letters :]}")


def _text(
    x: float,
    y: float,
    text: str,
    size: float,
    weight: str = "",
    *,
    anchor: str = "start",
    colour: str = INK,
    raw: bool = False,
) -> str:
    more = f' font-weight="{weight}"' if weight else ""
    where = f'x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text {where}{more} xml:space="preserve">{text if raw else escape(text)}</text>'


def _document(parts: Iterable[str], height: float, title: str) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {WIDTH} {height:g}" font-family="Helvetica, Arial, sans-serif" role="img">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )
