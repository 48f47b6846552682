"""Random command lines: no traceback, no hang; files or one sentence, and nothing left behind.

    pytest tests/campaigns/test_commands.py --campaign-size 2000 --campaign-seed 10000

Each seed is one line.  The options and what they may be come from the commands' own parsers, so
that an option that is added tomorrow is tried, too.
"""

from __future__ import annotations

import argparse
import random
import re

import pytest
from campaigns.children import called, seeds

from resnet_probe.cli import HELP, main, parser
from resnet_probe.runs.needed import NETWORKS

pytestmark = pytest.mark.campaign
SOME = 5
"""Lines a run of the test suite."""
ASIDE = {"docs", "completion"}
"""They open a browser, or print a script."""
TINY = {
    "--arch": "resnet:depth=8,width=4", "--weights": "initial:0", "--data": "digits",
    "--normalize": "none", "--limit": "8",
}  # fmt: skip
NUMBERS = (
    "0", "1", "2", "3", "-1", "-0", "0.5", "1.5", "nan", "inf", "-inf", "1e400", "1e-320", "1e308",
    "99999999999999999999", "9" * 400, "-9223372036854775809", "4294967296", "2147483648", "100000",
    "", " ", "abc", "0x10", "1_000", "٣", "²", "½", "1,2", "1-3", "3-1", "1-99999999", "1:0:1e-320",
    "1:0.5:0.1", "nan:0:1", "2GiB", "1KiB", "0B", "9999999999TiB", "1/2", "0/0", "3/2", "1/0",
    "3x8x8", "0x0x0", "3x999999x999999", "-3x8x8", "32,16", "1e5", "--", "-", "\x00", "\udcff",
)  # fmt: skip
WORDS = (
    "", " ", ".", "/", "..", "a" * 300, "none", "digits", "cifar10", "parquet:", "parquet:nothing",
    "imagefolder:.", "imagefolder:/dev/null", "folder:x", "pretrained", "initial:", "initial:-1",
    "initial:99999999999999999999", "resnet20", "resnet20,", "resnet:depth=9", "resnet:depth=8e9",
    "resnet:width=99999999,depth=8", "vgg11:width=2", "plain20", "resnet1e9", "module:thing",
    "os:getcwd", "sys:exit", "json:loads", "mean=0.5,std=0", "mean=nan,std=1", 
    "mean=0.5,std=1e-400",
    "imagenet", "/dev/null", "/dev/zero", "/dev/stdin", "new\nline", "\x00", "\udcff", "naïve", "*",
    "resize=4,crop=2", "resize=99999999", "crop=0", "input", "stem", "1", "99", "accuracy", "loss",
    "untrained", "exact", "noise", "sign,sign", "shapley", "ablation,", "delete 1", "scale 2 1e400",
    "png", "svg,pdf", "exe",
)  # fmt: skip
ONLY_SMALL = {
    "--epochs": ("1", "0", "-1", "x", "9" * 30), "--rounds": ("1", "0", "-1", "9" * 30),
    "--size": ("8", "0", "-1", "9" * 30), "--processes": ("1", "0", "-1", "9" * 30, "x"),
    "--seeds": ("1", "0", "-1"), "--device": ("cpu", "auto", "gpu", ""), "--also": ("", "x"),
}  # fmt: skip
"""What is asked for would take its time: valid numbers are small."""
TOKENS = {
    "--layers": "2", "--width": "32", "--vocabulary": "64", "--texts": "2", "--context": "8",
}  # fmt: skip
READABLE = re.compile(r"error: [^\n]+\n?")


def pytest_generate_tests(metafunc):
    metafunc.parametrize("seed", seeds(metafunc.config, SOME))


def options_of(name):
    """The options of a command: (words of the subcommand, its actions)."""
    top = next(a for a in parser(name)._actions if isinstance(a, argparse._SubParsersAction))
    actions = top.choices[name]._actions
    below = [a for a in actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        return [([name], actions)]
    return [([name, word], each._actions) for word, each in below[0].choices.items()]


def value(pick, action, flag):
    if flag in ONLY_SMALL:
        return pick.choice(ONLY_SMALL[flag])
    if action.choices and pick.random() < 0.8:
        return str(pick.choice(list(action.choices)))
    if flag in TINY and pick.random() < 0.5:
        return TINY[flag]
    named = getattr(action.type, "__name__", "str")
    return pick.choice(WORDS if named in ("str", "Path", "<lambda>", "read") else NUMBERS)


def line_of(seed):
    """One command line, most of it valid."""
    pick = random.Random(f"line {seed}")
    name = pick.choice([each for each in HELP if each not in ASIDE])
    words, actions = pick.choice(options_of(name))
    flags = {a.option_strings[-1]: a for a in actions if a.option_strings}
    flags.pop("--help", None)
    given = {flag: [text] for flag, text in TINY.items() if flag in flags}
    given |= {flag: ["1"] for flag in ("--epochs", "--rounds") if flag in flags}
    given |= {flag: ["8"] for flag in ("--size",) if flag in flags}
    given |= {flag: [text] for flag, text in TOKENS.items() if flag in flags and name == "bench"}
    given |= {flag: [] for flag in ("--only",) if flag in flags}  # else all networks there are
    flags.pop("--only", None)
    for flag in pick.sample(sorted(flags), min(len(flags), pick.choice([0, 1, 1, 2, 2, 3, 5]))):
        action = flags[flag]
        count = 0 if action.nargs == 0 else pick.choice([1, 1, 1, 0, 2])
        given[flag] = [value(pick, action, flag) for _ in range(max(count, action.nargs != 0))]
        if given[flag] and pick.random() < 0.05:
            given.pop(flag)
    for action in actions:
        if not action.option_strings and pick.random() < 0.9:
            words = [*words, *[value(pick, action, "") for _ in range(pick.choice([1, 1, 2]))]]
    if "--processes" in given and given["--processes"] == ["2"]:
        del given["--processes"]
    line = [*words]
    for flag, texts in given.items():
        line += (
            [f"{flag}={texts[0]}"] if len(texts) == 1 and pick.random() < 0.3 else [flag, *texts]
        )
    return line


def left(folder):
    """What lies in a folder, hidden files and those of parts of runs included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_random_command_line(seed, tmp_path):
    line, folder = line_of(seed), tmp_path / "here"
    folder.mkdir()
    ended = called(main, line, folder=folder)
    told = f"{line!r}: status {ended.status}\n{ended.err[-2000:]}"
    assert ended.status in (0, 2), told
    assert "Traceback" not in ended.err, told
    found = left(folder)
    if ended.status == 2:
        assert READABLE.fullmatch(ended.err), told
        assert not found, f"{told}{found}"
    kept = [name for name in found if not name.startswith(str(NETWORKS))]
    assert not [name for name in kept if name.endswith(".partial") or "/." in f"/{name}"], told
    assert "Warning" not in ended.err, told
