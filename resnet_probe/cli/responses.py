"""`responses`: how large the residuals of a network are, and which way they point."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.prepare import files, shape_of
from resnet_probe.cli.study import Job
from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared

if TYPE_CHECKING:
    from resnet_probe.results import Result

NAME = "responses"
DESCRIPTION = """\
Measure what every weight layer and every residual branch gives: the standard deviation of the
layers (He et al. 2015, arXiv 1512.03385, figure 7), for several networks in one figure; and per
block the size of F(h) beside the shortcut, its direction beside the gradient of the loss, its
variance, its stable rank, the way to the end of the stage, dead and always-on units."""
EXAMPLES = """\
examples:
  python -m resnet_probe responses --arch resnet20 resnet56 resnet110 plain20
  python -m resnet_probe responses --arch preresnet110 --init
  python -m resnet_probe responses --arch resnet20 resnet56 --weights resnet20.th resnet56.th \\
      --normalize imagenet --data parquet:test.parquet"""


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="size and direction of what layers and branches give",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    group = parser.add_argument_group("the networks")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--arch", nargs="+", metavar="NAME",
        help="one architecture or several, such as resnet20 resnet56 plain20 (describe --list)",
    )  # fmt: skip
    shared.add_own(group, which)
    weights = group.add_mutually_exclusive_group()
    weights.add_argument(
        "--weights", nargs="+", metavar="FILE",
        help="weights for each, in the same order, or `pretrained` (default: the bundled ones)",
    )  # fmt: skip
    weights.add_argument(
        "--init", action="store_true",
        help="freshly initialised (by --seed), batch-norm statistics those of the images",
    )  # fmt: skip
    shared.add_data(parser)
    shared.add_run(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.findings import summarize_responses
    from resnet_probe.studies.checks import check_spread

    run_options = shared.run_options(options)
    networks = [_prepare(options, *given) for given in zip(*_asked(options), strict=True)]
    check_spread(networks[0].images, NAME)
    settings = {"init": options.init, **({"seed": options.seed} if options.init else {})}
    job = Job.of(NAME, networks, options, settings)
    return job.run(_study(networks, run_options, init=options.init), summarize_responses)


def _asked(options: Namespace) -> tuple[Sequence[str], Sequence[str | None]]:
    """Architectures and where their weights come from, as many of each."""
    names: Sequence[str] = [options.arch] if options.model else options.arch
    if len(set(names)) < len(names):
        raise ProbeError(f"--arch {' '.join(names)}: each network once")
    if options.init:
        return names, [f"initial:{options.seed}"] * len(names)
    weights = options.weights or [None] * len(names)
    if len(weights) == 1:
        weights = weights * len(names) if weights[0] == "pretrained" else weights
    if len(weights) != len(names):
        raise ProbeError(
            f"{len(names)} architectures and {len(weights)} weights: give one for each, in order"
        )
    return names, weights


def _prepare(options: Namespace, arch: str, weights: str | None) -> Prepared:
    from resnet_probe.loading import prepare

    return prepare(
        arch, weights=weights, data=options.data, data_root=options.data_root,
        normalize=options.normalize, limit=options.limit, where=options.device,
        **shape_of(options), **files(options),
    )  # fmt: skip


def _study(
    networks: Sequence[Prepared], run_options: dict[str, Any], *, init: bool
) -> Callable[..., Result]:
    def study(*, progress: Callable[[int, int], None]) -> Result:
        from resnet_probe.engine.recalibrate import has_batch_norm, recalibrated
        from resnet_probe.studies.responses import responses, together

        found = []
        for place, network in enumerate(networks):
            chain = network.chain
            if init and has_batch_norm(chain):
                chain = recalibrated(chain, network.images, memory=run_options["memory"])
            before, total = place * len(network.images), len(networks) * len(network.images)
            found.append(
                responses(
                    chain, network.images, network.labels, **run_options,
                    progress=lambda done, _, b=before, t=total: progress(b + done, t),  # type: ignore[misc]
                )
            )  # fmt: skip
        return together(found)

    return study
