"""The studies that claims need of some networks, and whether they lie there already.

What a study's result is called is known once its network is loaded, cut and proven and its images
are read. So the names are kept in `runs/.networks`, under the options and files that they follow
from: where all of a network's studies lie there, it is not loaded again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from resnet_probe.claims import CLAIMS, Claim, Exhibit, lesions, needed
from resnet_probe.claims.controls import RENEWED
from resnet_probe.claims.evidence import FRESH
from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared
from resnet_probe.loading.request import Request
from resnet_probe.loading.untrained import UNTRAINED, untrained
from resnet_probe.results import Result, provenance, unless_refused
from resnet_probe.runs import kept
from resnet_probe.runs.evidence import (
    Ask,
    claim_asks,
    counts_of,
    fitting_jobs,
    fresh_asks,
    twin_asks,
)
from resnet_probe.runs.job import RUNS, Job, place_apart

NETWORKS = RUNS / ".networks"
"""Where the names of studies are kept, a file a network."""
SAID = ("study", "arch", "blocks", "residual", "data", "note", "weights", "normalize")
"""What an exhibit says before its table is there."""
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Needed:
    """A study that claims may be judged on: the exhibit that it will be, and what determines it.

    `job` measures it; None where the network was not loaded, because its result was found before.
    """

    exhibit: Exhibit
    identity: dict[str, Any]
    stem: str
    job: Job | None = field(default=None, repr=False)

    @classmethod
    def of(cls, ask: Ask, job: Job) -> Needed:
        """What that job of an ask will give."""
        exhibit = _without_table(ask.study, job.networks[0])
        return cls(exhibit, provenance.plain(job.identity), job.stem, job)

    @property
    def name(self) -> str:
        """`lesion of resnet20`."""
        return f"{self.identity['study']} of {self.exhibit.arch}"

    @property
    def folder(self) -> Path:
        return place_apart(RUNS / self.stem, self.identity)

    @cached_property
    def found(self) -> Result | None:
        """The result, where it lies whole in its folder."""
        with suppress(ProbeError):
            result = Result.load(self.folder)
            return None if provenance.difference(self.identity, result.identity) else result
        return None


def needed_studies(
    requests: Sequence[Request],
    *,
    claims: Sequence[Claim] = CLAIMS,
    seed: int = 0,
    saved: bool = False,
    say: Say = print,
) -> list[Needed]:
    """The studies of some networks that a claim would be judged on, and no others.

    Beside each network those of its untrained twin; where it has none, `say` is told why.  A
    network is loaded where one of them is not there yet, unless only those that are `saved` count.
    """
    asked = [_kept(request, seed, say) or _loaded(request, seed, say) for request in requests]
    wanted = _wanted(asked, claims)
    for place, request in enumerate(requests):
        mine = [each for each in asked[place] if id(each.exhibit) in wanted]
        if not saved and any(each.job is None and each.found is None for each in mine):
            asked[place] = _loaded(request, seed, lambda _: None)
    wanted = _wanted(asked, claims)
    return [each for some in asked for each in some if id(each.exhibit) in wanted]


@contextmanager
def forgotten_if_refused() -> Iterator[None]:
    """Inside, what networks need is kept; where a request is refused, nothing of it stays."""
    before = set(NETWORKS.glob("*"))
    with unless_refused(NETWORKS):
        try:
            yield
        except ProbeError:
            for place in set(NETWORKS.glob("*")) - before:
                place.unlink(missing_ok=True)
            raise


def structures(names: Sequence[str]) -> list[Result]:
    """One result a network, or a part of one, by name: its counts, kept once they are made."""
    place = NETWORKS / f"structures-{_digits({})}.json"
    known: dict[str, Any] = {}
    with suppress(ProbeError):
        known = provenance.read(place)
    counts = {name: known.get(name) or counts_of(name) for name in names}
    if counts.keys() - known.keys():
        _write(place, {**known, **counts})
    return [
        Result("structure", pd.DataFrame([{"arch": name, **row}]),
               {"identity": {"study": "structure", "arch": name}})
        for name, row in counts.items()
    ]  # fmt: skip


def _wanted(asked: Sequence[Sequence[Needed]], claims: Sequence[Claim]) -> set[int]:
    exhibits = (each.exhibit for some in asked for each in some)
    return {id(exhibit) for exhibit in needed(exhibits, claims)}


def _loaded(request: Request, seed: int, say: Say) -> list[Needed]:
    """All studies of a network and of its twin, whatever is claimed, each with its job."""
    said: list[str] = []
    found = []
    for one, ready, asks in _with_twin(request, said.append):
        fit = [ask for ask in asks if _says_something(ask, ready)]
        jobs = fitting_jobs(fit, one, ready, seed=seed)[0]
        found += [Needed.of(ask, job) for ask, some in jobs.items() for job in some]
    for sentence in said:
        say(sentence)
    _keep(request, seed, found, said)
    return found


def _place(request: Request, seed: int) -> Path | None:
    aside = ("device", "workers", "stream")  # they do not change what is measured
    options = {name: value for name, value in vars(request).items() if name not in aside}
    return None if request.model else NETWORKS / f"{_digits({**options, 'seed': seed})}.json"


def _digits(options: Mapping[str, Any]) -> str:
    """Of what follows from these options, the files that they name and those of this package."""
    asked = kept.question(options, rules=False)
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def _keep(request: Request, seed: int, found: Sequence[Needed], said: Sequence[str]) -> None:
    place = _place(request, seed)
    if place is None:
        return
    studies = [
        {**{name: getattr(each.exhibit, name) for name in SAID}, "identity": each.identity,
         "stem": each.stem}
        for each in found
    ]  # fmt: skip
    _write(place, {"said": list(said), "studies": studies})


def _write(place: Path, record: Mapping[str, Any]) -> None:
    """Whole or not at all; that it cannot be written costs time, and no more."""
    half = place.with_suffix(".partial")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        provenance.write(half, record)
        half.replace(place)


def _kept(request: Request, seed: int, say: Say) -> list[Needed] | None:
    """What `_loaded` found before from the same options and files."""
    place = _place(request, seed)
    if place is None:
        return None
    try:
        record = provenance.read(place)
        found = [_of_record(each) for each in record["studies"]]
    except (ProbeError, KeyError, TypeError):
        return None
    for sentence in record["said"]:
        say(sentence)
    return found


def _of_record(record: dict[str, Any]) -> Needed:
    said = {name: record[name] for name in SAID}
    return Needed(Exhibit(table=pd.DataFrame(), **said), record["identity"], record["stem"])


def _with_twin(request: Request, say: Say) -> Iterator[tuple[Request, Prepared, tuple[Ask, ...]]]:
    ready = request.prepared()
    initial = ready.network.source.startswith(FRESH)
    yield request, ready, fresh_asks() if initial else claim_asks()
    if request.twin is not None or initial:
        return
    try:
        twin = untrained(ready, data_root=request.data_root)
    except ProbeError as reason:
        say(f"Without an untrained twin: {reason}")
        return
    yield replace(request, twin=UNTRAINED), twin, twin_asks()


def _says_something(ask: Ask, ready: Prepared) -> bool:
    """Whether a claim could be about such a study of such a network."""
    from resnet_probe.studies.plan import reachable_taus

    chain, family = ready.chain, ready.network.arch.family
    if ask.study == "lesion-permute-tau":
        judged = lesions.TAUS
        return min(map(len, chain.stages)) >= 4 and len(reachable_taus(chain, judged)) == len(
            judged
        )
    if ask.study in ("lesion-counts", "lesion-duplicate"):
        return chain.residual and sum(block.keeps_shape for block in chain) > max(lesions.COUNTS)
    if ask.study == "responses-init" and (family != "preresnet" or len(chain) < 12):
        return False
    if ask.study == RENEWED and ask.recalibration(ready) is None:
        return False
    return chain.residual or ask.study in ("lesion", RENEWED, "responses", "flow")


def _without_table(study: str, ready: Prepared) -> Exhibit:
    return Exhibit(
        study=study,
        arch=ready.network.arch.spec,
        table=pd.DataFrame(),
        blocks=len(ready.chain),
        residual=ready.chain.residual,
        data=ready.image_set.name,
        note=ready.image_set.note,
        weights=ready.network.source,
        normalize=ready.normalize,
    )
