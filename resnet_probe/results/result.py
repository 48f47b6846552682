"""The outcome of a study, and the folder that keeps it.

A run folder holds ``table.csv``, ``provenance.json`` and the figures. It is written beside its
final place and moved there in one rename, so a reader sees the old run or the new one, whole.
``provenance.json`` carries the SHA-256 of every other file, so a file that was cut short, lost
or taken from another run is noticed when the folder is read.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
import pandas as pd

from resnet_probe.errors import ProbeError
from resnet_probe.results import provenance
from resnet_probe.results import table as csv

TABLE = "table.csv"
OUTCOMES = "outcomes.npz"
FORMATS = ("png", "svg")
DPI = 200
ROWS, COLUMNS = 5, 8
"""How much of a table is printed where a result is."""


class Drawn(Protocol):
    """Anything that saves itself as matplotlib's ``Figure`` does."""

    def savefig(self, fname: Any, **options: Any) -> Any: ...


IMAGE = re.compile(r"(?<![{\w])image(s?)\b(?![:}])")
"""The word, but not the name of a value in a template."""


@dataclass(frozen=True, repr=False)
class Result:
    """One study's table and what made it.

    ``table`` is in long form, one row an observation, units in the column names.
    ``provenance["identity"]`` holds everything that determines the table; the other entries
    are facts about the run (command, versions, device, seconds). The keys ``study``,
    ``columns`` and ``files`` are the folder's own. ``outcomes`` are what every edited network did
    with every image, where a study keeps it: ``answer`` ``[edits, images]``, the predicted class,
    ``loss`` ``[edits, images]``, the cross-entropy in nats as float16, and ``labels``
    ``[images]``, in the order of the table's rows; empty otherwise.
    """

    study: str
    table: pd.DataFrame
    provenance: dict[str, Any]
    outcomes: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """`Result(lesion of resnet20 on digits: 10 rows × 33 columns)`."""
        identity = self.provenance.get("identity") or {}
        named = [str(identity[key]) for key in ("arch", "data") if identity.get(key)]
        of = f" of {' on '.join(named)}" if named else ""
        rows, columns = self.table.shape
        return f"Result({self.study}{of}: {rows} rows × {columns} columns)"

    def __str__(self) -> str:
        """The same, and below it the first rows, in the first columns that tell rows apart."""
        telling = [name for name in self.table if self.table[name].nunique(dropna=False) > 1]
        few = self.table.head(ROWS)[(telling or list(self.table))[:COLUMNS]]
        more = "" if len(self.table) <= ROWS else f"\n… {len(self.table) - ROWS:,} rows more"
        return f"{self!r}\n{few.to_string(index=False)}{more}"

    def _repr_html_(self) -> str:
        """The figure and the first rows, where a notebook shows the result.

        The one look upwards: what draws is found by its name, once somebody wants to see it.
        """
        html: str = import_module("resnet_probe.figures.notebook").html_of(self)
        return html

    def confusion(self, edit: Any = 0) -> pd.DataFrame:
        """How many images of each class got each answer: a row a class, a column an answer.

        ``edit`` is a row of the outcomes (0 is the network as it is), an edit, or what the table
        calls one: its kind and its blocks, as ``"delete 3"``. Raises ProbeError where no outcomes
        are kept, or none of that edit.
        """
        if "answer" not in self.outcomes or "labels" not in self.outcomes:
            raise ProbeError(f"this {self.study} result keeps no answers: it has no confusions")
        answers, labels = self.outcomes["answer"], self.outcomes["labels"]
        row = edit if isinstance(edit, int) else self._row_of(edit)
        if not 0 <= row < len(answers):
            raise ProbeError(
                f"edit={edit!r}: this {self.study} has outcomes of {len(answers)} networks, "
                "numbered from 0"
            )
        classes = int(self.provenance.get("classes") or max(answers.max(), labels.max()) + 1)
        counts = np.zeros((classes, classes), np.int64)
        known = answers[row] >= 0  # an edit that stopped early has not seen the others
        np.add.at(counts, (labels[known].astype(int), answers[row][known].astype(int)), 1)
        return pd.DataFrame(counts).rename_axis(index="class", columns="answer")

    def _row_of(self, edit: Any) -> int:
        """The row of an edit by its kind and blocks, or by its text."""
        rows = self.table.drop_duplicates("place") if "place" in self.table else self.table
        said = (rows["kind"].astype(str) + " " + rows["blocks"].astype(str)).str.strip()
        kind, blocks = getattr(edit, "kind", None), getattr(edit, "blocks", None)
        wanted = str(edit) if kind is None else f"{kind} {blocks}".strip()
        found = said == wanted
        if "edit" in rows:
            found |= rows["edit"] == str(edit)
        if not found.any():
            raise ProbeError(f"this {self.study} has no edit {wanted!r}, such as {said.iloc[-1]!r}")
        return int(np.flatnonzero(found)[0])

    @property
    def inputs(self) -> str:
        """What the network was measured on, as words call it: images, or texts."""
        return str(self.provenance.get("inputs", "images"))

    def in_words(self, text: str) -> str:
        """A text about images, or a template of one, with that word in the place of theirs."""
        return IMAGE.sub(lambda found: self.inputs.removesuffix("s") + found[1], text)

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the table; ProbeError where the provenance does not say."""
        identity = self.provenance.get("identity")
        if not isinstance(identity, dict):
            raise ProbeError(f"the provenance of this {self.study} result has no 'identity'")
        return identity

    def save(
        self,
        folder: str | Path,
        *,
        figures: Mapping[str, Drawn] | None = None,
        formats: Sequence[str] = FORMATS,
    ) -> Path:
        """Write the run folder and return its absolute path; `load` reads it back.

        ``figures`` maps a file stem to a figure: ``{"figure": f}`` gives ``figure.png`` and
        ``figure.svg``, or those of the ``formats``. Raises ProbeError where `refuse_other` does, or
        where the disk refuses; then the folder is as it was before.
        """
        folder = Path(os.path.realpath(folder))
        refuse_other(folder, self.identity)
        beside = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
        try:
            beside.mkdir()
            self._write(beside, figures or {}, formats)
            _move_into_place(beside, folder)
        except OSError as error:
            raise ProbeError(f"{folder} cannot be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Read a run folder back.

        Raises ProbeError where the folder is not one, or where one of its files is missing,
        cut short, or from another run.
        """
        path = Path(folder) / provenance.FILE
        record = provenance.read(path)
        study, columns, files = (record.pop(key, None) for key in ("study", "columns", "files"))
        if not isinstance(columns, dict) or not isinstance(files, dict) or TABLE not in files:
            raise ProbeError(f"{path} does not list the files of a run: make the run again")
        for name, digest in files.items():
            if Path(name).name != name:
                raise ProbeError(f"{path} lists {name!r}, which does not lie beside it")
            _check(path.with_name(name), str(digest))
        try:
            table = csv.read(path.with_name(TABLE), columns)
            kept = _arrays(path.with_name(OUTCOMES)) if OUTCOMES in files else {}
        except Exception as error:  # whatever pandas and NumPy raise for other kinds of files
            said = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ProbeError(f"{path.parent} is no run that can be read ({said})") from error
        identity = "identity"  # there None is that nothing was asked for
        facts = {k: v if k == identity else provenance.numbers(v) for k, v in record.items()}
        return cls(str(study), table, facts, kept)

    def _write(self, folder: Path, figures: Mapping[str, Drawn], formats: Sequence[str]) -> None:
        csv.write(folder / TABLE, self.table)
        if self.outcomes:
            kept: dict[str, Any] = dict(self.outcomes)
            np.savez_compressed(folder / OUTCOMES, **kept)
        for stem, figure in figures.items():
            save_figure(figure, *(folder / f"{stem}.{suffix}" for suffix in formats))
        columns = csv.kinds(self.table)
        files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
        own = {"study": self.study, **self.provenance, "columns": columns, "files": files}
        provenance.write(folder / provenance.FILE, own)


load = Result.load


@contextmanager
def unless_refused(folder: str | Path) -> Iterator[None]:
    """Inside, folders may be made for `folder`; where it ends with an error, the empty ones go.

    So a refusal leaves the place as it was, however late it comes.
    """
    place = Path(os.path.realpath(folder))
    made = [path for path in (place, *place.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):  # what lies in it stays
                path.rmdir()
        raise


def refuse_other(folder: str | Path, identity: Mapping[str, Any]) -> None:
    """Raise ProbeError unless a run of this identity may be written to ``folder``.

    It may where nothing is there yet, or an earlier run with the same identity, and where the
    disk lets us: the parent folders are made, and a file is tried.
    """
    try:
        folder = Path(os.path.realpath(folder))
        _refuse_occupied(folder, identity)
        folder.parent.mkdir(parents=True, exist_ok=True)
        for place in (folder.parent, folder) if folder.is_dir() else (folder.parent,):
            tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ProbeError(f"{folder} cannot be written: {reason}; choose another (out=)") from error


def save_figure(figure: Drawn, *paths: str | Path) -> None:
    """Save a figure in the format of each suffix, the same bytes for the same figure.

    The layout is found once, and is the same in all of them. PNG at 200 dpi. SVG keeps text as
    text, so that it can be searched, read aloud and restyled; PDF embeds the fonts (Type 42). No
    dates, and fixed identifiers. The font comes with matplotlib; where an SVG is shown without it,
    the next of the list takes its place.
    """
    import matplotlib  # only who draws pays for it

    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    fixed: dict[Any, Any] = {
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
        "svg.fonttype": "none",
        "svg.hashsalt": "resnet_probe",
        "pdf.fonttype": 42,
    }
    with matplotlib.rc_context(fixed), _one_layout(figure) as found:
        for path in map(Path, paths):
            figure.savefig(path, dpi=DPI, metadata=dates.get(path.suffix))
            found()


@contextmanager
def _one_layout(figure: Any) -> Iterator[Callable[[], Any]]:
    """Inside, what it gives keeps the layout as the last drawing has left it."""
    engine = getattr(figure, "get_layout_engine", lambda: None)()
    if engine is None:
        yield lambda: None
        return
    try:
        yield lambda: figure.set_layout_engine("none")
    finally:
        figure.set_layout_engine(engine)


def _refuse_occupied(folder: Path, identity: Mapping[str, Any]) -> None:
    if folder.is_symlink():
        raise ProbeError(f"{folder} is a link that leads to itself: choose another folder (out=)")
    if folder.is_mount():
        raise ProbeError(f"{folder} is a mount point: name a folder inside it (out=)")
    if folder.exists() and not folder.is_dir():
        raise ProbeError(f"{folder} is a file: choose another folder (out=)")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not names:
        return
    try:
        record = provenance.read(folder / provenance.FILE)
    except ProbeError as error:
        raise ProbeError(
            f"{folder} is not empty and does not say what made it ({error}): "
            f"remove it or choose another folder (out=)"
        ) from error
    ours = {provenance.FILE, *_entry(record, "files")}
    strange = [name for name in names if name not in ours]
    if strange:
        raise ProbeError(f"{folder} holds {strange[0]}, which no run wrote: choose another (out=)")
    differs = provenance.difference(identity, _entry(record, "identity"))
    if differs:
        raise ProbeError(f"{folder} holds another study: {differs}; choose another folder (out=)")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
        return dict(found)


def _entry(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = record.get(key)
    return found if isinstance(found, dict) else {}


def _move_into_place(beside: Path, folder: Path) -> None:
    """Rename ``beside`` to ``folder``; what was there goes only once that has worked."""
    aside = folder.with_name(f"{beside.name}.old")
    try:
        if folder.exists():
            folder.rename(aside)
        beside.rename(folder)
    except BaseException:
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _check(path: Path, digest: str) -> None:
    if not path.is_file():
        raise ProbeError(f"{path.parent} is not whole: {path.name} is missing; make the run again")
    try:
        same = _sha256(path) == digest
    except OSError as error:
        raise ProbeError(f"{path} cannot be read: {error.strerror or error}") from error
    if not same:
        raise ProbeError(
            f"{path} is not what this run wrote (cut short, changed, or from another run): "
            f"make the run again"
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
