from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from toy_chains import NegativeStates, TinyPlain, images, labels, randomized, scalar_chain, seeded

from resnet_probe import Explorer, ProbeError, Sweep, chain_of, layers_of, lesion, models
from resnet_probe.engine.images import ImageStream
from resnet_probe.explorer import Still, Switches, explore
from resnet_probe.explorer.figure import Pictures
from resnet_probe.explorer.switches import PRESETS
from resnet_probe.stats import wilson

N = 12


@pytest.fixture(scope="module")
def chain():
    model = models.architecture("resnet20:width=4").build(seed=0)
    return chain_of(randomized(model), images(N), name="resnet20")


def explorer(chain, **options) -> Explorer:
    return Explorer(chain, images(N), labels(N, classes=10), **options)


def swept(chain, switches, **options) -> torch.Tensor:
    pieces = Sweep(chain, **options).run([switches.edit], images(N))
    return torch.cat([piece.logits for piece in pieces])


SETTINGS = st.sampled_from(["on", "off", "twice", 0.5, -2.0])
CLICKS = st.lists(st.tuples(st.integers(1, 9), SETTINGS), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def sweeps(chain):
    return {exact: Sweep(chain, batch=5, exact=exact) for exact in (False, True)}


@settings(max_examples=12, deadline=None)
@given(clicks=CLICKS, exact=st.booleans(), states=st.integers(1, 9))
def test_every_click_gives_the_sweeps_logits_bit_for_bit(chain, sweeps, clicks, exact, states):
    memory = states * N * 4 * 8 * 8 * 4  # so many states of the first stage: spacings from 1 to 9
    engine = explorer(chain, batch=5, memory=memory, exact=exact)
    clicked = []
    for number, setting in clicks:
        if setting != "twice" or chain.block(number).keeps_shape:
            engine.switch(number, setting)
            clicked.append((engine.switches.edit, engine.prefixes.run(engine.switches)[0]))
            assert engine.prefixes.kept_bytes <= memory
    for piece in sweeps[exact].run([edit for edit, _ in clicked], images(N)):
        for index in piece.edits:
            assert torch.equal(piece.logits, clicked[index][1][piece.start : piece.stop])


def test_only_blocks_from_the_first_change_on_are_run(chain):
    engine = explorer(chain)
    assert engine.prefixes.spacing == 1
    assert engine.switch(7, "off").branch_runs == 2
    assert engine.switch(3, "twice").branch_runs == 2 + 3 + 2
    assert engine.switch(3, "twice").branch_runs == 1  # nothing has changed: the last one again
    assert engine.set().branch_runs == 7


def test_kept_states_are_bounded_and_the_answer_is_the_same(chain):
    whole, tight = explorer(chain), explorer(chain, memory=N * 4 * 8 * 8 * 4)
    assert tight.prefixes.spacing == 9 and whole.prefixes.spacing == 1
    assert tight.prefixes.kept_bytes < whole.prefixes.kept_bytes
    assert whole.set(off=[9]).correct == tight.set(off=[9]).correct
    assert tight.now.branch_runs == 8
    with pytest.raises(ProbeError, match=r"too small for 12 images of resnet20.*12\.0 KiB"):
        explorer(chain, memory=1000)


def test_kept_states_are_never_written_into():
    chain = chain_of(seeded(NegativeStates), images(N))
    engine = Explorer(chain, images(N), labels(N))
    engine.switch(1, "off")
    engine.switch(1, "on")
    logits, _ = engine.prefixes.run(engine.switches)
    with torch.no_grad():
        assert torch.allclose(logits, chain(images(N)), atol=1e-5)


def test_scalar_chain_has_a_closed_form():
    """Blocks h + f·h: with gates g, twice as a square, the output is the input times Π(1 + g·f)."""
    chain = scalar_chain([0.5, -0.25, 2.0, 1.0])
    x = torch.tensor([[1.0, 2.0], [-3.0, 1.0]], dtype=torch.float64)
    engine = Explorer(chain, x, torch.tensor([1, 1]))
    now = engine.set(off=[1], twice=[2], scaled={3: 0.5})
    logits, _ = engine.prefixes.run(engine.switches)
    assert torch.allclose(logits.double(), x * (0.75**2 * 2 * 2))
    assert now.correct == 2 and str(now.switches) == "1 off, 1 twice, 1 scaled"


def test_outcome_is_that_of_the_lesion_study(chain):
    x, y = images(N), labels(N, classes=10)
    table = lesion(chain, x, y).table
    engine = explorer(chain)
    for number in range(1, 10):
        now, row = engine.set(off=[number]), table.iloc[number]
        assert now.correct == row["correct"]
        assert now.p_value == row["p_value"]
        assert now.accuracy_pct == pytest.approx(100 - row["error_pct"])
        assert (now.low_pct, now.high_pct) == pytest.approx(
            (100 - row["ci_high_pct"], 100 - row["ci_low_pct"])
        )
    singles = engine.singles().set_index("block")["delta_pct"]
    assert singles.sort_index().tolist() == pytest.approx(table["delta_pct"].iloc[1:].tolist())


def test_classes_and_changed_images_are_recomputed(chain):
    engine = explorer(chain)
    now = engine.set(off=[1, 2])
    y = engine.labels
    logits, _ = engine.prefixes.run(engine.switches)
    p, before = logits.softmax(1), engine.baseline.softmax(1)
    for row in now.classes.itertuples():
        mine = y == row.label
        right = int((logits.argmax(1) == y)[mine].sum())
        assert (row.correct, row.images) == (right, int(mine.sum()))
        assert row.low_pct == pytest.approx(100 * wilson(right, row.images)[0])
        assert row.whole_pct == pytest.approx(
            100 * float((before.argmax(1) == y)[mine].float().mean())
        )
    assert now.classes["correct"].sum() == now.correct
    distance = (p - before).abs().sum(1) / 2
    assert now.changed["distance"].is_monotonic_decreasing
    first = now.changed.iloc[0]
    assert first["distance"] == pytest.approx(float(distance.max()), abs=1e-6)
    assert first["after"] == int(p[int(first["image"])].argmax())


def test_presets(chain):
    engine = explorer(chain)
    ranking = engine.singles()["block"].tolist()
    assert sorted(ranking) == list(range(1, 10))
    assert engine.preset("most important", 3).switches.off == tuple(sorted(ranking[:3]))
    kept = set(range(1, 10)) - set(engine.preset("short paths", 2).switches.off)
    assert kept == set(ranking[:2])
    drawn = engine.preset("random", 4, seed=7).switches.off
    assert len(drawn) == 4 and drawn == engine.preset("random", 4, seed=7).switches.off
    assert any(drawn != engine.preset("random", 4, seed=s).switches.off for s in range(5))
    assert engine.preset("all on").accuracy_pct == engine.now.whole_pct
    assert set(PRESETS) == {"all on", "random", "most important", "short paths"}
    with pytest.raises(ProbeError, match="unknown preset 'best'"):
        engine.preset("best", 1)
    with pytest.raises(ProbeError, match=r"10 blocks are out of range.*0–9"):
        engine.preset("random", 10)


@pytest.mark.parametrize(
    "asked",
    [{}, {"off": [2]}, {"off": [1, 9], "twice": [3], "scaled": {5: 0.25}}],
    ids=["all on", "one off", "mixed"],
)
@pytest.mark.parametrize("exact", [False, True])
def test_copied_code_brings_the_state_about(chain, asked, exact, capsys):
    engine = explorer(chain, exact=exact)
    engine.set(**asked)
    there = {"chain": chain, "images": images(N), "labels": labels(N, classes=10)}
    exec(engine.code, there)
    assert there["now"].switches == engine.switches
    assert there["explorer"].exact == exact
    assert there["now"].changed.equals(engine.now.changed)
    assert capsys.readouterr().out.strip() == engine.now.sentence


def test_copied_code_uses_the_names_that_the_notebook_has(chain):
    x, y = images(N), labels(N, classes=10)
    engine = Explorer(chain, x, y)
    engine.set(off=[2])
    ready = SimpleNamespace(chain=chain, images=x, labels=y)
    assert "rp.Explorer(ready.chain, ready.images, ready.labels)" in engine.code_in(
        {"ready": ready}
    )
    named = {"_1": chain, "net": chain, "x": x, "ready": ready}
    assert "rp.Explorer(net, x, ready.labels)" in engine.code_in(named)
    widget = SimpleNamespace(explorer=engine)
    shown = engine.code_in({"chain": chain, "_4": widget, "shown": widget})
    assert "explorer = shown.explorer\n" in shown and "rp." not in shown
    there = {"chain": chain, "shown": widget}
    exec(shown.replace("print", "str"), there)
    assert there["now"].switches == engine.switches
    assert "rp.Explorer(chain, images, labels)" in engine.code_in({})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"off": [10]}, r"block 10 is out of range: resnet20 has 9 blocks \(1–9\)"),
        ({"twice": [4]}, r"block 4 \(.*\) cannot run twice: it changes the shape, 4×8×8 to 8×4×4"),
        ({"off": [3], "scaled": {3: 0.5}}, r"block 3 is switched to off and to ×0.5: name it once"),
        ({"scaled": {3: float("nan")}}, r"block 3 cannot be scaled by nan"),
        ({"scaled": {3: 1e38, 2: 1e38}}, r"the logits are not finite"),
    ],
)
def test_refusals_leave_the_state_as_it_was(chain, asked, message):
    engine = explorer(chain)
    before = engine.set(off=[2])
    with pytest.raises(ProbeError, match=message):
        engine.set(**asked)
    assert engine.now is before
    again = engine.turn(engine.switches)
    assert again.changed.equals(before.changed)


def test_plain_layers_are_on_or_off():
    chain = layers_of(seeded(TinyPlain), images(N))
    engine = Explorer(chain, images(N), labels(N))
    now = engine.set(off=[2])
    assert torch.allclose(
        engine.prefixes.run(now.switches)[0], swept(chain, now.switches), atol=1e-5
    )
    with pytest.raises(ProbeError, match=r"layer 2 \(.*\) cannot be scaled by 0\.5"):
        engine.switch(2, 0.5)


def test_data_that_do_not_fit_are_refused(chain):
    with pytest.raises(ProbeError, match="12 images and 3 labels"):
        Explorer(chain, images(N), labels(3))
    with pytest.raises(ProbeError, match="2 class names do not fit: resnet20 has 10 classes"):
        explorer(chain, class_names=["cat", "dog"])


def test_network_is_left_as_it_was():
    model = randomized(models.architecture("resnet20:width=4").build(seed=0)).train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    chain = chain_of(model, images(N))
    explorer(chain).preset("most important", 2)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_pictures_undo_the_normalisation():
    pixels = torch.randint(0, 256, (5, 3, 4, 6), generator=torch.Generator().manual_seed(0))
    pixels[0, :, 0, 0], pixels[0, :, 0, 1] = 0, 255
    mean, deviation = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    seen = (pixels / 255 - mean[:, None, None]) / deviation[:, None, None]
    assert (torch.from_numpy(Pictures(seen).array(3)).permute(2, 0, 1) == pixels[3]).all()
    grey = Pictures(seen[:, :1])
    assert grey.array(0).shape == (4, 6, 3) and grey.uri(0).startswith("data:image/png;base64,")
    assert not Pictures(torch.zeros(5, 2)).there


def test_without_widgets_a_figure_is_shown(chain, monkeypatch):
    monkeypatch.setattr("resnet_probe.explorer.find_spec", lambda name: None)
    still = explore(chain, images(N), labels(N, classes=10), off=[3])
    assert isinstance(still, Still) and still.explorer.switches.off == (3,)
    bundle = still._repr_mimebundle_()
    assert "pip install 'resnet-probe[notebook]'" in bundle["text/plain"]
    assert "data:image/png;base64," in bundle["text/html"]
    figure = still.explorer.figure()
    assert isinstance(figure, Figure)
    assert still.explorer.now.sentence in figure.get_suptitle()


def test_figure_of_what_is_no_image_and_of_many_classes():
    chain = scalar_chain([0.5, 0.5])
    x = torch.eye(2, dtype=torch.float64)
    assert Explorer(chain, x, torch.tensor([0, 1])).figure().get_suptitle()


def test_switches_as_an_edit(chain):
    assert Switches.of(chain).edit.kind == "baseline"
    assert Switches.of(chain, off=[2, 1]).edit.blocks == "1 2"
    mixed = Switches.of(chain, off=[1], twice=[2]).edit
    assert mixed.kind == "mixed" and mixed.edits == 2 and len(mixed.steps(chain)) == 10


def test_images_that_are_read_in_pieces_are_read_once(chain):
    x = images(N)
    stream = ImageStream(lambda a, b: x[a:b], range(N), (3, 8, 8), device=torch.device("cpu"))
    streamed = Explorer(chain, stream, labels(N, classes=10))
    assert torch.equal(streamed.images, x)
    assert torch.equal(streamed.baseline, explorer(chain).baseline)
