"""Every option that is a number, with numbers that nobody would give: taken, or one sentence."""

from __future__ import annotations

import re

import pytest
from toy_chains import scalar_chain

from resnet_probe.cli import HELP, bench, bench_train, edit, main, options, parser
from resnet_probe.errors import ProbeError
from resnet_probe.loading.request import Request
from resnet_probe.loading.trained import TrainingRequest
from resnet_probe.loading.training_images import Recalibration
from resnet_probe.runs.catalogue import ROWS
from resnet_probe.settings import parse_bytes
from resnet_probe.studies.attribution.request import request
from resnet_probe.studies.paths import PathSettings
from resnet_probe.studies.study import Resources

CLASSES = {
    **{each.name: each.study.settings for each in ROWS}, "resources": Resources,
    "request": Request, "recalibration": Recalibration, "training": TrainingRequest,
    **{f"bench-{each.name}": each.settings for each in bench.BENCHES},
    "bench-tokens": bench.TokenTimes, "bench-coverage": bench.CoverageRounds,
    "bench-train": bench_train.TrainTimes, "edit": edit.Batch, "seed": options.Seed,
}  # fmt: skip
OPTIONS = [(name, each) for name, cls in CLASSES.items() for each in cls.options()]
NUMERIC = [(name, each) for name, each in OPTIONS if each.kind in (int, float)]
READ = [(name, each) for name, each in OPTIONS if each.read is not None]
NUMBERS = (
    0, -1, -(2**63) - 1, 2**53, 2**53 + 1, 2**63, 10**30, 10**400, -(10**400), 0.5, -0.0, 1e308,
    5e-324, float("nan"), float("inf"), float("-inf"), "3", True, [1], b"1", 1j,
)  # fmt: skip
TEXTS = (
    "", " ", "-", "--", ",", ":", "/", "0", "-1", "9" * 400, "9" * 5000, "1e400", "-1e400", "nan",
    "nan:0:1", "1:nan:1", "inf:0:1", "1:0:1e-320", "1:0:0", "1:0:-1", "1e308:-1e308:1e-308",
    "1-9" + "9" * 30,
    "3-1", "1--2", "1/0", "0/0", "3/2", "1/9" + "9" * 400, "٣", "²", "½", "1_000", "0x10",
    "9" * 300 + "GiB", "nanGiB", "-1GiB", "1..2GiB", "\x00", "1\n2", "a" * 3000,
)  # fmt: skip


def named(pairs):
    return pytest.mark.parametrize(
        ("study", "option"), pairs, ids=[f"{study}-{option.name}" for study, option in pairs]
    )


def refused(call, what):
    """Whether it is refused; any error but a sentence passes."""
    try:
        call()
    except ProbeError as refusal:
        said = str(refusal)
        assert said and "\n" not in said and len(said) < 11_000, (what, said[:300])
        assert not re.search(r"Traceback| object at 0x|\{", said), (what, said[:300])
        return True
    return False


@named(NUMERIC)
def test_a_number_is_bounded_before_it_is_used(study, option):
    found = [refused(lambda n=n: option.check(n), n) for n in NUMBERS]
    held = dict(zip(map(repr, NUMBERS), found, strict=True))
    for never in ("nan", "inf", repr(10**400), "'3'", "[1]", "1j"):
        assert held[never], (option.name, never)
    if option.name == "seed":
        assert held["-1"]
    if option.kind is int:
        assert held["0.5"] and held[repr(10**30)], option.name


def test_what_would_run_for_years_is_refused_with_what_it_asks_for():
    chain = scalar_chain([1.0] * 10)
    with pytest.raises(ProbeError, match=r"are 1,000,010 networks: .* goes up to 100,000"):
        request(chain, methods=("shapley",), permutations=100_001, seed=0)
    assert request(chain, methods=("ablation",), permutations=10**9, seed=0).permutations == 0
    with pytest.raises(ProbeError, match="samples=1000001: at most 1,000,000 is allowed"):
        PathSettings(samples=10**6 + 1)
    with pytest.raises(ProbeError, match="signs=100001: at most 100,000 is allowed"):
        PathSettings(signs=10**5 + 1)


def test_no_command_takes_a_number_that_nothing_bounds():
    """Of an option that is read by `int` or `float` alone, anything would come through."""
    for name in HELP:
        for flag, action in options_of(parser(name)):
            assert action.type not in (int, float) or action.choices, (name, flag)


def options_of(top):
    for action in top._actions:
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from options_of(below)
        elif action.option_strings:
            yield action.option_strings[-1], action


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bench lesion --seed -1", "error: --seed -1: at least 0 is needed"),
        ("bench lesion --size 0", "error: --size 0: at least 1 is needed"),
        ("bench paths --limit -1", "error: --limit -1: at least 1 is needed"),
        (
            "bench paths --arch resnet20 --limit 100000 --size 2000",
            "error: 100,000 random images of 2000×2000 pixels take 4470.3 GiB, more than 2.0 GiB: "
            "ask for fewer (--limit) or smaller ones (--size)",
        ),
        (
            "bench train --processes 1 --limit 1000 --size 2000",
            "1,000 random images of 2000×2000 pixels take",
        ),
        ("bench train --workers -1", "error: --workers -1: at least 0 is needed"),
        ("bench train --epochs 1", "error: --epochs trains and tests: give the images"),
        ("bench tokens --vocabulary 1", "error: --vocabulary 1: at least 2 is needed"),
        ("bench tokens --width 200", "error: --width 200 is more than 64, and no multiple of it"),
        ("bench tokens --layers 1000 --width 32768", "at most 2,147,483,648 are built"),
        ("bench tokens --texts 1048576 --context 4096", "at most 2,147,483,648 are drawn"),
        ("bench train --seed 3", "unrecognized arguments: --seed 3; did you mean --seeds?"),
        ("bench lesion --arch resnet20 --out there", "unrecognized arguments: --out there"),
        ("atlas networks.csv --seed 99999999999999999999", "is no whole number up to"),
    ],
)
def test_a_command_says_which_number_it_does_not_take(capsys, line, said):
    assert main(line.split()) == 2
    assert said in capsys.readouterr().err


def test_memory_that_does_not_suffice_is_a_sentence(capsys, monkeypatch):
    def full(_options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1")

    monkeypatch.setattr("resnet_probe.cli.bench.run_coverage", full)
    assert main(["bench", "coverage"]) == 2
    assert "error: the memory here does not suffice" in capsys.readouterr().err


@named(READ)
def test_a_text_is_read_or_refused_in_time(study, option):
    for text in TEXTS:
        refused(lambda t=text: option.read(t), (option.name, text[:50]))


def test_a_size_of_memory_is_some_bytes():
    assert [parse_bytes(t) for t in ("1", "2KiB", "1.5 MB")] == [1, 2048, 3 * 2**19]
    sizes = {t for t in TEXTS if not refused(lambda t=t: parse_bytes(t), t)}
    assert sizes == {"٣"}
