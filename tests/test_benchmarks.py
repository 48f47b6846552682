"""How benchmarks compare: in turn, medians, and whether the results are equal."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from toy_chains import TinyResNet, images, labels, seeded

from resnet_probe import Edit, chain_of, greedy
from resnet_probe.benchmarks import lists
from resnet_probe.benchmarks.clock import Comparison, fastest, in_turn, ratio
from resnet_probe.benchmarks.lesion import (
    Ran,
    against_precision,
    benchmark,
    in_processes,
    predict_reading,
    ran,
)
from resnet_probe.benchmarks.loops import predict_engine
from resnet_probe.engine.images import ImageStream
from resnet_probe.engine.sweep import Sweep
from resnet_probe.errors import ProbeError

CPU = torch.device("cpu")


def test_ways_run_in_turn_and_the_last_output_is_kept():
    called: list[str] = []
    times, outputs = in_turn(
        {name: lambda name=name: called.append(name) or len(called) for name in "ab"}, 3, CPU
    )
    assert called == list("ababab") and outputs == {"a": 5, "b": 6}
    assert list(times) == ["a", "b"] and min(times.values()) >= 0
    with pytest.raises(ProbeError, match="rounds=0: at least one round is needed"):
        in_turn({}, 0, CPU)


def test_batches_are_tried_up_to_the_number_of_images(monkeypatch):
    tried: list[int] = []
    took = {16: 3.0, 32: 1.0, 40: 2.0}
    monkeypatch.setattr(
        "resnet_probe.benchmarks.clock.timed", lambda call, device: (took[call() or tried[-1]], 0)
    )
    assert fastest(tried.append, (16, 32, 64, 128), 40, CPU, tries=2) == 32
    assert tried == [16, 32, 40] * 2


def test_a_comparison_is_a_table_with_remarks():
    said = str(Comparison([("slow way", 2.0), ("fast way", 0.5)], [ratio("gain", 2.0, 0.5)], True))
    lines = said.splitlines()
    assert [line.split()[-2:] for line in lines[:2]] == [["2.00", "s"], ["0.50", "s"]]
    assert lines[-1].split() == ["gain:", "4.00x"]


def test_stopping_early_is_compared_where_both_ran():
    whole = np.array([[1, 0, 1, 1], [0, 0, 1, 1]])
    asked: list[float | None] = []

    def run(precision: float | None) -> Ran:
        asked.append(precision)
        early = whole.copy()
        early[1, 2:] = -1
        return Ran(80, whole) if precision is None else Ran(20, early)

    found = against_precision(run, 1.0, rounds=2, device=CPU)
    assert asked == [None, 1.0, None, 1.0] and found.equal
    assert "branch runs:" in str(found) and "4.00x (80 to 20)" in str(found)
    assert "images used per edit: median 3, 2–4 of 4" in str(found)
    assert "answers that differ where both ran: 0" in str(found)
    wrong = against_precision(
        lambda p: Ran(1, whole if p is None else 1 - whole), 1.0, rounds=1, device=CPU
    )
    assert not wrong.equal and "differ where both ran: 8" in str(wrong)


def test_a_benchmark_of_processes_compares_equal_answers():
    x, y = images(7, side=8), labels(7, classes=5)
    chain = chain_of(seeded(TinyResNet), x[:2])
    options = {"rounds": 1, "seed": 0, "memory": 2**30, "batch": None}
    found = benchmark(chain, x, y, processes=3, **options)
    assert found.equal and [name for name, _ in found.ways][1] == "3 of one thread each"
    sweep, edits = Sweep(chain), [Edit(), Edit.delete(2)]
    together, alone = in_processes(sweep, edits, x, 3), predict_engine(sweep, edits, x)
    torch.testing.assert_close(together, alone)
    with pytest.raises(ProbeError, match="processes=8: 1 to 7 have images to work on"):
        benchmark(chain, x, y, processes=8, **options)
    with pytest.raises(ProbeError, match="precision= and processes= are two benchmarks"):
        benchmark(chain, x, y, processes=2, precision=5.0, **options)


def test_the_share_of_time_that_waits_for_images_is_that_of_reading_them():
    x = images(6, side=8)
    sweep, edits = Sweep(chain_of(seeded(TinyResNet), x[:2]), batch=2), [Edit(), Edit.delete(2)]

    def slow(start, stop):
        time.sleep(0.1)
        return x[start:stop]

    shares = []
    for read in (slow, lambda start, stop: x[start:stop]):
        stream = ImageStream(read, range(6), x.shape[1:], device=CPU)
        found, share = predict_reading(sweep, edits, stream)
        torch.testing.assert_close(found, predict_engine(sweep, edits, x))
        shares.append(share)
    assert shares[0] > 0.5 > shares[1] >= 0


def test_a_study_that_stops_gives_the_answers_of_the_whole_one():
    x, y = images(120, side=8), labels(120, classes=5)
    chain = chain_of(seeded(TinyResNet), x[:2])
    found = benchmark(chain, x, y, rounds=1, seed=0, memory=2**30, batch=16, precision=20.0)
    assert found.equal and "branch runs:" in str(found)
    early = ran(chain, x, y, 20.0)
    assert early.branch_runs < ran(chain, x, y, None).branch_runs == 6 * 120
    assert (early.right == -1).any()


@pytest.mark.parametrize(
    ("edit", "edits", "plain", "engine"),
    # Three blocks: 6 ranges and the baseline; 8 gates, one of them 0, of each block; 3 + 2 + 1.
    [
        ("ranges", 7, 11, 7),
        ("gates", 25, 3 + 3 * (7 * 3 + 2), 3 + 8 * 3 + 21),
        ("greedy", 6, 3 + 6 + 2, 3 + 5 + 2),
    ],
)
def test_lists_and_choices_are_compared_at_equal_outcomes(edit, edits, plain, engine):
    x, y = images(20, side=8), labels(20, classes=5)
    chain = chain_of(seeded(TinyResNet), x[:2])
    found = benchmark(chain, x, y, rounds=1, seed=0, memory=2**30, batch=16, edit=edit)
    assert found.equal and len(found.ways) == 2, str(found)
    assert f"branches run: {plain} plain, {engine} engine" in str(found)
    if edit != "greedy":
        assert len(lists.LISTS[edit](chain)) == edits
        return
    order, losses, _ = lists.choose_plain(chain, x, y, 7)
    own = greedy(chain, x, y)
    assert f"edits tried: {edits}" in str(found) and len(order) == 3 == len(losses) - 1
    assert "another block goes: 0 of 3" in str(found) and own.provenance["candidates"] == edits


def test_a_choice_that_differs_is_seen(monkeypatch):
    x, y = images(20, side=8), labels(20, classes=5)
    chain = chain_of(seeded(TinyResNet), x[:2])
    monkeypatch.setattr(lists, "choose_plain", lambda *_: ([1, 2, 3], [0.1] * 4, 1))
    assert not benchmark(chain, x, y, rounds=1, seed=0, memory=2**30, batch=16, edit="greedy").equal
    with pytest.raises(ProbeError, match="precision= and processes= are of deletions"):
        benchmark(chain, x, y, rounds=1, seed=0, memory=1, batch=1, edit="gates", precision=1.0)


def test_deletions_of_a_language_model_are_those_of_hooks(pytestconfig, monkeypatch):
    if not pytestconfig.getoption("--campaign-size"):
        pytest.skip("takes seconds: with --campaign-size")
    pytest.importorskip("transformers")
    from resnet_probe.benchmarks import tokens

    size = tokens.Size(layers=2, width=64, vocabulary=211, texts=5, context=12)
    run = {"rounds": 1, "seed": 0, "memory": 2**28, "batch": 2, "device": CPU}
    found = tokens.benchmark(size, **run)
    assert found.equal and [name.split()[0] for name, _ in found.ways] == ["plain", "study"]
    monkeypatch.setattr(tokens, "ENDS", tokens.ENDS[::-1])  # another block is zeroed
    assert not tokens.benchmark(size, **run).equal
    with pytest.raises(ProbeError, match="texts of two tokens"):
        tokens.benchmark(tokens.Size(context=1), **run)
