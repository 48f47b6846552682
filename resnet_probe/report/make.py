"""A report from its studies: what is asked, found or measured, and written as one page."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared
from resnet_probe.loading.request import Request
from resnet_probe.report.folder import Made, write_report
from resnet_probe.report.occupied import ReportFolder, identity_at, is_anothers, say
from resnet_probe.report.questions import Section
from resnet_probe.results import Result
from resnet_probe.runs.evidence import Ask, fitting_jobs, report_asks
from resnet_probe.runs.job import RUNS, Job, device_name, place_apart, versions
from resnet_probe.runs.rehearsal import branch_runs
from resnet_probe.settings import as_file_name
from resnet_probe.studies.study import Progress, Resources

if TYPE_CHECKING:
    import pandas as pd

NAME = "report"
DRAWING = 0.15
"""About what part of all the time the page and its figures take."""


@dataclass(frozen=True)
class Report:
    """The jobs of a report on one network, why some do not apply, and what is left to a full one.

    Raises `ProbeError` for fewer than two images, on which nothing has a spread.
    """

    request: Request
    ready: Prepared = field(repr=False)
    full: bool = False
    seed: int = 0
    jobs: Mapping[Ask, Job] = field(default_factory=dict, repr=False)
    absent: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    @classmethod
    def of(cls, request: Request, *, full: bool = False, seed: int = 0) -> Report:
        from resnet_probe.studies.checks import check_spread

        ready = request.prepared()
        check_spread(ready.images, NAME)
        asks = report_asks(full=full)
        more = [ask for ask in report_asks(full=True) if ask.study not in {a.study for a in asks}]
        jobs, absent = fitting_jobs(asks, request, ready, seed=seed)
        left_out, never = fitting_jobs(more, request, ready, seed=seed)
        return cls(
            request, ready, full, seed, {ask: one[0] for ask, one in jobs.items()},
            {**absent, **never}, [ask.study for ask in left_out],
        )  # fmt: skip

    @property
    def identity(self) -> dict[str, Any]:
        return {ask.study: job.identity for ask, job in self.jobs.items()}

    @property
    def folder(self) -> Path:
        """`runs/report-NETWORK-DATA`, and apart from it where that holds another."""
        from resnet_probe.data import slug

        name = f"{NAME}-full" if self.full else NAME
        arch, data = as_file_name(self.ready.network.arch.spec), slug(self.ready.image_set.name)
        return place_apart(RUNS / f"{name}-{arch}-{data}", self.identity, identity_at, is_anothers)

    @property
    def command(self) -> str:
        return self._command(full=self.full)

    def _command(self, *, full: bool) -> str:
        words = self.request.words()
        words += ["--limit", str(self.request.limit)] if self.request.limit is not None else []
        words += ["--full"] if full else []
        words += ["--seed", str(self.seed)] if self.seed else []
        return shlex.join(["python", "-m", "resnet_probe", NAME, *words])

    def write(
        self,
        folder: Path,
        *,
        resources: Resources,
        progress: Progress,
        judge: Callable[[list[Result]], pd.DataFrame],
    ) -> list[Section]:
        """Find or measure every study, each where its own command puts it, and write the page.

        Raises `ProbeError` for a folder that holds something else, and `KeyboardInterrupt` with
        what is finished.
        """
        taken = ReportFolder.of(folder, self.identity)
        results: dict[str, Result] = {}
        try:
            self._measure(results, resources, progress)
            found = write_report(
                results,
                taken.folder,
                made=self._made(results),
                claims=judge(list(results.values())),
                progress=lambda done, of: progress(
                    round(1000 * (1 - DRAWING * (1 - done / of))), 1000
                ),
            )
        except ProbeError:
            if not results:
                taken.leave()
            raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"finished: {', '.join(results) or 'nothing yet'}; the same command goes on from "
                "there"
            ) from None
        taken.close()
        return found

    def _measure(
        self, results: dict[str, Result], resources: Resources, progress: Progress
    ) -> None:
        """Every study in turn into `results`, one bar for all of them."""
        whole = sum(ask.weight for ask in self.jobs) / (1 - DRAWING)
        before = 0.0
        for ask, job in self.jobs.items():

            def update(
                done: int, total: int, start: float = before, part: float = ask.weight
            ) -> None:
                progress(round(1000 * (start + part * done / max(total, 1)) / whole), 1000)

            obtained = job.obtain(job.folder(), resources=resources, progress=update, say=say)
            results[ask.study] = obtained.result
            seconds = f"{obtained.result.provenance.get('seconds', 0):,.1f} s"
            how = f"there already ({seconds} saved)" if obtained.found else f"measured in {seconds}"
            say(f"{ask.study}: {how}")
            before += ask.weight
            progress(round(1000 * before / whole), 1000)

    def _made(self, results: Mapping[str, Result]) -> Made:
        network, ready = self.ready.network, self.ready
        known = network.known_error_pct
        seconds = sum(float(result.provenance.get("seconds", 0)) for result in results.values())
        note = f" ({ready.image_set.note})" if ready.image_set.note else ""
        data = Path(ready.image_set.name.partition(":")[2] or ready.image_set.name).name
        return Made(
            title=f"{network.arch.spec} on {data}{note}",
            command=self.command,
            commands={
                **{ask.study: job.command for ask, job in self.jobs.items()},
                **dict.fromkeys(self.left_out, self._command(full=True)),
            },
            branch_runs={ask.study: branch_runs(job) for ask, job in self.jobs.items()},
            absent=self.absent,
            facts=[
                ("architecture", f"{network.arch.spec}, {len(ready.chain)} {ready.chain.unit}s"),
                ("weights", network.source),
                ("weights, SHA-256", network.weights_sha256),
                ("known error", "–" if known is None else f"{known:.2f} %"),
                ("images", f"{ready.image_set.name}{note}, {len(ready.image_set):,} at most"),
                ("normalization", ready.normalize),
                ("device", device_name(ready.chain.device)),
                ("versions", ", ".join(f"{name} {found}" for name, found in versions().items())),
                ("time to measure", f"{seconds:,.1f} s"),
            ],
        )
