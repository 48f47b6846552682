"""`report`: every study of one network, and one page of what they found."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.prepare import prepare
from resnet_probe.cli.progress import progress_bar
from resnet_probe.cli.run_folder import default_folder, facts

if TYPE_CHECKING:
    from resnet_probe.cli.report_studies import Planned
    from resnet_probe.loading import Prepared
    from resnet_probe.report import Made, Section
    from resnet_probe.results import Result

NAME = "report"
DESCRIPTION = """\
Measure one network with every study that applies to it, and write one page of what they found:
report.html, which needs nothing beside it, with figures/ (PDF, SVG, PNG) and tables/ (CSV).
Each study has a run folder of its own in the report's. One that is there already, whole and of the
same identity, is taken as it is; one that is not is measured again, and the command says so.
After an interruption the same command goes on."""
EXAMPLES = """\
examples:
  python -m resnet_probe report --arch resnet110
  python -m resnet_probe report --arch resnet56 --full --weights resnet56.th \\
      --normalize imagenet --data parquet:test.parquet"""
DRAWING = 0.15
"""About what part of all the time the page and its figures take."""


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="run every study and write one page of what they found",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    shared.add_network(parser)
    shared.add_data(parser)
    size = parser.add_argument_group("how much").add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true",
        help="minutes: single deletions, and fewer images for paths and attribution (default)",
    )  # fmt: skip
    size.add_argument(
        "--full", action="store_true",
        help="all images, random deletions and other orders too",
    )  # fmt: skip
    shared.add_run(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.cli.report_folder import Claim
    from resnet_probe.cli.report_studies import plan_studies
    from resnet_probe.report import write_report

    shared.run_options(options)  # refuses what cannot be before anything is loaded
    prepared = prepare(options)
    planned, absent = plan_studies(prepared, options)
    name = "report-full" if options.full else NAME
    claim = Claim.of(default_folder(name, prepared, options), planned)
    _announce(prepared, planned)
    results: dict[str, Result] = {}
    try:
        with progress_bar(NAME) as progress:
            _measure(planned, claim, results, progress)
            made = _made(prepared, planned, absent, results)
            found = write_report(
                results,
                claim.folder,
                made=made,
                claims=_claims(results),
                progress=lambda done, of: progress(
                    round(1000 * (1 - DRAWING * (1 - done / of))), 1000
                ),
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"finished: {', '.join(results) or 'nothing yet'}; the same command goes on from there"
        ) from None
    claim.close()
    _tell(found, claim.folder)
    return 0


def _announce(prepared: Prepared, planned: list[Planned]) -> None:
    from resnet_probe.cli.lesion import announce

    announce(prepared)
    parts = (f"{one.study} ({len(one.prepared.images):,} images)" for one in planned)
    print(f"{', '.join(parts)}\n", flush=True)


def _measure(planned: list[Planned], claim: Any, results: dict[str, Result], progress: Any) -> None:
    """Every study in turn into `results`, one bar for all of them."""
    from resnet_probe.cli.report_folder import obtain

    whole = sum(one.weight for one in planned) / (1 - DRAWING)
    before = 0.0
    for one in planned:

        def update(done: int, total: int, start: float = before, part: float = one.weight) -> None:
            progress(round(1000 * (start + part * done / max(total, 1)) / whole), 1000)

        results[one.study] = obtain(one, claim.folder, progress=update)
        before += one.weight
        progress(round(1000 * before / whole), 1000)


def _made(
    prepared: Prepared, planned: list[Planned], absent: dict[str, str], results: dict[str, Result]
) -> Made:
    from resnet_probe.report import Made

    network, found = prepared.network, facts(prepared)
    known = network.known_error_pct
    seconds = sum(float(result.provenance.get("seconds", 0)) for result in results.values())
    note = f" ({prepared.image_set.note})" if prepared.image_set.note else ""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    rows = [
        ("architecture", f"{network.arch.spec}, {len(prepared.chain)} {prepared.chain.unit}s"),
        ("weights", network.source),
        ("weights, SHA-256", network.weights_sha256),
        ("known error", "–" if known is None else f"{known:.2f} %"),
        ("images", f"{prepared.image_set.name}{note}, {len(prepared.image_set):,} at most"),
        ("normalization", prepared.normalize),
        ("device", f"{found['device']}; {found['platform']}"),
        ("versions", versions),
        ("time to measure", f"{seconds:,.1f} s"),
    ]
    data = Path(prepared.image_set.name.partition(":")[2] or prepared.image_set.name).name
    return Made(
        title=f"{network.arch.spec} on {data}{note}",
        command=shlex.join(["python", "-m", "resnet_probe", *sys.argv[1:]]),
        commands={one.study: one.command for one in planned},
        absent=absent,
        facts=rows,
    )


def _claims(results: dict[str, Result]) -> Any:
    """The ledger of published claims, a row each; None where no such part is installed."""
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("resnet_probe.claims") is None:
        return None
    judge = getattr(import_module("resnet_probe.claims"), "judge", None)
    return None if judge is None else judge(results.values())


def _tell(found: list[Section], folder: Path) -> None:
    """The answers, as they open the page, and where it is."""
    from resnet_probe.report import answers

    print()
    for section in answers(found):
        if section.finding is None:
            print(f"– {section.absent}")
        else:
            verdict = f"[{section.finding.verdict}] " if section.finding.verdict else ""
            print(f"– {verdict}{section.finding.answer or section.finding.sentence}")
    print(f"\n{folder}: report.html, figures/, tables/")
