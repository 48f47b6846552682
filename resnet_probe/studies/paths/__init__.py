"""The gradient by path length: exact, over all single paths, and as published.

A residual network of N blocks has 2^N paths.  Three quantities, never to be mixed up: the norm of
the sum over all paths of a length (`exact`), the root mean square norm of its single paths (`all`),
and the mean norm of sampled single paths (`sample`, Veit et al. 2016, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from resnet_probe.settings import Settings, option
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["STUDY", "path_gradients", "paths"]


@dataclass(frozen=True, kw_only=True)
class PathSettings(Settings):
    """Which paths are followed, and to where."""

    method: str = option(
        "every",
        "what is measured (default: every)",
        choices=("exact", "all", "sample", "every"),
    )
    signs: int = option(
        16, "random signs an image, for `all` (default: 16)", most=100_000, metavar="N"
    )
    samples: int = option(
        1000, "paths a length, for `sample` (default: 1000)", most=1_000_000, metavar="N"
    )
    images_per_path: int = option(
        4, "images that each sampled path is measured on (default: 4)", metavar="N"
    )
    max_length: int | None = option(
        None, "leave out paths of more blocks (default: none)", metavar="K"
    )
    tolerance: float = option(
        0.0,
        "in `exact`, leave a length out from where its gradient has less than so many times the "
        "norm of the whole one (default: 0, none)",
        least=0,
        most=1,
        metavar="SHARE",
    )
    at: str = option(
        "input",
        "where the gradient is taken: input (of tokens their embeddings), stem (its output), or "
        "the number of a block (its input; only blocks from it on count)",
        metavar="PLACE",
    )
    precision: str = option(
        "float32", "of all products (default: float32)", choices=("float32", "float64")
    )
    seed: int = option(0, "of all random draws (default: 0)", least=0, metavar="N", group="run")


def fit(subject: Subject, settings: PathSettings) -> PathSettings:
    from resnet_probe.studies.paths.request import request

    if settings.at == "input" and subject.chain.of_tokens:  # tokens have no gradient
        settings = replace(settings, at="stem")
    asked = request(subject.chain, **settings.values)
    return replace(settings, at=asked.at)


def gather(subject: Subject, settings: PathSettings, run: Run) -> Arrays:
    from resnet_probe.studies.paths.study import gather

    return gather(subject, settings, run)


def of_collected(subject: Subject, settings: PathSettings, found: Arrays) -> Measured:
    from resnet_probe.studies.paths.study import of_collected

    return of_collected(subject, settings, found)


def together(settings: PathSettings, images: int) -> int:
    from resnet_probe.studies.paths.study import together

    return together(settings, images)


def path_gradients(chain: Any, images: Any = None, labels: Any = None, **options: Any) -> Tensor:
    """G[k], the gradient of each image's cross-entropy over all paths of k branches.

    `[lengths, n, *shape]` for images `[n, …]`, on the chain's device; without `max_length=` and
    `tolerance=` they add up to the gradient that autograd gives.  In the place of the three may
    stand what `prepare` gives.  Options (`max_length`, `tolerance`, `at`, `precision`, `batch`,
    `memory`) and refusals as in `paths`; `memory` bounds the work, not the result.
    """
    from resnet_probe.studies.paths.gradients import path_gradients

    return path_gradients(chain, images, labels, **options)


STUDY = Study(
    "paths",
    description="""\
Follow the gradient back through a trained residual network, path by path (Veit, Wilber, Belongie
2016, arXiv 1605.06431, section 5).  A path takes the branch or the shortcut of each block; its
length is the number of branches.  Three quantities, by length:
  exact    the gradient of all paths of a length together, its norm and its share of the whole
  all      the root mean square norm of the single paths, all of them, from random signs
  sample   the mean norm of single paths drawn at random, as published""",
    examples=(
        "--arch resnet110",
        "--arch resnet110 --method exact --at stem --limit 64",
        "--arch resnet56 --weights resnet56.th --normalize imagenet --data parquet:test.parquet "
        "--limit 846",
    ),
    settings=PathSettings,
    fit=fit,
    sums=Summed(gather, of_collected, together),
    limit=512,
    labels=("classes", "places", "numbers"),
)
paths = STUDY.function(
    """The gradient of each image's cross-entropy by path length, for `images` `[n, …]`.

    `method`: exact (the gradient of every length, Σ over its paths), all (the root mean square norm
    of all single paths, from `signs` random sign vectors an image), sample (the mean norm of
    `samples` random paths a length, each on `images_per_path` images, as published) or every.
    The forward pass is the chain's own, frozen; the result does not depend on `batch` and `memory`
    (bytes) but for rounding.  With `tolerance` what `exact` leaves out is a row, `left_out`: all
    lengths add up to the ordinary gradient, which goes back beside them.  Images are judged one by
    one.

    The table is in long form: `method`, `quantity` (see `table.py`), `block` (the gradient is the
    one at its input; 0 is the network's input), `name`, `stage`, `length`, how many paths have that
    length (`paths_log10`, `paths_share`), `value`, its 95 % interval, `images`, `draws`.

    Raises `ProbeError` for a plain network, options out of range, labels outside the classes,
    images of another shape than the chain's, a budget too small for one image, and anything not
    finite, named by block and length."""
)
