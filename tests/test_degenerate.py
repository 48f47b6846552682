"""Networks and images of which little is defined: every study ends in a table, words and a figure.

Weights of nothing, constant answers, one image, all of them alike: what would divide by nothing is
said to be undefined, in words, and no figure fails on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from torch import Tensor, nn

import resnet_probe as rp
from resnet_probe import ProbeError, figures
from resnet_probe.findings import (
    cuts,
    foretold,
    path_coherence,
    same_size,
    short_paths,
    small_residuals,
)
from resnet_probe.findings.sentence import NOUNS
from resnet_probe.findings.verdict import UNDECIDED
from resnet_probe.results import Result
from resnet_probe.runs.catalogue import row

X = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 5
HEAD = 6


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.first, self.last = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.last(torch.relu(self.norm(self.first(h))))


def net(blocks: int = 3, classes: int = 5, **changed: float) -> nn.Module:
    """Weights whose name contains a key are multiplied by its value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        inner = [Block() for _ in range(blocks)]
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
        model = nn.Sequential(nn.Conv2d(3, 4, 1), *inner, *head).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            for part, factor in changed.items():
                named = str(HEAD) if part == "head" else "" if part == "all" else part
                if named in name:
                    weight.mul_(factor)
    return model


def right() -> Tensor:
    with torch.no_grad():
        return net()(X).argmax(1)


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor, Tensor]]] = {
    "an answer that is nothing": lambda: (net(head=0.0), X, Y),
    "branches that give nothing": lambda: (net(last=0.0), X, Y),
    "weights of nothing": lambda: (net(all=0.0), X, Y),
    "weights of next to nothing": lambda: (net(all=1e-12), X, Y),
    "weights below the normal numbers": lambda: (net(all=1e-20), X, Y),
    "weights that overflow": lambda: (net(all=1e30), X, Y),
    "an answer beyond doubt": lambda: (net(head=1e4), X, right()),
    "all right": lambda: (net(), X, right()),
    "all wrong": lambda: (net(), X, (right() + 1) % 5),
    "one class": lambda: (net(), X, Y * 0),
    "one output": lambda: (net(3, 1), X, Y * 0),
    "one block": lambda: (net(1), X, Y),
    "one image": lambda: (net(), X[:1], Y[:1]),
    "two images": lambda: (net(), X[:2], Y[:2]),
    "one image many times": lambda: (net(), X[:1].expand(24, -1, -1, -1).contiguous(), Y),
    "black images": lambda: (net(), X * 0, Y),
}
STUDIES: dict[str, tuple[str, dict[str, Any]]] = {
    "deletions": ("lesion", {}),
    "duplicates": ("lesion", {"edit": "duplicate"}),
    "orders": ("lesion", {"edit": "permute", "tau": (1, 0.5), "draws": 3}),
    "ranges": ("lesion", {"edit": "ranges"}),
    "counts": ("lesion", {"counts": (1, 2), "draws": 3}),
    "by class": ("lesion", {"by": "class"}),
    "area under the curve": ("lesion", {"metric": "auc"}),
    "as precise as asked": ("lesion", {"precision": 5.0}),
    "statistics anew": ("lesion", {"recalibrate": X[:16] + 0.1}),
    "control": ("control", {}),
    "paths": ("paths", {"samples": 20, "signs": 2}),
    "responses": ("responses", {"costs": True}),
    "lens": ("lens", {}),
    "flow": ("flow", {}),
    "influence": ("influence", {}),
    "attribute": ("attribute", {}),
    "gates": ("gates", {}),
    "greedy": ("greedy", {}),
    "agreement": ("agreement", {"draws": 3, "counts": (1, 2)}),
    "interactions": ("interactions", {"draws": 40}),
    "interactions of the loss": ("interactions", {"draws": 40, "what": "loss"}),
    "append": ("append", {"steps": 3, "draws": 1}),
}


CASES["weights that are no numbers"] = lambda: (net(last=float("nan")), X, Y)
NOT_ALIKE = [study for study, (name, _) in STUDIES.items() if name != "lesion"]


@cache
def ready(case: str) -> rp.Prepared:
    model, images, labels = CASES[case]()
    return rp.prepare(model, data=(images, labels))


@pytest.mark.many(24)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("study", STUDIES)
def test_it_is_a_table_words_and_a_figure_or_refused(study, case, tmp_path) -> None:
    name, options = STUDIES[study]
    try:
        result = getattr(rp, name)(ready(case), **options)
    except ProbeError as error:
        assert "\n" not in str(error)
        return
    said = row(name).summarize(result)
    assert not re.search(r"\b(nan|inf)\b", said, re.IGNORECASE), said
    assert not re.search(rf"(?<![\w.,^–-])1 (?:{NOUNS})s\b", said), said  # one is no several
    for figure in figures.draw_all(result).values():
        figure.canvas.draw()
        plt.close(figure)
    result.save(tmp_path / "run")
    again = Result.load(tmp_path / "run")
    assert row(name).summarize(again) == said


@pytest.mark.parametrize("study", ["deletions", "as precise as asked", *NOT_ALIKE])
def test_what_is_not_finite_is_refused(study) -> None:
    """By the name of the weight, where the study looks at them before it begins."""
    name, options = STUDIES[study]
    looks = "" if name in ("lesion", "paths") else "1.last.weight of Sequential holds 144 NaN"
    for case, said in (
        ("weights that are no numbers", looks or "not finite"),
        ("weights that overflow", "not finite"),
    ):
        with pytest.raises(ProbeError, match=said):
            getattr(rp, name)(ready(case), **options)


def test_what_is_undefined_is_said_in_words() -> None:
    nothing = ready("weights of nothing")
    words = {name: row(name).summarize(getattr(rp, name)(nothing)) for name in ("flow", "paths")}
    assert "no gradient reaches the blocks" in words["flow"]
    assert "the last state is nothing on every image: it has no parts" in words["flow"]
    assert "no image has a gradient there, and no path carries any" in words["paths"]
    table = rp.interactions(nothing, draws=40)
    assert "undefined: nothing varies" in row("interactions").summarize(table)
    single = row("append").summarize(rp.append(ready("all right"), steps=2, draws=1))
    assert "95 % CI" not in single  # of one draw
    with pytest.raises(ProbeError, match="are not finite"):
        rp.append(ready("weights that overflow"), steps=2, draws=1)


def test_a_report_states_what_is_undefined() -> None:
    nothing = ready("weights of nothing")
    paths = short_paths(rp.paths(nothing, samples=5, signs=2))
    assert "no path carries any" in str(paths.answer) and paths.verdict == UNDECIDED
    assert "Nothing passes the shortcuts" in str(small_residuals(rp.responses(nothing)).sentence)
    foretells = foretold(rp.gates(nothing))
    assert "R² over the 3 blocks is undefined at a gate of 0" in str(foretells.sentence)


def test_that_no_image_changed_decides_nothing() -> None:
    """Of an answer that is nothing all changes are 0, and none tells how sure that is."""
    nothing = ready("an answer that is nothing")
    cut = rp.lesion(nothing, edit="cut")
    assert (cut.table["delta_pct"] == 0).all()
    assert cuts(cut).verdict == UNDECIDED and "holds" not in row("lesion").summarize(cut)
    control = rp.control(nothing)
    assert same_size(control).verdict == UNDECIDED
    assert "+0.00 points in the mean over blocks (no interval)" in row("control").summarize(control)


def test_a_path_alone_is_no_choir() -> None:
    """Judged at a length that several paths have; where there is none, or no gradient, not."""
    for case in ("one block", "weights of nothing"):
        result = rp.paths(ready(case), samples=5, signs=2)
        assert path_coherence(result) is None and "voice" not in row("paths").summarize(result)
    found = path_coherence(rp.paths(ready("all right"), samples=5, signs=2))
    assert found is not None and found.sentence.values["length"] in (1, 2)
