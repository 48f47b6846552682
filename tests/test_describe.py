"""`describe`: what a network consists of, the names there are, the tables of the paper."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from small_networks import SMALL, count, side, small_net

from resnet_probe import models
from resnet_probe.cli import main
from resnet_probe.describe import describe, size_of
from resnet_probe.loading import cut
from resnet_probe.models import paper_tables


@pytest.mark.many(4)
@pytest.mark.parametrize("spec", SMALL)
def test_rows_add_up_to_the_network(spec: str) -> None:
    """Also where shortcut and branch have a gate in common, which then counts once."""
    model, shape = small_net(spec), (3, side(spec), side(spec))
    example = torch.zeros(1, *shape)
    table = describe(cut(models.architecture(spec), model, example), example)
    whole = size_of(model, shape)
    assert table["parameters"].sum() == whole.parameters == count(model)
    assert table["multiply_adds"].sum() == whole.multiply_adds


def test_a_gated_block_in_closed_form() -> None:
    example = torch.zeros(1, 3, 8, 8)
    arch = models.architecture("resnet:depth=8,shortcut=gated,width=4")
    table = describe(cut(arch, arch.build(seed=0), example), example).set_index("number")
    assert table.loc[1, "multiply_adds"] == 64 * (2 * 9 * 4 * 4 + 4 * 4)
    assert table.loc[1, "shortcut"] == "gated"


def test_size_without_computing_anything() -> None:
    with torch.device("meta"):
        model = models.architecture("resnet20").build().eval()
        size = size_of(model, (3, 32, 32))
    assert (size.parameters, round(size.multiply_adds / 1e6, 1)) == (269_722, 40.6)


def test_describe_says_what_deletion_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--arch", "resnet:depth=8,shortcut=gated,width=4"]) == 0
    said = capsys.readouterr().out
    assert "3 blocks in 3 stages" in said
    assert "note: a block adds (1 − g(x))·x and g(x)·F(x): deleting it drops g(x)·F(x)" in said


def test_list_has_every_name_on_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert set(models.names()) <= {word for line in lines for word in line.split()}
    assert len(lines) <= 24 and max(map(len, lines)) <= 100


def test_list_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--list", "--options"]) == 0
    said = capsys.readouterr().out
    words = said.split()
    assert set(models.names()) <= set(words)
    assert {f"{name}:" for name in models.ABOUT} <= set(words)
    assert {"resnet:depth=6n+2", "wrn:depth=6n+4,widen=…", "order=original"} <= set(words)
    assert max(len(line) for line in said.splitlines()) <= 100


def test_paper_prints_counts_beside_what_is_published(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper_tables, "cifar_table", partial(paper_tables.cifar_table, (20, 56)))
    assert main(["describe", "--paper"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    assert lines["resnet50"][1:5] == ["bottleneck", "25,557,032", "3,857,973,248", "3.8"]
    assert lines["resnet56"][:2] == ["resnet56", "C"]
    assert lines["published:"][1:6] == ["arXiv", "1512.03385", "Table", "1,", "arXiv"]
