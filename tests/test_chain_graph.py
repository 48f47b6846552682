"""The drawing of a chain: every block is in it, nothing overlaps, and the legend says what is."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import pandas as pd
import pytest
from toy_chains import TinyResNet, images, seeded

from resnet_probe import chain_of, cli
from resnet_probe.figures.chain_graph import WIDTH, chain_graph

NAMESPACE = "{http://www.w3.org/2000/svg}"


def rows(stages: list[int], roles: list[str], kinds: list[str], a_layer: int = 1) -> pd.DataFrame:
    """A table as discovery gives it; `roles` and `kinds` come again and again."""
    stage = [s for s, n in enumerate(stages, start=1) for _ in range(n)]
    numbers = range(1, len(stage) + 1)
    return pd.DataFrame(
        {
            "number": numbers,
            "name": [f"encoder.layers.encoder_layer_{n}.self_attention" for n in numbers],
            "role": [roles[(n - 1) % len(roles)] for n in numbers],
            "layer": [(n - 1) // a_layer + 1 for n in numbers],
            "stage": stage,
            "shortcut": [kinds[(n - 1) % len(kinds)] for n in numbers],
            "in_shape": [f"{2 ** (s + 3)}×{256 >> s}×{256 >> s}" for s in stage],
            "out_shape": [f"{2 ** (s + 3)}×{256 >> s}×{256 >> s}" for s in stage],
            "parameters": 123_456_789,
            "inner": [n % 3 for n in numbers],
        }
    )


SIZES = {
    "54 blocks": rows([18, 18, 18], ["convolution"], ["identity", "parameter-free"]),
    "9 blocks": rows([3, 3, 3], ["convolution", ""], ["projection", "identity"]),
    "a transformer": rows([24], ["attention", "mlp"], ["identity"], a_layer=2),
    "one block": rows([1], ["mlp"], ["option-A stand-in"]),
    "every kind": rows([5], ["convolution", "attention", "mlp", ""], ["affine", "gated", "scaled"]),
}


def boxes(svg: str):
    """(text, left, top, right, bottom) of every text, by the width of a letter of Arial."""
    for text in ElementTree.fromstring(svg).iter(f"{NAMESPACE}text"):
        words, size = "".join(text.itertext()), float(text.get("font-size", 0))
        wide = 0.56 * size * len(words)
        left = (
            float(text.get("x", 0))
            - {"start": 0, "middle": wide / 2, "end": wide}[text.get("text-anchor", "start")]
        )
        low = float(text.get("y", 0))
        yield words, left, low - 0.75 * size, left + wide, low + 0.2 * size


@pytest.mark.parametrize("table", SIZES.values(), ids=SIZES)
def test_no_text_covers_another_or_leaves_the_drawing(table):
    note = "stage.0: its parallel paths meet in cat, not in an addition of two of them; " * 4
    svg = chain_graph(table, title="a network", before="in", behind="out", notes=[note])
    height = float(ElementTree.fromstring(svg).get("height", 0))
    found = list(boxes(svg))
    for words, left, top, right, bottom in found:
        assert left >= 0 and right <= WIDTH and top >= 0 and bottom <= height, words
    for a, b in combinations(found, 2):
        apart = a[3] <= b[1] or b[3] <= a[1] or a[4] <= b[2] or b[4] <= a[2]
        assert apart, f"{a[0]!r} covers {b[0]!r}"


@pytest.mark.parametrize("table", SIZES.values(), ids=SIZES)
def test_every_block_is_drawn_and_the_legend_holds_what_occurs(table):
    svg = chain_graph(table, title="a network")
    root = ElementTree.fromstring(svg)
    blocks = root.findall(f"{NAMESPACE}g")
    texts = [words for words, *_ in boxes(svg)]
    assert len(blocks) == len(table)
    for block, (_, row) in zip(blocks, table.iterrows(), strict=True):
        assert f"block {row['number']}: {row['name']}" in block.findtext(f"{NAMESPACE}title", "")
        assert str(row["number"]) in [text.text for text in block.iter(f"{NAMESPACE}text")]
    for kind in ("identity", "projection", "parameter-free", "affine", "gated"):
        assert (kind in texts) == (kind in set(table["shortcut"]))
    layers = {words for words in texts if words.startswith("layer ")}
    paired = table["layer"].value_counts().max() > 1
    assert layers == ({f"layer {n}" for n in table["layer"]} if paired else set())
    assert sum(words.startswith("stage ") for words in texts) == table["stage"].nunique()


def test_kinds_of_shortcuts_differ_in_more_than_their_colour():
    svg = chain_graph(rows([3], [""], ["identity", "projection", "parameter-free"]), title="n")
    ways = [p for g in ElementTree.fromstring(svg).findall(f"{NAMESPACE}g") for p in g if "Q" in
            p.get("d", "")]  # fmt: skip
    looks = {(way.get("stroke-width"), way.get("stroke-dasharray")) for way in ways}
    assert len(ways) == 3 and len(looks) == 3


def test_the_command_writes_the_graph(tmp_path, capsys):
    path = tmp_path / "chain.svg"
    assert cli.main(["blocks", "--arch", "resnet20:width=4", "--graph", str(path)]) == 0
    root = ElementTree.parse(path).getroot()
    assert len(root.findall(f"{NAMESPACE}g")) == 9
    texts = "\n".join(words for words, *_ in boxes(path.read_text(encoding="utf-8")))
    assert "resnet20:width=4: 9 blocks in 3 stages" in texts
    assert "input 3×32×32 → stem → 4×32×32" in texts and "→ head → 10 outputs" in texts
    assert "4×32×32 → 8×16×16" in texts and "bit for bit" in texts
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"), [("chain.png", "ends in .svg"), ("absent/chain.svg", "cannot be written")]
)
def test_a_graph_that_cannot_be_written_is_refused(tmp_path, capsys, name, reason):
    arguments = ["--arch", "resnet20:width=4", "--graph", str(tmp_path / name)]
    assert cli.main(["blocks", *arguments]) == 2
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_table_of_a_real_chain_can_be_drawn():
    table = chain_of(seeded(TinyResNet), images()).table()
    assert "3×8×8" not in chain_graph(table, title="tiny")
    assert "4×8×8 → 8×4×4" in chain_graph(table, title="tiny")
