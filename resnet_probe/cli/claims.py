"""`claims`: the ledger of published claims, judged on networks that are here."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.prepare import files
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from pandas import DataFrame

    from resnet_probe.cli.claim_runs import Planned
    from resnet_probe.loading import Prepared
    from resnet_probe.results import Result

    Loader = Callable[[int | None], Prepared]

NAME = "claims"
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
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="judge published claims on the networks that are here",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    group = parser.add_argument_group("the networks")
    group.add_argument(
        "--arch", nargs="+", metavar="NAME",
        help="one architecture or several (default: all bundled ones for --data)",
    )  # fmt: skip
    group.add_argument(
        "--weights", nargs="+", metavar="FILE",
        help="weights for each, in the same order, or `pretrained` (default: the bundled ones)",
    )  # fmt: skip
    group.add_argument(
        "--zoo", metavar="NAME", help="bundled weights by what they were trained on (cifar10-jpeg)"
    )
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
    from resnet_probe.claims import judge
    from resnet_probe.claims.words import ledger_text, rules_text
    from resnet_probe.cli.claim_runs import plan
    from resnet_probe.results import refuse_other

    if options.rules:
        print(rules_text())
        return 0
    run_options = shared.run_options(options)
    networks = _networks(options)
    planned = plan(networks.values(), options.seed, options.limit)
    identity = _identity(options, networks, planned)
    folder = Path(options.out) if options.out else _folder(options, planned)
    refuse_other(folder, identity)
    results = [*_counted(options), *_made(planned, options, run_options)]
    table = judge(_renamed(result, options.data_is) for result in results)
    saved = _save(table, identity, folder, planned)
    print(ledger_text(table))
    print(f"\n{saved}: table.csv, provenance.json, figure.png, figure.svg")
    return 0


def _networks(options: Namespace) -> dict[str, Loader]:
    """Loaders by architecture, each taking `limit`."""
    names = options.arch or _bundled(options)
    weights: list[str | None] = list(options.weights or [None] * len(names))
    if len(set(names)) < len(names):
        raise ProbeError(f"--arch {' '.join(names)}: each network once")
    if options.weights and not options.arch:
        raise ProbeError("--weights needs --arch: which networks are they for?")
    if len(weights) != len(names):
        raise ProbeError(
            f"{len(names)} architectures and {len(weights)} weights: give one for each, in order"
        )
    return {
        name: cache(partial(_load, options, name, given))
        for name, given in zip(names, weights, strict=True)
    }


def _bundled(options: Namespace) -> list[str]:
    from resnet_probe import zoo

    data = options.zoo or options.data or "digits"
    names = [card.arch for card in zoo.cards() if card.data == data]
    if not names:
        known = ", ".join(dict.fromkeys(card.data for card in zoo.cards()))
        raise ProbeError(f"no bundled weights for {data}: there are some for {known}; give --arch")
    return names


def _load(options: Namespace, arch: str, weights: str | None, limit: int | None) -> Prepared:
    from resnet_probe.loading import prepare

    return prepare(
        arch, weights=weights, zoo=None if weights else options.zoo, data=options.data,
        data_root=options.data_root, normalize=options.normalize, limit=limit,
        where=options.device, **files(options),
    )  # fmt: skip


def _identity(
    options: Namespace, networks: Mapping[str, Loader], planned: Sequence[Planned]
) -> dict[str, Any]:
    """The rules and everything that they are applied to."""
    from resnet_probe.claims import rules_sha256

    return {
        "study": NAME,
        "arch": ", ".join(networks),
        "data_is": options.data_is,
        "rules_sha256": rules_sha256(),
        "evidence": [one.identity for one in planned],
    }


def _counted(options: Namespace) -> Iterator[Result]:
    """Structures of the networks that were asked for, or of all that a claim is about."""
    from resnet_probe.cli.claim_studies import PARTS, STRUCTURES, structures

    if options.arch:
        return structures([name for name in STRUCTURES if name in options.arch])
    return structures([*STRUCTURES, *PARTS])


def _made(
    planned: Sequence[Planned], options: Namespace, run_options: dict[str, Any]
) -> Iterator[Result]:
    """Each planned study, from disk where it lies there, announced one by one."""
    for place, one in enumerate(planned, start=1):
        earlier = one.found()
        where = f"found in {earlier[1]}" if earlier else f"to {one.folder}"
        step = f"[{place} of {len(planned)}] {one.title}, {len(one.network.images)} images: {where}"
        print(step, flush=True)
        load = partial(_fresh, options, one.network)
        yield earlier[0] if earlier else one.make(load, options.seed, run_options)
    print()


def _fresh(options: Namespace, like: Prepared, arch: str, *, seed: int) -> Prepared:
    from resnet_probe.loading import prepare

    return prepare(
        arch, weights=f"initial:{seed}", data=like.image_set.name, data_root=options.data_root,
        normalize=like.normalize, limit=len(like.images), where=options.device, **files(options),
    )  # fmt: skip


def _renamed(result: Result, data_is: str | None) -> Result:
    """With the name of the data that the user vouches for."""
    if data_is is None or "data" not in result.identity:
        return result
    identity = {**result.identity, "data": data_is}
    return replace(result, provenance={**result.provenance, "identity": identity})


def _folder(options: Namespace, planned: Sequence[Planned]) -> Path:
    from resnet_probe import data

    which = "+".join(options.arch) if options.arch else "zoo"
    images = data.slug(planned[0].network.image_set.name) if planned else "none"
    return Path("runs") / f"{NAME}-{which.translate(str.maketrans(':,=', '---'))}-{images}"


def _save(
    table: DataFrame, identity: dict[str, Any], folder: Path, planned: Sequence[Planned]
) -> Path:
    from resnet_probe.cli.run_folder import facts
    from resnet_probe.figures.claims import claim_intervals
    from resnet_probe.results import Result

    record = facts(planned[0].network) if planned else {}
    record.pop("known_error_pct", None)  # of one network; the ledger is about several
    result = Result(NAME, table, {**record, "identity": identity})
    return result.save(folder, figures={"figure": claim_intervals(table)})
