"""The tables that claims are judged on, and how a claim finds those that it is about.

A study's result says in its provenance which network and images it is of; here results of several
networks are taken apart, so that every exhibit is one study of one network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resnet_probe.results import Result
from resnet_probe.stats import Floats

INITIAL = "-init"
"""Behind the name of a study of networks before training."""
RECALIBRATED = "-recalibrated"
"""Behind the name of a lesion with batch-norm statistics of its own."""
BUNDLED, FRESH, TWIN = "bundled ", "initial, ", "untrained twin"
"""How the name of weights begins that come with the package, or are not trained."""


class NotHere(Exception):
    """The evidence for a claim is missing; the message says what would be needed."""


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One study of one network: its table, and what the provenance says of both.

    `outcomes` are `Result.outcomes`, where the study keeps what every edit does to every image;
    `medians` keeps the median change over its edits as the images are weighted anew so many times,
    which several claims ask for at several levels;
    `facts` is the rest of the provenance.
    """

    study: str
    arch: str
    table: pd.DataFrame
    blocks: int
    residual: bool
    data: str
    note: str = ""
    classes: int | None = None
    weights: str = ""
    normalize: str = ""
    outcomes: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    medians: dict[int, Floats] = field(default_factory=dict, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_twin(self) -> bool:
        """Whether it is of an untrained network that stands beside a trained one."""
        return self.weights.startswith(TWIN)

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
    def base(self) -> str:
        """The name without options."""
        return self.arch.partition(":")[0]

    @property
    def images(self) -> int:
        """How many images the table is about; 0 where it is about none."""
        return int(self.table["images"].max()) if "images" in self.table else 0

    @property
    def network(self) -> str:
        """The architecture, and which weights it has where they are not the usual bundled ones."""
        which = self.weights
        if which.startswith(BUNDLED):
            which = " ".join(re.findall(r"effective-paths-\d+|seed\d+", which))
        elif which.startswith((FRESH, TWIN)):
            which = ""
        return f"{self.arch} ({which})" if which else self.arch

    @property
    def images_called(self) -> str:
        """The data in words: of a file or folder, its own name and its parent's are enough.

        Of how it was read, the first thing that is said: in what form it is stored.
        """
        name = self.data
        if ":" in name:
            name = "/".join(PurePath(name.partition(":")[2]).parts[-2:])
            name = re.sub(r"(-\d+-of-\d+)?\.parquet$", "", name)
        note = self.note.partition(",")[0]
        return name + (f" ({note})" if note else "")

    @property
    def on(self) -> str:
        """Which network on which images."""
        return f"{self.network} on {self.images_called}"

    @cached_property
    def differences(self) -> NDArray[np.int8]:
        """int8 `[edits, images]`, a row a row of the table but the baseline.

        1 where only the whole network is right, −1 where only the edited one is.
        """
        if "answer" not in self.outcomes:
            raise NotHere(
                f"needs what every edit does to every image: the {self.study} of {self.network} "
                "did not keep it"
            )
        right = (self.outcomes["answer"] == self.outcomes["labels"]).astype(np.int8)
        return right[:1] - right[1:]


@dataclass(frozen=True)
class Chosen:
    """The exhibits that one verdict is about, in the order in which the claim's rule takes them."""

    exhibits: tuple[Exhibit, ...]
    note: str = ""

    @property
    def first(self) -> Exhibit:
        return self.exhibits[0]

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network on its images, once."""
        return tuple(dict.fromkeys(exhibit.on for exhibit in self.exhibits))


@dataclass(frozen=True)
class Evidence:
    """All exhibits that there are."""

    exhibits: tuple[Exhibit, ...]

    @classmethod
    def of(cls, results: Iterable[Result]) -> Evidence:
        """From the results of studies; one of several networks gives several exhibits.

        A study of one network at several initial weights is one exhibit, a `seed` each.
        """
        found: dict[tuple[str, ...], list[Exhibit]] = {}
        for place, each in enumerate(each for result in results for each in _exhibits(result)):
            initial = each.study.endswith(INITIAL)
            key = (each.arch, each.data) if initial else (str(place),)
            found.setdefault((each.study, *key), []).append(each)
        return cls(_each_once([_as_one(same) for same in found.values()]))

    def all(self, study: str) -> list[Exhibit]:
        """Of trained networks, and of those that a study is about before training."""
        return [e for e in self.exhibits if e.study == study and not e.is_twin]

    def twins(self, chosen: Chosen) -> Chosen | None:
        """The same studies of the untrained twins; None where one of them is not there."""
        known = {_twins(e): e for e in self.exhibits if e.is_twin}
        keys = [_twins(e) for e in chosen.exhibits]
        found = [known[key] for key in keys if key in known]
        whole = keys and len(found) == len(keys)
        return Chosen(tuple(found), chosen.note) if whole else None


Chooser = Callable[[Evidence], list[Chosen]]
"""What a claim is judged on: one `Chosen` a verdict; raises `NotHere` where there is none."""


def each(
    study: str,
    *,
    least: int = 1,
    most: int | None = None,
    residual: bool = True,
    family: str = "",
    arch: str = "",
) -> Chooser:
    """Every network of a kind that was studied.

    A network is of the kind if it is residual (or plain), has `least` to `most` blocks, and is of
    that family, and that architecture but for its options, where one is named.
    """

    def fits(found: Exhibit) -> bool:
        right = found.residual == residual and family in ("", found.family)
        named = arch in ("", found.base)
        return right and named and least <= found.blocks and (most is None or found.blocks <= most)

    def choose(evidence: Evidence) -> list[Chosen]:
        found = [exhibit for exhibit in evidence.all(study) if fits(exhibit)]
        if not found:
            there = ", ".join(f"{e.arch} ({e.blocks})" for e in evidence.all(study))
            kind = (arch and f"a {arch}") or _kind(residual, least, most, family)
            raise NotHere(f"needs {study} of {kind}" + (f"; there is {there}" if there else ""))
        return [Chosen((exhibit,)) for exhibit in found]

    return choose


def series(study: str, *, least: int = 2) -> Chooser:
    """The depths of each residual family on the same images, the shallow first.

    The bundled ones, and others by themselves.  Of several of one depth it takes the first that was
    given.
    """

    def choose(evidence: Evidence) -> list[Chosen]:
        groups: dict[tuple[str, str, bool], dict[int, Exhibit]] = {}
        for exhibit in evidence.all(study):
            if exhibit.residual and exhibit.depth:
                bundled = exhibit.weights.startswith(BUNDLED)
                group = groups.setdefault((exhibit.family, exhibit.images_called, bundled), {})
                group.setdefault(exhibit.depth, exhibit)
        found = [
            Chosen(tuple(group[depth] for depth in sorted(group)))
            for group in groups.values()
            if len(group) >= least
        ]
        if not found:
            raise NotHere(f"needs {study} of {least} depths of one family, on the same images")
        return found

    return choose


def pairs(study: str) -> Chooser:
    """Each residual network with each plain one of the same depth, on the same images."""

    def choose(evidence: Evidence) -> list[Chosen]:
        found = [
            Chosen((residual, plain))
            for residual in evidence.all(study)
            for plain in evidence.all(study)
            if residual.residual
            and plain.family == "plain"
            and plain.depth == residual.depth
            and plain.images_called == residual.images_called
        ]
        if not found:
            raise NotHere(f"needs {study} of a residual and a plain network of one depth")
        return found

    return choose


def both(one: Chooser, other: Chooser) -> Chooser:
    """For each network that both find, what the one and then the other finds of it."""

    def choose(evidence: Evidence) -> list[Chosen]:
        second = {chosen.first.on: chosen.exhibits for chosen in other(evidence)}
        found = [
            Chosen((*chosen.exhibits, *second[chosen.first.on]))
            for chosen in one(evidence)
            if chosen.first.on in second
        ]
        if not found:
            raise NotHere("needs both studies of one network")
        return found

    return choose


def same_images(exhibit: Exhibit, data: str) -> bool:
    return exhibit.data == data and "JPEG" not in exhibit.note


def _twins(exhibit: Exhibit) -> tuple[str, ...]:
    """What a study of a network and that of its untrained twin have in common."""
    return (exhibit.study, exhibit.arch, exhibit.images_called, exhibit.normalize)


def _kind(residual: bool, least: int, most: int | None, family: str) -> str:
    what = "a residual network" if residual else "a plain network"
    if family:
        what = f"a {family}"
    if most is not None:
        return f"{what} of {most} blocks" if least == most else f"{what} of at most {most} blocks"
    return f"{what} of at least {least} blocks" if least > 1 else what


def _exhibits(result: Result) -> list[Exhibit]:
    record, identity = result.provenance, result.identity
    table = result.table
    archs = [str(identity.get("arch", ""))]
    if "arch" in table and table["arch"].nunique() > 1:
        archs = [str(arch) for arch in dict.fromkeys(table["arch"])]
    weights = str(identity.get("weights") or "")
    found = [
        Exhibit(
            study=_study(result),
            arch=arch,
            table=table[table["arch"] == arch].reset_index(drop=True) if len(archs) > 1 else table,
            blocks=int(_nth(record.get("blocks"), place) or 0),
            residual=bool(_nth(record.get("residual", True), place)),
            data=str(identity.get("data", "")),
            note=str(identity.get("data_note") or ""),
            classes=record.get("classes"),
            weights=_of_one(weights, place, len(archs)),
            normalize=str(identity.get("normalize") or ""),
            outcomes=result.outcomes if len(archs) == 1 else {},
            facts=record,
        )
        for place, arch in enumerate(archs)
    ]
    renewed = "recalibrated_error_pct" in table
    return [*found, *map(_with_own_statistics, found)] if renewed else found


def _with_own_statistics(found: Exhibit) -> Exhibit:
    """The same lesion as the networks with re-estimated statistics give it."""
    right = found.outcomes.get("recalibrated_correct")
    columns = {name: found.table[f"recalibrated_{name}"] for name in ("error_pct", "delta_pct")}
    table = found.table.drop(columns=["lost", "gained"], errors="ignore").assign(**columns)
    outcomes: dict[str, np.ndarray] = {}
    if right is not None:
        table = table.assign(lost=(right[:1] & ~right).sum(1), gained=(~right[:1] & right).sum(1))
        outcomes = {"answer": right.astype(np.int8), "labels": np.ones(right.shape[1], np.int8)}
    study = found.study + RECALIBRATED
    return replace(found, study=study, table=table, outcomes=outcomes, medians={})


def _each_once(found: Sequence[Exhibit]) -> tuple[Exhibit, ...]:
    """Without the lesion that comes with a re-estimated one, where there is one by itself."""

    def beside(exhibit: Exhibit) -> bool:
        return bool(exhibit.facts.get("identity", {}).get("recalibrate"))

    alone = {(e.study, e.on, e.weights) for e in found if not beside(e)}
    return tuple(e for e in found if not beside(e) or (e.study, e.on, e.weights) not in alone)


def _as_one(same: list[Exhibit]) -> Exhibit:
    if len(same) == 1 and (not same[0].study.endswith(INITIAL) or "seed" in same[0].table):
        return same[0]
    tables = [exhibit.table.assign(seed=place) for place, exhibit in enumerate(same)]
    return replace(same[0], table=pd.concat(tables, ignore_index=True))


def _study(result: Result) -> str:
    """The study's name; of networks before training it is evidence of another kind."""
    return result.study + (INITIAL if result.identity.get("init") else "")


def _of_one(weights: str, place: int, count: int) -> str:
    """Of the weights of several networks, which an identity lists, those of one."""
    listed = weights.split(", ")
    return listed[place] if count > 1 and len(listed) == count else weights


def _nth(value: Any, place: int) -> Any:
    return value[place] if isinstance(value, list) else value
