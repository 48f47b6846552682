"""The tables that claims are judged on, and how a claim finds those that it needs.

A study's result says in its provenance which network and images it is of; here results of several
networks are taken apart, so that every piece of evidence is one study of one network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from resnet_probe.results import Result

CLASSES = {"digits": 10, "cifar10": 10, "fashion_mnist": 10, "cifar100": 100}


INITIAL = "responses-init"


class NotHere(Exception):
    """The evidence for a claim is missing; the message says what would be needed."""


@dataclass(frozen=True)
class Piece:
    """One study of one network: its table and what the provenance says of both."""

    study: str
    arch: str
    table: pd.DataFrame
    blocks: int
    residual: bool
    data: str
    note: str = ""
    classes: int | None = None

    @property
    def family(self) -> str:
        """The name without depth and options: resnet, preresnet, plain, vgg."""
        found = re.match(r"[a-z]+", self.arch.lower())
        return found.group() if found else self.arch

    @property
    def depth(self) -> int:
        """The number of layers in the name, 0 where it has none."""
        found = re.match(r"[a-z]+(\d+)", self.arch.lower())
        return int(found.group(1)) if found else 0

    @property
    def images(self) -> int:
        """How many images the table is about; 0 where it is about none."""
        return int(self.table["images"].max()) if "images" in self.table else 0


@dataclass(frozen=True)
class Chosen:
    """The pieces that one claim is judged on, in the order in which its rule takes them."""

    pieces: tuple[Piece, ...]
    note: str = ""

    @property
    def first(self) -> Piece:
        return self.pieces[0]


@dataclass(frozen=True)
class Evidence:
    """All pieces that there are."""

    pieces: tuple[Piece, ...]

    @classmethod
    def of(cls, results: Iterable[Result]) -> Evidence:
        """From the results of studies; one of several networks gives several pieces.

        Responses of one network at several initial weights are one piece, a `seed` each.
        """
        found: dict[tuple[str, str], list[Piece]] = {}
        for place, piece in enumerate(piece for result in results for piece in _pieces(result)):
            initial = piece.study == INITIAL
            found.setdefault((piece.study, piece.arch if initial else str(place)), []).append(piece)
        return cls(tuple(_one_piece(pieces) for pieces in found.values()))

    def all(self, study: str) -> list[Piece]:
        return [piece for piece in self.pieces if piece.study == study]


Chooser = Callable[[Evidence], Chosen]


def one(
    study: str,
    *names: str,
    least: int = 1,
    most: int | None = None,
    residual: bool = True,
    family: str = "",
) -> Chooser:
    """The first of `names` that was studied, else any network of that kind.

    A network is of the kind if it is residual (or plain), has `least` to `most` blocks, and is of
    that family, where one is named.
    """

    def fits(piece: Piece) -> bool:
        right = piece.residual == residual and family in ("", piece.family)
        return right and least <= piece.blocks and (most is None or piece.blocks <= most)

    def choose(evidence: Evidence) -> Chosen:
        found = [piece for piece in evidence.all(study) if fits(piece)]
        if not found:
            there = ", ".join(f"{p.arch} ({p.blocks})" for p in evidence.all(study))
            kind = _kind(residual, least, most, family)
            raise NotHere(f"needs {study} of {kind}" + (f"; there is {there}" if there else ""))
        named = [piece for name in names for piece in found if _base(piece) == name]
        return Chosen(((named or found)[0],))

    return choose


def series(study: str, *families: str, least: int = 2) -> Chooser:
    """All depths of a residual family, the shallow first; the first family with enough depths."""

    def choose(evidence: Evidence) -> Chosen:
        for family in families:
            found = [p for p in evidence.all(study) if p.family == family and p.residual]
            depths = sorted({p.depth: p for p in found}.values(), key=lambda piece: piece.depth)
            if len(depths) >= least:
                return Chosen(tuple(depths))
        name = families[-1]
        raise NotHere(f"needs {study} of {least} depths, such as {name}20 and {name}56")

    return choose


def pair(study: str) -> Chooser:
    """A residual network and the plain one of the same depth."""

    def choose(evidence: Evidence) -> Chosen:
        found = evidence.all(study)
        for residual in (p for p in found if p.residual and p.family == "resnet"):
            for plain in (p for p in found if p.family == "plain"):
                if plain.depth == residual.depth:
                    return Chosen((residual, plain))
        raise NotHere(f"needs {study} of a residual and a plain network of one depth")

    return choose


def together(*choosers: Chooser) -> Chooser:
    """What each of the choosers picks, one after the other."""

    def choose(evidence: Evidence) -> Chosen:
        chosen = [chooser(evidence) for chooser in choosers]
        return Chosen(tuple(piece for part in chosen for piece in part.pieces))

    return choose


def _base(piece: Piece) -> str:
    return piece.arch.partition(":")[0]


def _kind(residual: bool, least: int, most: int | None, family: str) -> str:
    what = "a residual network" if residual else "a plain network"
    if family:
        what = f"a {family}"
    if most is not None:
        return f"{what} of {most} blocks" if least == most else f"{what} of at most {most} blocks"
    return f"{what} of at least {least} blocks" if least > 1 else what


def _pieces(result: Result) -> list[Piece]:
    record, identity = result.provenance, result.identity
    table = result.table
    archs = [str(identity.get("arch", ""))]
    if "arch" in table and table["arch"].nunique() > 1:
        archs = [str(arch) for arch in dict.fromkeys(table["arch"])]
    data = str(identity.get("data", ""))
    return [
        Piece(
            study=_study(result),
            arch=arch,
            table=table[table["arch"] == arch].reset_index(drop=True) if len(archs) > 1 else table,
            blocks=int(_nth(record.get("blocks"), place) or 0),
            residual=bool(_nth(record.get("residual", True), place)),
            data=data,
            note=str(identity.get("data_note") or ""),
            classes=record.get("classes") or CLASSES.get(data),
        )
        for place, arch in enumerate(archs)
    ]


def _one_piece(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1 and (pieces[0].study != INITIAL or "seed" in pieces[0].table):
        return pieces[0]
    tables = [piece.table.assign(seed=place) for place, piece in enumerate(pieces)]
    return replace(pieces[0], table=pd.concat(tables, ignore_index=True))


def _study(result: Result) -> str:
    """The study's name; responses of fresh networks are evidence of another kind."""
    return INITIAL if result.identity.get("init") else result.study


def _nth(value: Any, place: int) -> Any:
    return value[place] if isinstance(value, list) else value
