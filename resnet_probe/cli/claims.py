"""`claims`: the ledger of published claims, judged on networks that are here."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.study import requests_of
from resnet_probe.errors import ProbeError
from resnet_probe.loading.request import Request
from resnet_probe.results import refuse_other
from resnet_probe.runs.progress import progress_bar
from resnet_probe.studies.study import Resources

if TYPE_CHECKING:
    from pandas import DataFrame

    from resnet_probe.results import Result
    from resnet_probe.runs.job import Job

NAME = "claims"
HELP = "judge published claims on the networks that are here"
DESCRIPTION = """\
Judge the published claims about residual networks: each with the paper's number, ours with its
95 % interval, the rule, and a verdict. A claim holds if the whole interval keeps the rule's bound,
fails if none of it does, and is undecided in between. A form or an order can be tested on any
images, a number on those it was published for only. The studies are run as far as they do not lie
in runs/ yet; an interrupted ledger goes on from there."""
EXAMPLES = """\
examples:
  python -m resnet_probe claims                      all bundled networks on the digits
  python -m resnet_probe claims --arch resnet110     what one network can test
  python -m resnet_probe claims --rules              the rules, nothing run
  python -m resnet_probe claims --arch resnet20 resnet56 --weights resnet20.th resnet56.th \\
      --normalize imagenet --data parquet:test.parquet --data-is cifar10"""


def add_parser(commands: Any) -> None:
    parser = shared.command(commands, NAME, HELP, DESCRIPTION, EXAMPLES)
    shared.add_network(parser, several=("arch", "weights"))
    shared.add_data(parser)
    parser.add_argument(
        "--data-is", metavar="NAME",
        help="what the images are, where a file or folder cannot say so itself: cifar10",
    )  # fmt: skip
    parser.add_argument(
        "--rules", action="store_true", help="print claims and rules only, and run nothing"
    )
    shared.add_run(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.claims import rules_sha256
    from resnet_probe.claims.words import ledger_text, rules_text
    from resnet_probe.runs.evidence import needed_jobs

    if options.rules:
        print(rules_text())
        return 0
    resources = shared.read(Resources, options)
    options.every = not options.arch
    requests = _requests(options)
    jobs = needed_jobs(requests, seed=options.seed)
    identity = {
        "study": NAME,
        "arch": ", ".join(str(request.arch) for request in requests),
        "data_is": options.data_is,
        "rules_sha256": rules_sha256(),
        "evidence": [job.identity for job in jobs],
    }
    folder = _folder(options, jobs, identity)
    refuse_other(folder, identity)
    saved, table = _judged(options, jobs, resources, folder, identity)
    print(ledger_text(table))
    print(f"\n{saved}: table.csv, provenance.json, figure.png, figure.svg")
    return 0


def _requests(options: Namespace) -> list[Request]:
    """One for each network, with its weights."""
    if options.weights and not options.arch:
        raise ProbeError("weights= needs arch=: which networks are they for?")
    if not options.arch:
        options.arch = _bundled(options)
    requests = requests_of(options)
    return [replace(one, zoo=None) if one.weights else one for one in requests]


def _bundled(options: Namespace) -> list[str]:
    from resnet_probe import zoo

    data = options.zoo or options.data or "digits"
    names = [card.arch for card in zoo.cards() if card.data == data]
    if not names:
        known = ", ".join(dict.fromkeys(card.data for card in zoo.cards()))
        raise ProbeError(f"no bundled weights for {data}: there are some for {known}; give arch=")
    return names


def _judged(
    options: Namespace,
    jobs: Sequence[Job],
    resources: Resources,
    folder: Path,
    identity: dict[str, Any],
) -> tuple[Path, DataFrame]:
    """The ledger, and where it is kept."""
    from resnet_probe.claims import judge
    from resnet_probe.figures.claims import claim_intervals
    from resnet_probe.results import Result

    results = [*_counted(options), *_made(jobs, resources)]
    table = judge(_renamed(result, options.data_is) for result in results)
    record = jobs[0].facts if jobs else {}
    for key in ("known_error_pct", "classes", "command"):  # of one network or study
        record.pop(key, None)
    ledger = Result(NAME, table, {**record, "identity": identity})
    return ledger.save(folder, figures={"figure": claim_intervals(table)}), table


def _counted(options: Namespace) -> Iterator[Result]:
    """Structures of the networks that were asked for, or of all that a claim is about."""
    from resnet_probe.runs.evidence import PARTS, STRUCTURES, structures

    asked = [name for name in STRUCTURES if name in options.arch]
    return structures([*STRUCTURES, *PARTS] if options.every else asked)


def _made(jobs: Sequence[Job], resources: Resources) -> Iterator[Result]:
    """Each study, from disk where it lies there, announced one by one."""
    for place, job in enumerate(jobs, start=1):
        folder = job.folder()
        network = job.networks[0]
        where = f"found in {folder}" if job.found(folder) else f"to {folder}"
        title = f"{job.study} of {network.network.arch.spec}, {len(network.images)} images"
        print(f"[{place} of {len(jobs)}] {title}: {where}", flush=True)
        with progress_bar(title) as progress:
            yield job.obtain(folder, resources=resources, progress=progress).result
    print()


def _renamed(result: Result, data_is: str | None) -> Result:
    """With the name of the data that the user vouches for."""
    if data_is is None or "data" not in result.identity:
        return result
    identity = {**result.identity, "data": data_is}
    return replace(result, provenance={**result.provenance, "identity": identity})


def _folder(options: Namespace, jobs: Sequence[Job], identity: dict[str, Any]) -> Path:
    from resnet_probe import data
    from resnet_probe.runs.job import RUNS, place_apart, slug_of

    if options.out is not None:
        return Path(options.out)
    which = "zoo" if options.every else "+".join(map(slug_of, options.arch))
    images = data.slug(jobs[0].networks[0].image_set.name) if jobs else "none"
    return place_apart(RUNS / f"{NAME}-{which}-{images}", identity)
