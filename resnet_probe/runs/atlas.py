"""A list of networks, each measured by a few studies, merged into one long table.

The list is a CSV file.  Its columns are the options of a network and its images, as any command has
them (`arch`, `weights`, `zoo`, `data`, `limit`, …), and three more: `name`, `family` and `studies`.
Every study has the run folder that its own command writes to, so that what lies there is taken as
it is, and an atlas that was ended goes on from there.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from resnet_probe.claims.evidence import FRESH, TWIN
from resnet_probe.data.files import text_of
from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.findings.atlas import COLUMNS, FACTS, Row, row, rows_of
from resnet_probe.loading.request import Request
from resnet_probe.results import Result
from resnet_probe.runs.evidence import FEW, MORE, STATISTICS, Ask, fitting_jobs
from resnet_probe.runs.job import Job, Look, Obtained, versions
from resnet_probe.runs.parts import PART, Parts
from resnet_probe.stats.bootstrap import exact
from resnet_probe.studies.parts import Part
from resnet_probe.studies.study import Resources

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualChain
    from resnet_probe.loading import Prepared

NAME = "atlas"
OWN = ("name", "family", "studies")
"""Columns beside those of a `Request`."""
BEYOND = "beyond the columns"
ASKS = (
    Ask("lesion", "lesion", {}, MORE, recalibrate=STATISTICS),
    Ask("responses", "responses", {"costs": True}, FEW),
    Ask("paths", "paths", {"method": "all", "signs": 8}, 64),
    Ask("interactions", "interactions", {"keep": (0.9,), "draws": 100}, 32),
)
"""What a network is asked, on how many images at most.  The lesion is that of a report."""
OF_TRAINING = ("lesion",)
"""Studies that say nothing of a network before training."""
UNDRAWN = Look(formats=())
Say = Callable[[str], None]


@dataclass(frozen=True)
class Listed:
    """A row of the list: the `request` that it makes, or the `reason` why it makes none.

    `given` are its cells, those that are not empty; `studies` some of those in `ASKS`.
    """

    name: str
    given: Mapping[str, str]
    request: Request | None = None
    studies: tuple[str, ...] = ()
    reason: str = ""

    @property
    def family(self) -> str:
        return self.given.get("family", "")


@dataclass(frozen=True)
class Atlas:
    """The networks of a list, in order; `seed` is that of all studies."""

    listed: tuple[Listed, ...]
    seed: int = 0
    command: str = ""

    @classmethod
    def read(cls, path: Path, *, seed: int = 0, command: str = "") -> Atlas:
        """Raises `ProbeError` for a file that is no list; a row that is wrong keeps its reason."""
        return cls(tuple(_listed(_cells(path))), seed, command)

    @classmethod
    def again(cls, identity: Mapping[str, Any], *, command: str = "") -> Atlas:
        """The atlas of that identity."""
        return cls(tuple(_listed(identity["networks"])), int(identity["seed"]), command)

    @property
    def identity(self) -> dict[str, Any]:
        rows = [dict(sorted(each.given.items())) for each in self.listed]
        return {"study": NAME, "networks": rows, "seed": self.seed}

    def of(self, part: Part) -> tuple[Listed, ...]:
        """The networks of one part: every so many-th."""
        found = self.listed[part.number - 1 :: part.of]
        if not found:
            raise ProbeError(f"part={part}: the list has only {len(self.listed)} networks")
        return found

    def result(
        self,
        *,
        part: Part | None = None,
        root: Path | None = None,
        resources: Resources | None = None,
        say: Say = print,
    ) -> Result:
        """The table of all networks, or of those of a part, each study found or measured.

        A network that cannot be measured is said and named in the table, and the others go on.
        """
        mine = self.listed if part is None else self.of(part)
        found: list[Row] = []
        runs: list[dict[str, Any]] = []
        for place, each in enumerate(mine, start=1):
            say(f"[{place} of {len(mine)}] {each.name}")
            rows, identities = Member(each, self.seed).measured(root, resources, say)
            found += rows
            runs += identities
        identity = self.identity if part is None else {**self.identity, PART: str(part)}
        return self._made(pd.DataFrame(found), runs, identity)

    def merged(self, parts: Parts) -> Result:
        """Of the parts of this atlas, in the order of the list."""
        tables = [result.table for result in parts.results]
        order = {each.name: place for place, each in enumerate(self.listed)}
        table = pd.concat(tables, ignore_index=True)
        place = table["network"].map(order)
        table = table.iloc[place.argsort(kind="stable")].reset_index(drop=True)
        runs = [run for result in parts.results for run in result.provenance["runs"]]
        return self._made(table, runs, self.identity)

    def _made(
        self, table: pd.DataFrame, runs: Sequence[Mapping[str, Any]], identity: Mapping[str, Any]
    ) -> Result:
        table = table.reindex(columns=list(COLUMNS))
        record = {"command": self.command, "versions": versions(), "runs": list(runs)}
        return Result(NAME, table, {**record, "identity": dict(identity)})


@dataclass(frozen=True)
class Member:
    """One network of an atlas, and what it is asked."""

    listed: Listed
    seed: int = 0

    def jobs(self) -> tuple[dict[Ask, Job], dict[str, str], Prepared]:
        """A job of each study that suits it, why others do not, and the network.

        Raises `ProbeError` for a row that makes no request, and what preparing it refuses.
        """
        if self.listed.request is None:
            raise ProbeError(self.listed.reason)
        ready = self.listed.request.prepared()
        asks = [ask for ask in ASKS if ask.study in self.listed.studies]
        if not is_trained(ready):
            asks = [ask for ask in asks if ask.study not in OF_TRAINING]
        jobs, absent = fitting_jobs(asks, self.listed.request, ready, seed=self.seed)
        return {ask: found[0] for ask, found in jobs.items()}, absent, ready

    def measured(
        self, root: Path | None, resources: Resources | None, say: Say
    ) -> tuple[list[Row], list[dict[str, Any]]]:
        """Its rows, and the identities of the runs that they are from."""
        try:
            jobs, absent, ready = self.jobs()
        except (ProbeError, RuntimeError) as error:
            say(f"{self.listed.name} is left out: {_said(error)}")
            return [self._missing(_said(error))], []
        results: dict[str, Result] = {}
        for ask, job in jobs.items():
            try:
                obtained = job.obtain(job.folder(root), resources=resources, look=UNDRAWN, say=say)
            except (ProbeError, RuntimeError) as error:
                absent[ask.study] = _said(error)
                say(f"{self.listed.name}, {ask.study}: {absent[ask.study]}")
            else:
                results[ask.study] = obtained.result
                say(f"  {ask.study}: {_how(obtained)}")
        return self._rows(ready, results, absent), [each.identity for each in results.values()]

    def _rows(
        self, ready: Prepared, results: Mapping[str, Result], absent: Mapping[str, str]
    ) -> list[Row]:
        trained = is_trained(ready)
        known = {
            **self._known(trained=trained, residual=ready.chain.residual),
            "arch": ready.network.arch.spec,
            "weights": ready.network.source,
            "data": _data(ready),
        }
        facts = facts_of(ready.chain)
        rows = [row(name, exact(facts[name]), unit) for name, unit in FACTS.items()]
        rows += rows_of(results, absent, trained=trained)
        return [{**known, **each} for each in rows]

    def _known(self, *, trained: bool = False, residual: bool = False) -> Row:
        family = self.listed.family
        return {"network": self.listed.name, "family": family, "trained": trained,
                "residual": residual}  # fmt: skip

    def _missing(self, why: str) -> Row:
        """The one row of a network that could not be measured."""
        given = {key: self.listed.given.get(key, "") for key in ("arch", "weights", "data")}
        nothing = row("blocks", exact(float("nan")), FACTS["blocks"], why=why)
        return {**self._known(), **given, **nothing}


def is_trained(ready: Prepared) -> bool:
    return not ready.network.source.startswith((FRESH, TWIN))


def facts_of(chain: ResidualChain) -> dict[str, float]:
    """How many blocks and stages, and how wide: the mean number of channels that the weights of a
    branch give, in the median over blocks."""
    widths = []
    for block in chain:
        given = [max(w.shape[:2]) if w.dim() == 2 else w.shape[0]
                 for w in block.branch.parameters() if w.dim() > 1]  # fmt: skip
        if given:
            widths.append(sum(given) / len(given))
    middle = float(pd.Series(widths, dtype=float).median())
    return {"blocks": len(chain), "width": middle, "stages": len(chain.stages)}


def _data(ready: Prepared) -> str:
    note = ready.image_set.note
    return ready.image_set.name + (f" ({note})" if note else "")


def _said(error: BaseException) -> str:
    """In one sentence, whoever raised it."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return text if isinstance(error, ProbeError) else f"{type(error).__name__}: {text}"


def _how(obtained: Obtained) -> str:
    seconds = f"{float(obtained.result.provenance.get('seconds', 0)):,.1f} s"
    return f"there already ({seconds} saved)" if obtained.found else f"measured in {seconds}"


def _cells(path: Path) -> list[dict[str, str]]:
    """The rows of a file, their cells that are not empty; `BEYOND` has what no column is for."""
    text = StringIO(text_of(path, what="a list of networks"), newline="")
    reader = csv.DictReader(text, restkey=BEYOND, strict=True)
    try:
        rows, columns = list(reader), reader.fieldnames
    except csv.Error as error:
        raise ProbeError(f"{path} cannot be read as a list of networks ({error})") from error
    if not columns:
        raise ProbeError(f"{path} lists no network: it is empty")
    _check_columns(path, columns)
    if not rows:
        raise ProbeError(f"{path} lists no network: it has a header and no row")
    return [{key: str(text).strip() for key, text in cells.items() if text and str(text).strip()}
            for cells in rows]  # fmt: skip


def _listed(rows: Sequence[Mapping[str, str]]) -> Iterator[Listed]:
    """Each row with its request, or the reason why it has none."""
    seen: dict[str, int] = {}
    for number, given in enumerate(rows, start=1):
        one = _one(given, number)
        if one.name in seen:
            again = f"row {seen[one.name]} is called {one.name!r} too: tell them apart by name="
            one = replace(one, name=f"{one.name} (row {number})", request=None, reason=again)
        seen[one.name] = number
        yield one


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    known = [*OWN, *(each.name for each in Request.options())]
    for place, column in enumerate(columns):
        if column in columns[:place]:
            raise ProbeError(f"{path} has two columns {column!r}: leave one of them out")
        if column not in known:
            there = ", ".join(known) + did_you_mean(column, known)
            raise ProbeError(
                f"{path} has a column {column!r}, which no network has: there are {there}"
            )
    if not {"arch", "model"} & set(columns):
        raise ProbeError(f"{path} has no column arch: a list of networks says which they are")


def _one(given: Mapping[str, str], number: int) -> Listed:
    words = [given[key] for key in ("arch", "model", "zoo", "weights", "twin") if key in given]
    name = given.get("name") or " ".join(words) or f"row {number}"
    listed = Listed(name, given)
    try:
        if BEYOND in given:
            raise ProbeError("it has more cells than there are columns")
        return replace(listed, request=_request(given), studies=_studies(given.get("studies", "")))
    except ProbeError as error:
        return replace(listed, reason=f"row {number}: {error}")


def _request(given: Mapping[str, str]) -> Request:
    values: dict[str, Any] = {}
    for each in Request.options():
        if each.name in given:
            read = each.read or READERS.get(each.kind, str)
            values[each.name] = read(given[each.name])
    return Request(**values)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ProbeError(f"{text!r} is no whole number") from None


def _truth(text: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false"):
        raise ProbeError(f"{text!r} is neither yes nor no")
    return text.lower() in ("yes", "true")


READERS: Mapping[type, Callable[[str], Any]] = {int: _whole, bool: _truth}


def _studies(text: str) -> tuple[str, ...]:
    known = tuple(ask.study for ask in ASKS)
    asked = tuple(text.replace(",", " ").split()) or known
    for name in asked:
        if name not in known:
            there = ", ".join(known) + did_you_mean(name, known)
            raise ProbeError(f"an atlas asks no study {name!r}: there are {there}")
    return asked
