"""Every option that is a number, with numbers that nobody would give: taken, or one sentence."""

from __future__ import annotations

import re

import pytest
from toy_chains import scalar_chain

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


@named(READ)
def test_a_text_is_read_or_refused_in_time(study, option):
    for text in TEXTS:
        refused(lambda t=text: option.read(t), (option.name, text[:50]))


def test_a_size_of_memory_is_some_bytes():
    assert [parse_bytes(t) for t in ("1", "2KiB", "1.5 MB")] == [1, 2048, 3 * 2**19]
    sizes = {t for t in TEXTS if not refused(lambda t=t: parse_bytes(t), t)}
    assert sizes == {"٣"}
