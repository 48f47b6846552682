"""A network that keeps its images along another axis has the numbers of one that has them first."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import Tensor, nn
from toy_chains import images, labels, seeded

from resnet_probe import chain_of
from resnet_probe.runs.catalogue import ROWS, row

WIDTH, CLASSES = 6, 5

LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, int], Tensor]]] = {
    "first": (lambda h: h, lambda h, n: h),
    "second": (lambda h: h.transpose(0, 1), lambda h, n: h.transpose(0, 1)),
    "last": (lambda h: h.permute(1, 2, 0), lambda h, n: h.permute(2, 0, 1)),
    "images and positions": (lambda h: h.reshape(-1, WIDTH), lambda h, n: h.view(n, -1, WIDTH)),
    "positions and images": (
        lambda h: h.transpose(0, 1).reshape(-1, WIDTH),
        lambda h, n: h.view(-1, n, WIDTH).transpose(0, 1),
    ),
}
"""How a state `[n, t, c]` lies between the blocks, and back."""


class Network(nn.Module):
    """Two blocks, the second with what the first one was given beside its own input."""

    def __init__(self, layout: str, inside: bool = False) -> None:
        super().__init__()
        self.there, self.back = LAYOUTS[layout]
        self.inside = inside
        self.stem = nn.Conv2d(3, WIDTH, 4, 4)
        self.mix = nn.Linear(16, 16)
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 9), nn.ReLU(), nn.Linear(9, WIDTH)) for _ in range(2)
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def positions(self, h: Tensor) -> Tensor:
        return self.mix(h.transpose(1, 2)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        h, n = self.stem(x).flatten(2).transpose(1, 2), x.shape[0]
        if self.inside:  # the sums alone lie otherwise
            h = self.back(self.there(h) + self.there(self.positions(h)), n)
            for mlp in self.mlps:
                h = self.back(self.there(h) + self.there(mlp(h)), n)
            return self.head(h.mean(1))
        h = self.there(h)
        h = h + self.there(self.positions(self.back(h, n)))
        for mlp in self.mlps:
            h = h + self.there(mlp(self.back(h, n)))
        return self.head(self.back(h, n).mean(1))


class Long(Network):
    """A U-Net's skip: what is carried beside the state lies otherwise, too."""

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        h = skip = self.there(self.stem(x).flatten(2).transpose(1, 2))
        for mlp in self.mlps:
            h = h + self.there(mlp(self.back(h, n)))
        h = torch.cat([self.back(h, n), self.back(skip, n)], dim=1)
        return self.head(h.mean(1))


FEW = {"paths": {"signs": 2, "samples": 4, "images_per_path": 1}, "attribute": {"permutations": 2}}


def tables(net: nn.Module, studies: list[str]) -> dict[str, pd.DataFrame]:
    x, y = images(5, side=16), labels(5, classes=CLASSES)
    chain = chain_of(net, x)
    assert torch.equal(chain(x), net(x))
    return {name: row(name).study.function("")(chain, x, y, **FEW.get(name, {})).table
            for name in studies}  # fmt: skip


STUDIES = [each.name for each in ROWS if each.name != "append"]  # it puts convolutions there
USUAL: dict[type, dict[str, pd.DataFrame]] = {}


@pytest.mark.many(3)
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("layout", list(LAYOUTS)[1:])
def test_every_study_gives_the_numbers_of_the_usual_layout(layout, inside):
    if Network not in USUAL:
        USUAL[Network] = tables(seeded(lambda: Network("first")).eval(), STUDIES)
    found = tables(seeded(lambda: Network(layout, inside)).eval(), STUDIES)
    for name, table in found.items():
        assert_same(table, USUAL[Network][name])


@pytest.mark.many(4)
@pytest.mark.parametrize("layout", list(LAYOUTS)[1:])
def test_so_does_one_with_a_long_skip(layout):
    studies = ["lesion", "paths", "flow"]
    usual = tables(seeded(lambda: Long("first")).eval(), studies)
    for name, table in tables(seeded(lambda: Long(layout)).eval(), studies).items():
        assert_same(table, usual[name])


def assert_same(found, usual):
    said = [name for name in found if name not in ("name", "shortcut", "module", "uncut")]
    assert_frame_equal(found[said], usual[said], rtol=1e-4, atol=1e-4)
