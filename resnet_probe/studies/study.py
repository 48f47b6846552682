"""What a study is: a question asked of a chain, with its options, written once.

Whatever asks it, a function in Python, a command, a report or a ledger, goes through `Study.run`.
Nothing here imports torch before a study is run, so that a command can say what it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from resnet_probe.errors import ProbeError
from resnet_probe.results import Result
from resnet_probe.settings import (
    DEFAULT_MEMORY,
    Settings,
    explained,
    format_bytes,
    option,
    parse_bytes,
    signature,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor

    from resnet_probe.chain import ResidualChain
    from resnet_probe.edits import Edit
    from resnet_probe.engine.images import Images

Arrays = dict[str, "np.ndarray"]
Progress = Callable[[int, int], None]
"""Called with how much is done, of how much."""


class Journal(Protocol):
    """What keeps finished steps: `resnet_probe.results.Journal`, for one."""

    def get(self, key: str) -> Arrays | None: ...
    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None: ...


class Measured(NamedTuple):
    """The table, the facts about the run beside it, and outcomes image by image, where kept."""

    table: pd.DataFrame
    facts: dict[str, Any]
    outcomes: Arrays = {}  # noqa: RUF012


class Calibration(NamedTuple):
    """Images `[m, …]`, none of them tested, and where they are known their labels `[m]`."""

    images: Images
    labels: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """What is studied: a chain, images `[n, …]`, labels; it unpacks as the first four.

    Labels are in a form of `engine.task`: classes `[n]`, or `[n, positions]`, or numbers.
    `training` images, to re-estimate statistics on, and those of `calibration`, to fit values on,
    are others than the tested ones.
    """

    chain: ResidualChain
    images: Images
    labels: Tensor
    training: Images | None = None
    calibration: Calibration | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.chain, self.images, self.labels, self.training))


PROOF = ("front_end", "residue", "tolerance")
"""What is kept of how a chain was found: see `ResidualChain`."""
LABELS = {
    "classes": "one class an image",
    "places": "a class at each position of an image",
    "numbers": "numbers",
}


@dataclass(frozen=True, eq=False)
class Together(Subject):
    """A subject with `others` beside it: further networks, each with the same images as its own."""

    others: tuple[Subject, ...] = ()

    @classmethod
    def of(cls, first: Subject, others: Iterable[Subject]) -> Together:
        own = (first.chain, first.images, first.labels, first.training, first.calibration)
        return cls(*own, tuple(others))


@dataclass(frozen=True, kw_only=True)
class Resources(Settings):
    """What a run may take; the table does not depend on it but for rounding."""

    batch: int | None = option(
        None, "images at once (default: what fits)", least=1, metavar="N", group="run"
    )
    memory: int = option(
        DEFAULT_MEMORY,
        "working memory (default: 2GiB)",
        read=parse_bytes,
        write=lambda size: format_bytes(size).replace(" ", ""),
        metavar="SIZE",
        group="run",
    )


class Share(NamedTuple):
    """A part of the images: their numbers among all, `[n]`, ascending; how many all are."""

    rows: np.ndarray
    whole: int


@dataclass(frozen=True)
class Run:
    """How a study is being run: what it may take, what keeps its steps, who watches.

    `share` says which images these are, where they are a part of those that are asked about.
    """

    resources: Resources = field(default_factory=Resources)
    journal: Journal | None = None
    progress: Progress | None = None
    share: Share | None = None

    @property
    def batch(self) -> int | None:
        return self.resources.batch

    @property
    def memory(self) -> int:
        return self.resources.memory

    def kept(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of a step: from the journal where they are kept, else made and kept.

        The same bits come back, so that an interrupted run ends as an uninterrupted one.
        """
        found = None if self.journal is None else self.journal.get(key)
        if found is None:
            found = make()
            if self.journal is not None:
                self.journal.put(key, found)
        return found

    def part(self, start: int, size: int, whole: int) -> Run:
        """The run of a part, whose progress is `start` to `start + size` of `whole`."""
        progress = self.progress
        if progress is None:
            return self

        def told(done: int, total: int) -> None:
            progress(round(start + size * done / max(total, 1)), whole)

        return replace(self, progress=told)

    def share_of(self, images: int) -> Share:
        """Which of all images the study is run on: with no parts all of so many."""
        import numpy as np

        return self.share or Share(np.arange(images), images)


def as_asked(subject: Subject, settings: Any) -> Any:
    """A study that any chain and images suit."""
    return settings


def alone(settings: Any, images: int) -> int:
    """Any image may be in another part than its neighbours."""
    return 1


def unhindered(settings: Any) -> str:
    """Nothing speaks against parts."""
    return ""


@dataclass(frozen=True)
class Summed:
    """What a study gathers over images, and the table of it: a `measure` that goes by parts too.

    `gather` gives arrays that `parts.joined` puts together; which images of all it is given,
    `Run.share` says.  `table` makes the answer from the arrays of all images, and of nothing else
    that was run; its subject has all images.  `together` is how many images in a row have to stay
    in one part, given the settings and how many images there are; `hindered` gives the reason why
    these settings need all images at once, else nothing.
    """

    gather: Callable[[Subject, Any, Run], Arrays] = field(repr=False)
    table: Callable[[Subject, Any, Arrays], Measured] = field(repr=False)
    together: Callable[[Any, int], int] = field(repr=False, default=alone)
    hindered: Callable[[Any], str] = field(repr=False, default=unhindered)

    def __call__(self, subject: Subject, settings: Any, run: Run) -> Measured:
        return self.table(subject, settings, self.gather(subject, settings, run))


@dataclass(frozen=True)
class Study:
    """One question.

    `fit` refuses what cannot be measured, before anything is run or written, and gives the
    settings as they are for this chain; they determine the table.  `measure` answers.  `title` is
    what a result is called; `limit` is how many images a command takes unless it is told;
    `edits` gives the edited networks of a study that is about such; `training` says that it takes
    training images beside the tested ones (`recalibrate=`); several networks can go into one
    table, measured one by one where `several` is `apart`, or all of them `Together` where it is
    `together`; `compared` names published results.
    `sums` answers by parts of the images, and is `measure` where nothing else is.
    `labels` are the kinds that it can do something with (`engine.task.Kind`).
    """

    name: str
    description: str
    examples: tuple[str, ...]
    settings: type[Settings]
    measure: Callable[[Subject, Any, Run], Measured] | None = field(repr=False, default=None)
    fit: Callable[[Subject, Any], Any] = field(repr=False, default=as_asked)
    title: Callable[[Any], str] | None = field(repr=False, default=None)
    limit: int | None = None
    training: bool = False
    several: Literal["", "apart", "together"] = ""
    compared: tuple[str, ...] = ()
    edits: Callable[[ResidualChain, Any], Sequence[Edit]] | None = field(repr=False, default=None)
    sums: Summed | None = field(repr=False, default=None)
    labels: tuple[str, ...] = ("classes",)

    def check(self, subject: Subject) -> None:
        """Raises `ProbeError` for images and labels that do not fit the chain, or this study."""
        from resnet_probe.engine.task import kind_of
        from resnet_probe.studies.checks import check_data

        check_data(subject.chain, subject.images, subject.labels)
        kind = kind_of(subject.labels)
        if kind not in self.labels:
            raise ProbeError(
                f"{self.name} needs {' or '.join(LABELS[each] for each in self.labels)}, and "
                f"these labels are {LABELS[kind]}"
            )

    def called(self, settings: Any) -> str:
        """The name of a result of these settings."""
        return self.name if self.title is None else self.title(settings)

    def run(
        self, subject: Subject, settings: Any, run: Run, *, gathered: Arrays | None = None
    ) -> Result:
        """The answer: a table, and beside it what determined it and how it was made.

        From `gathered`, where the arrays of all images are there already (`Summed.gather`).

        Raises `ProbeError` for images and labels that do not fit the chain, and whatever `fit`
        refuses.
        """
        from resnet_probe.discover.copies import usual_torch

        with usual_torch():
            return self._run(subject, settings, run, gathered)

    def _run(self, subject: Subject, settings: Any, run: Run, gathered: Arrays | None) -> Result:
        began = time.perf_counter()
        self.check(subject)
        settings = self.fit(subject, settings)
        found = self._measured(subject, settings, run, gathered)
        title = self.called(settings)
        identity = {"study": title, "arch": subject.chain.name, "images": len(subject.images)}
        identity |= settings.values
        if subject.training is not None:
            identity["recalibrate"] = len(subject.training)
        if subject.calibration is not None:
            identity["calibrate"] = len(subject.calibration.images)
        if isinstance(subject, Together):
            identity["others"] = [each.chain.name for each in subject.others]
        chain = subject.chain
        texts = {"inputs": chain.inputs} if chain.of_tokens else {}
        kind = {**texts, "blocks": len(chain), "residual": chain.residual, "classes": chain.classes}
        if chain.front_end:
            kind["proof"] = {name: getattr(chain, name) for name in PROOF}
        seconds = {"seconds": time.perf_counter() - began}
        record = {"identity": identity, **kind, **found.facts, **seconds}
        return Result(title, found.table, record, found.outcomes)

    def _measured(
        self, subject: Subject, settings: Any, run: Run, gathered: Arrays | None
    ) -> Measured:
        if gathered is not None:
            assert self.sums is not None
            return self.sums.table(subject, settings, gathered)
        measure = self.measure or self.sums
        assert measure is not None
        try:
            return measure(subject, settings, run)
        except (RuntimeError, MemoryError) as error:
            from resnet_probe.engine.memory import exhausted

            if not exhausted(error):
                raise
            less = format_bytes(run.memory / 2).replace(" ", "")
            raise ProbeError(
                f"{self.name} has filled the memory of {subject.chain.device}, although it was to "
                f"work in {format_bytes(run.memory)} of it beside the images and the network: give "
                f"memory={less}, or a smaller batch="
            ) from error

    def function(self, doc: str) -> Callable[..., Result]:
        """The study as a function of Python: (chain, images, labels, options by keyword).

        In the place of the three may stand what `prepare` gives.
        """

        def ask(chain: Any, images: Any = None, labels: Any = None, **given: Any) -> Result:
            from resnet_probe.discover.copies import usual_torch

            training = (given.pop("recalibrate", None), given.pop("calibrate", None))
            others = given.pop("others", ()) if self.several == "together" else ()
            with usual_torch():
                subject = subject_of(chain, images, labels, *training)
                if not isinstance(others, list | tuple):
                    raise ProbeError("others= is a list of networks, as prepare gives them")
                if others:
                    subject = Together.of(subject, (_beside(subject, each) for each in others))
            journal, progress = given.pop("journal", None), given.pop("progress", None)
            if progress is not None and not callable(progress):
                raise ProbeError("progress= is a function of (how many are done, of how many)")
            if journal is not None and not (hasattr(journal, "get") and hasattr(journal, "put")):
                raise ProbeError("journal= is a Journal of a folder, which keeps what is finished")
            named = [each.name for each in Resources.options()]
            among = [*named, "recalibrate", "calibrate", "progress"]
            settings = self.settings.of(given, among=among)
            resources = Resources.of({k: v for k, v in given.items() if k in named})
            result = self.run(subject, settings, Run(resources, journal, progress))
            return _of_what(result, chain) if images is None else result

        ask.__name__ = ask.__qualname__ = self.name
        ask.__module__ = self.settings.__module__
        ask.__doc__ = f"{doc.rstrip()}\n\nOptions, by keyword:\n\n{explained(self.settings)}\n"
        ask.__signature__ = signature(  # type: ignore[attr-defined]
            self.settings, Resources, first=("chain", "images", "labels")
        )
        return ask


def _of_what(result: Result, ready: Any) -> Result:
    """With what `prepare` knows of the network and its images, as a command's result has it."""
    if not hasattr(ready, "known"):
        return result
    known = {"study": result.study, **ready.known}
    identity = known | {key: value for key, value in result.identity.items() if key not in known}
    return replace(result, provenance={**result.provenance, "identity": identity})


def subject_of(
    chain: Any, images: Any = None, labels: Any = None, training: Any = None, calibrate: Any = None
) -> Subject:
    """From a chain with images and labels, or from what `prepare` gives.

    Images and labels are tensors, arrays or lists; `calibrate` are images, or a pair of images and
    labels.  Raises `ProbeError` for what is no chain, and for images without labels.
    """
    from resnet_probe.chain import ResidualChain
    from resnet_probe.studies.checks import as_images, as_labels, check_shape, fitted

    if images is None and labels is None and hasattr(chain, "chain"):
        chain, images, labels = chain.chain, chain.images, chain.labels
    if not isinstance(chain, ResidualChain):
        raise ProbeError(
            f"chain= is {type(chain).__name__}, not a chain: prepare(…) makes one of a name or of "
            "a model with its images, chain_of(model, example) of a model alone"
        )
    if images is None or labels is None:
        lacks = "images= and labels=" if images is None and labels is None else (
            "images=" if images is None else "labels=")  # fmt: skip
        raise ProbeError(f"a chain alone has nothing to be measured on: give {lacks} too")
    others = None if training is None else as_images(chain, training)
    values = None
    if calibrate is not None:
        pair = calibrate if isinstance(calibrate, tuple) else (calibrate, None)
        if len(pair) != 2:
            raise ProbeError(f"calibrate= is images, or (images, labels), not {len(pair)} things")
        known = None if pair[1] is None else as_labels(pair[1])
        values = Calibration(as_images(chain, pair[0]), known)
    for more in (others, values and values.images):
        if more is not None:
            check_shape(chain, more)
    return Subject(*fitted(chain, images, labels), others, values)


def _beside(subject: Subject, other: Any) -> Subject:
    """Another network on the same images: what `prepare` gives, or a chain that takes them."""
    if hasattr(other, "chain"):
        return subject_of(other)
    return subject_of(other, subject.images, subject.labels)
