"""The widget by its parts; `test_notebooks` runs the whole in a real kernel."""

from __future__ import annotations

import pytest
from toy_chains import TinyResNet, images, labels, seeded

from resnet_probe import chain_of, explore
from resnet_probe.explorer.widget import ExplorerWidget

N = 12


@pytest.fixture
def widget() -> ExplorerWidget:
    chain = chain_of(seeded(TinyResNet), images(N), name="tiny")
    names = ["<b>", "one", "two", "three", "four"]
    found = explore(chain, images(N), labels(N), class_names=names)
    assert isinstance(found, ExplorerWidget)
    return found


def test_a_click_takes_the_brush_and_the_next_one_turns_on(widget):
    first, second, third = widget.board.buttons
    first.click()
    assert widget.now.switches.off == (1,) and "rp-off" in first._dom_classes
    assert f"{widget.now.accuracy_pct:.1f} %" in widget.head.value
    widget.brush.value = "twice"
    third.click()
    assert widget.now.switches.twice == (3,) and third.description == "3×2"
    widget.brush.value, widget.factor.value = "scaled", 0.25
    second.click()
    assert widget.now.switches.scaled == {2: 0.25} and second.description == "2×.25"
    for button in (first, second, third):
        button.click()
    assert str(widget.now.switches) == "all on"
    assert [b.description for b in widget.board.buttons] == ["1", "2", "3"]
    assert first._dom_classes == ("rp-block", "rp-identity")


def test_what_is_shown_is_the_state(widget):
    widget.set(off=[1])
    chain, now = widget.explorer.chain, widget.now
    assert widget.code.value == widget.explorer.code
    assert widget.bars.value.count("rp-fill") == len(now.classes)
    for row in now.classes.itertuples():
        assert f"{row.correct}/{row.images}" in widget.bars.value
    assert "<b></span>" not in widget.bars.value  # names are escaped
    first = now.changed.iloc[0]
    assert f"image {first['image']:.0f}, a " in widget.pictures.value
    assert widget.pictures.value.count("data:image/png") == min(
        10, int((now.changed["distance"] >= 0.005).sum())
    )
    assert len(widget.board.buttons) == len(chain)


def test_presets_stages_and_refusals(widget):
    stage = widget.explorer.chain.stages[1]
    widget.board.groups[widget.explorer.chain.block(stage[0]).stage, "off"].click()
    assert widget.now.switches.off == stage
    widget.count.value = 1
    widget.presets["most important"].click()
    worst = int(widget.explorer.singles()["block"].iloc[0])
    assert widget.now.switches.off == (worst,)
    assert "points of error" in widget.board.buttons[worst - 1].tooltip
    assert widget.progress.layout.display == "none"
    widget.presets["all on"].click()
    before = widget.now
    widget.brush.value = "twice"
    widget.board.buttons[1].click()  # the one with a projection
    assert "cannot run twice: it changes the shape" in widget.message.value
    assert widget.now is before
    widget.brush.value = "off"
    widget.board.buttons[1].click()
    assert widget.message.value == "" and widget.now.switches.off == (2,)


def test_every_field_has_a_label_and_the_code_a_button(widget):
    fields = [widget.factor, widget.count, widget.seed, widget.code]
    assert [field.description for field in fields] == ["factor", "k", "seed", "Python"]
    inside = widget.children[-1].children[0]
    assert inside.children[0] is widget.code and "rp-code" in inside._dom_classes
    button = inside.children[1].value
    assert ">Copy</button>" in button and "clipboard.writeText(code.value)" in button
