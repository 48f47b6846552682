"""`lesion`: what deleting, permuting and duplicating blocks costs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from dataclasses import replace
from typing import Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.prepare import prepare
from resnet_probe.cli.progress import progress_bar
from resnet_probe.cli.recalibration import add_recalibration, training_images
from resnet_probe.cli.run_folder import default_folder, facts
from resnet_probe.loading import Prepared

NAME = "lesion"
DESCRIPTION = """\
Delete the blocks of a trained network one at a time, several at once, or put them in another
order, and measure its error after each edit (Veit, Wilber, Belongie 2016, arXiv 1605.06431).
A deleted block keeps its shortcut, with its projection."""
EXAMPLES = """\
examples:
  python -m resnet_probe lesion --arch resnet110
  python -m resnet_probe lesion --arch resnet110 --counts 1-20 --draws 60
  python -m resnet_probe lesion --arch preresnet110 --edit permute --tau 1.0:0.7:0.05
  python -m resnet_probe lesion --arch resnet56 --weights resnet56.th --normalize imagenet \\
      --data parquet:test.parquet"""


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="delete, permute or duplicate blocks and measure the error",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    shared.add_network(parser)
    shared.add_data(parser)
    edits = parser.add_argument_group("the edits")
    edits.add_argument("--edit", default="delete", choices=["delete", "permute", "duplicate"])
    edits.add_argument(
        "--unit",
        default="block",
        choices=["block", "layer"],
        help="edit single blocks, or whole layers: the attention and the MLP of a transformer's "
        "layer together (default: block)",
    )
    edits.add_argument(
        "--counts",
        type=shared.counts,
        metavar="1-20",
        help="how many random edits at once (default: delete every block once; permute and "
        "duplicate 1-20)",
    )
    edits.add_argument(
        "--draws", type=int, default=60, help="random draws for each count or τ (default: 60)"
    )
    edits.add_argument(
        "--tau",
        type=shared.taus,
        metavar="FROM:TO:STEP",
        help="permute to these values of Kendall's τ instead of counting swaps",
    )
    add_recalibration(parser)
    group = shared.add_run(parser)
    group.add_argument(
        "--exact",
        action="store_true",
        help="run the network's own modules, nothing folded: the arithmetic of the plain loop",
    )
    group.add_argument(
        "--compare", choices=["veit2016"], help="draw the published curve beside ours"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe import figures
    from resnet_probe.findings import summarize_lesion, summarize_recalibration
    from resnet_probe.results import refuse_other
    from resnet_probe.results.journal import Journal
    from resnet_probe.studies.lesion import lesion
    from resnet_probe.studies.plan import name_of, plan

    settings = {
        key: getattr(options, key) for key in ("edit", "counts", "draws", "tau", "seed", "unit")
    }
    run_options = shared.run_options(options)
    prepared = prepare(options)
    plan(prepared.chain, **settings)  # refuses what cannot be drawn before anything is written
    study = name_of(options.edit, counts=options.counts, tau=options.tau)
    training = training_images(prepared, options)
    again = training.images is not None
    study += "-layers" if options.unit == "layer" else ""
    folder = default_folder(f"{study}-recalibrated" if again else study, prepared, options)
    identity = identity_of(study, settings, prepared, exact=options.exact)
    identity |= training.identity
    refuse_other(folder, identity)
    announce(prepared)
    journal = Journal(folder, identity)
    second = Journal(folder.with_name(f"{folder.name}.again"), identity) if again else None
    try:
        with progress_bar(study) as progress:
            result = lesion(
                prepared.chain,
                prepared.images,
                prepared.labels,
                **settings,
                **run_options,
                exact=options.exact,
                recalibrate=training.images,
                journal=journal,
                recalibrate_journal=second,
                progress=progress,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"nothing was written to {folder}; what was finished lies in {journal.place}, and the "
            "same command goes on from there"
        ) from None
    record = {**facts(prepared), **result.provenance, "identity": identity}
    result = replace(result, provenance=record)
    drawn = figures.draw_all(result, compare=options.compare)
    saved = result.save(folder, figures=drawn)
    for kept in filter(None, (journal, second)):
        kept.discard()
    print(summarize_lesion(result))
    if again:
        print(summarize_recalibration(result))
    names = (f"{stem}.{kind}" for stem in drawn for kind in ("png", "svg"))
    print(f"\n{saved}: table.csv, provenance.json, {', '.join(names)}")
    return 0


def identity_of(
    study: str, settings: dict[str, Any], prepared: Prepared, *, exact: bool
) -> dict[str, Any]:
    """What determines the table: the same identity, the same numbers."""
    return {"study": study, **prepared.identity, **settings, "exact": exact}


def announce(prepared: Prepared) -> None:
    """Say what is about to be measured, so that a wrong choice is seen at once."""
    network, chain = prepared.network, prepared.chain
    known = network.known_error_pct
    where = f" on {network.card.images_called}" if network.card else ""
    error = f", known error {known:.2f} %{where}" if known is not None else ""
    note = f" ({prepared.image_set.note})" if prepared.image_set.note else ""
    print(f"{network.arch.spec}: {len(chain)} {chain.unit}s, weights: {network.source}{error}")
    print(f"{len(prepared.images):,} images of {prepared.image_set.name}{note}")
    print(*prepared.remarks, sep="\n", end="\n\n" if prepared.remarks else "\n")
