"""`claims`: the ledger of published claims, judged on networks that are here."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.study import requests_of
from resnet_probe.errors import ProbeError
from resnet_probe.loading.request import Request
from resnet_probe.results import refuse_other, unless_refused
from resnet_probe.runs.progress import progress_bar
from resnet_probe.settings import as_file_name
from resnet_probe.studies.study import Resources

if TYPE_CHECKING:
    from pandas import DataFrame

    from resnet_probe.claims import Claim
    from resnet_probe.results import Result
    from resnet_probe.runs.needed import Needed
    from resnet_probe.zoo import Card

NAME = "claims"
PHOTOGRAPHS = "cifar10-jpeg"
"""What the published checkpoints are measured on, as the zoo calls it."""
HELP = "judge published claims on the networks that are here"
DESCRIPTION = """\
Judge the published claims about residual networks, each on every network that can test it: the
bundled ones on the digits, on photographs where their test images lie in --data-root, and your own
beside them. A claim holds if the whole 95 % interval keeps the rule's bound, fails if none of it
does, and is undecided in between. A form or an order can be tested on any images, a number on
those it was published for only. The studies are run as far as they do not lie in runs/ yet; after
an interruption the same command goes on from there."""
EXAMPLES = """\
examples:
  python -m resnet_probe claims                  # all bundled networks, digits
  python -m resnet_probe claims --data-root DIR  # and the photographs in DIR
  python -m resnet_probe claims --checkpoints DIR  # and published weights
  python -m resnet_probe claims --claim chang2018 here/stale  # some claims
  python -m resnet_probe claims --saved          # what lies there, nothing run
  python -m resnet_probe claims --ledger         # each with its number
  python -m resnet_probe claims --rules          # the rules, nothing run
  python -m resnet_probe claims --only --arch resnet110  # of one network
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
        "--checkpoints", type=Path, metavar="DIR",
        help="a folder with published checkpoints (resnet20-12fca82f.th, resnet56-4bfd9763.th): "
        "those that are there stand beside the bundled networks, on the photographs",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="store_true", help="the networks of --arch, without the bundled ones"
    )
    parser.add_argument(
        "--saved", action="store_true",
        help="judge the studies that lie in runs/, and run nothing: those that do not are named",
    )  # fmt: skip
    parser.add_argument(
        "--claim", nargs="+", metavar="NAME", help="judge these claims only (names: --rules)"
    )
    parser.add_argument(
        "--ledger", action="store_true",
        help="print every verdict with its number, not the matrix",
    )  # fmt: skip
    parser.add_argument(
        "--rules", action="store_true", help="print claims and rules only, and run nothing"
    )
    shared.add_run(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.claims import chosen
    from resnet_probe.claims.words import ledger_text, matrix_text, rules_text
    from resnet_probe.runs import kept

    claims = chosen(options.claim)
    if options.rules:
        print(rules_text(claims))
        return 0
    asked = kept.question(_given(options))
    there = kept.found(asked, None if options.out is None else Path(options.out))
    if there is None:
        folder, made = _made_anew(options, claims, asked)
    else:
        folder, made = there
        print(f"found in {folder}, from the same files by the same rules\n")
    table = made.table
    print(ledger_text(table) if options.ledger else matrix_text(table), flush=True)
    saved = _saved(folder, made) if there is None else folder.resolve()
    figures = "figure and intervals as .png and .svg"
    page = _page(options, saved, table)
    print(f"\n{page}: claims, networks, twins, rules and commands on one page")
    print(f"{saved}: table.csv (every verdict with its number), provenance.json, {figures}")
    return 0


def _given(options: Namespace) -> dict[str, Any]:
    """The options that determine the table."""
    aside = ("given", "run", "out", "ledger", "rules", "saved", "device", "workers", "stream")
    resources = [each.name for each in Resources.options()]
    return {k: v for k, v in vars(options).items() if k not in (*aside, *resources)}


def _made_anew(
    options: Namespace, claims: Sequence[Claim], asked: dict[str, str] | None
) -> tuple[Path, Result]:
    """The ledger of studies that are found or run, and where it is to be kept."""
    from resnet_probe.claims import rules_sha256
    from resnet_probe.results import Result
    from resnet_probe.runs import kept
    from resnet_probe.runs.job import machine
    from resnet_probe.runs.needed import forgotten_if_refused, needed_studies

    with forgotten_if_refused():
        requests = [*_requests(options), *_fresh(options)]
        studies = needed_studies(requests, claims=claims, seed=options.seed, saved=options.saved)
        identity = {
            "study": NAME,
            "arch": ", ".join(str(request.spec) for request in requests),
            "data_is": options.data_is,
            "rules_sha256": rules_sha256(claims),
            "evidence": [study.identity for study in studies],
        }
        folder = _folder(options, studies, identity)
        with unless_refused(folder):
            refuse_other(folder, identity)
            resources = None if options.saved else shared.read(Resources, options)
            made = [*_made(studies, resources)]
            table = _judged(options, claims, made)
    whole = len(made) == len(studies)  # else the same command tries those that were refused again
    record = {**machine(), kept.ASKED: asked if whole else None, "identity": identity}
    return folder, Result(NAME, table, record)


def _saved(folder: Path, made: Result) -> Path:
    from resnet_probe.figures.claims import claim_intervals, claim_matrix

    drawn = {"figure": claim_matrix(made.table), "intervals": claim_intervals(made.table)}
    return made.save(folder, figures=drawn)


def _page(options: Namespace, folder: Path, table: DataFrame) -> Path:
    """`FOLDER.html`, beside the folder, which holds only what its run wrote."""
    from resnet_probe.report.ledger import render_ledger

    path = folder.with_name(f"{folder.name}.html")
    command = shlex.join(["python", "-m", "resnet_probe", *options.given])
    text = render_ledger(table, title="Published claims, network by network", command=command)
    path.write_text(text, encoding="utf-8")
    return path


def _requests(options: Namespace) -> list[Request]:
    """One for each network: those that are asked for, and the bundled ones."""
    own = options.arch is not None or options.model is not None
    if options.weights and not own:
        raise ProbeError("weights= needs arch=: which networks are they for?")
    if options.only and not own:
        raise ProbeError("only= leaves the bundled networks out: give arch=, those that are left")
    published = _published(options)
    if not own:
        return [*_bundled(options), *published]
    asked = [replace(one, zoo=None) if one.weights else one for one in requests_of(options)]
    beside = [] if options.only else _bundled(options, beside=True)
    return [*asked, *(one for one in (*beside, *published) if one not in asked)]


def _fresh(options: Namespace) -> list[Request]:
    """Networks before training, beside all of the bundled ones."""
    from resnet_probe.runs.evidence import fresh_requests

    own = options.arch is not None or options.model is not None
    whole = not options.only if own else options.data is None and options.zoo is None
    given = {name: getattr(options, name) for name in ("limit", "device")}
    return [replace(request, **given) for request in fresh_requests()] if whole else []


def _published(options: Namespace) -> list[Request]:
    """The checkpoints in the folder that is named, on the photographs of the bundled networks."""
    if options.checkpoints is None:
        return []
    from resnet_probe import zoo
    from resnet_probe.runs.evidence import checkpoints
    from resnet_probe.zoo.images import source_of

    card = next(card for card in zoo.cards() if card.data == PHOTOGRAPHS)
    images = source_of(card, options.data_root)
    given = {name: getattr(options, name) for name in ("limit", "device")}
    return list(checkpoints(options.checkpoints, images, **given))


def _bundled(options: Namespace, *, beside: bool = False) -> list[Request]:
    """The bundled networks on their own images, or those for the images that are asked for.

    With `beside` they stand beside the user's own, whose images and weights are not theirs.
    Networks whose images are not here are left out, and it is said.
    """
    from resnet_probe import zoo

    asked = None if beside else options.zoo or options.data
    cards = [card for card in zoo.cards() if asked in (None, card.data, card.stem)]
    if not cards:
        known = ", ".join(dict.fromkeys(card.data for card in zoo.cards()))
        raise ProbeError(f"no bundled weights for {asked}: there are some for {known}; give arch=")
    if asked is not None:
        return [
            shared.read(Request, options, arch=card.arch, zoo=_among(card, options.data))
            for card in cards
        ]
    given = {name: getattr(options, name) for name in ("limit", "device")}
    here = [card for card in cards if _has_images(card, options.data_root)]
    away = dict.fromkeys(card.images_called for card in cards if card not in here)
    for images in away:
        print(f"Without the networks of {images}: their images are not here (--data-root DIR)")
    found = []
    for card in here:
        which = _among(card, "digits")
        root = None if which is None else options.data_root
        found.append(Request(arch=card.arch, zoo=which, data_root=root, **given))
    return found


def _among(card: Card, data: str | None) -> str | None:
    """The name of bundled weights, where that of the architecture is not enough."""
    from resnet_probe import zoo

    with suppress(ProbeError):
        if zoo.find(card.arch, data or "digits").stem == card.stem:
            return None
    return card.stem


def _has_images(card: Card, root: Path | None) -> bool:
    from resnet_probe.zoo.images import source_of

    try:
        source_of(card, root)
    except ProbeError:
        return False
    return True


def _judged(options: Namespace, claims: Sequence[Claim], made: Sequence[Result]) -> DataFrame:
    from resnet_probe.claims import BEYOND, judge

    beyond = () if options.claim else BEYOND
    results = (_renamed(each, options) for each in (*_counted(options), *made))
    return judge(results, claims=claims, beyond=beyond)


def _counted(options: Namespace) -> list[Result]:
    """Structures of all networks that a claim is about, or of those that were asked for."""
    from resnet_probe.runs.evidence import PARTS, STRUCTURES
    from resnet_probe.runs.needed import structures

    asked = options.arch if isinstance(options.arch, list) else []
    every = [*STRUCTURES, *PARTS]
    return structures([name for name in STRUCTURES if name in asked] if options.only else every)


def _made(studies: Sequence[Needed], resources: Resources | None) -> Iterator[Result]:
    """Each study, from disk where it lies there, announced one by one; without resources no others.

    What a study refuses while it runs is said, and the claims on it are judged without.
    """
    for place, study in enumerate(studies, start=1):
        folder, found = study.folder, study.found
        if found is None and resources is None:
            print(f"Without {study.name}: it is not in {folder}")
            continue
        where = "to" if found is None else "found in"
        title = f"{study.name}, {study.identity['images']} images"
        print(f"[{place} of {len(studies)}] {title}: {where} {folder}", flush=True)
        if found is None:
            assert study.job is not None
            try:
                with progress_bar(title) as progress:
                    found = study.job.obtain(folder, resources=resources, progress=progress).result
            except ProbeError as reason:
                print(f"Without {study.name}: {reason}")
                continue
        yield found
    print()


def _renamed(result: Result, options: Namespace) -> Result:
    """With the name of the data that the user vouches for, where it is the user's."""
    mine = result.identity.get("data") == options.data
    if options.data_is is None or not mine:
        return result
    identity = {**result.identity, "data": options.data_is}
    return replace(result, provenance={**result.provenance, "identity": identity})


def _folder(options: Namespace, studies: Sequence[Needed], identity: dict[str, Any]) -> Path:
    from resnet_probe import data
    from resnet_probe.runs.job import RUNS, place_apart

    if options.out is not None:
        return Path(options.out)
    own = [options.model] if options.model else options.arch or []
    which = "+".join([*([] if options.only else ["zoo"]), *map(as_file_name, own)])
    sets = dict.fromkeys(data.slug(study.exhibit.data) for study in studies)
    return place_apart(RUNS / f"{NAME}-{which}-{'+'.join(sets) or 'none'}", identity)
