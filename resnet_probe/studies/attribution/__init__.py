"""Each block's share of the decision: captum's attributions with the gates as features."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_probe.settings import Settings, listed, option
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed

__all__ = ["STUDY", "attribute"]


@dataclass(frozen=True, kw_only=True)
class AttributeSettings(Settings):
    """Which attributions are made."""

    methods: tuple[str, ...] | None = option(
        None,
        "some of ablation, shapley, gradients, interactions (default: all that apply)",
        read=lambda text: tuple(text.split(",")),
        write=listed,
        metavar="A,B",
    )
    permutations: int | None = option(
        None,
        "random orders for the Shapley values (default: 20, or exact where that is cheaper)",
        metavar="N",
    )
    seed: int = option(0, "of all random draws (default: 0)", least=0, metavar="N", group="run")
    exact: bool = option(
        False,
        "run the network's own modules, nothing folded: the arithmetic of the plain loop",
        group="run",
    )


def fit(subject: Subject, settings: AttributeSettings) -> AttributeSettings:
    from resnet_probe.studies.attribution.request import request
    from resnet_probe.studies.checks import check_gradients, check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    check_gradients(subject.chain)
    request(
        subject.chain, methods=settings.methods, permutations=settings.permutations,
        seed=settings.seed,
    )  # fmt: skip
    return settings


def gather(subject: Subject, settings: AttributeSettings, run: Run) -> Arrays:
    from resnet_probe.studies.attribution.study import gather

    return gather(subject, settings, run)


def of_moments(subject: Subject, settings: AttributeSettings, found: Arrays) -> Measured:
    from resnet_probe.studies.attribution.study import of_moments

    return of_moments(subject, settings, found)


def together(settings: AttributeSettings, images: int) -> int:
    from resnet_probe.studies.attribution.study import together

    return together(settings, images)


STUDY = Study(
    "attribute",
    description="""\
Give every block its share of the decision: captum's attributions with a gate on each branch as
the features, and accuracy, loss and the true class's margin as the outputs.
  ablation      what deleting the block alone costs, for all images and for each class
  shapley       its mean gain over random orders of adding the blocks (exact for short networks)
  gradients     integrated gradients while all gates open together
  interactions  what deleting two blocks costs beyond deleting each: additivity, tested directly""",
    examples=(
        "--arch resnet20",
        "--arch resnet110 --methods ablation,shapley --permutations 20",
        "--arch resnet56 --weights resnet56.th --normalize imagenet --data parquet:test.parquet "
        "--limit 256",
    ),
    settings=AttributeSettings,
    fit=fit,
    sums=Summed(gather, of_moments, together),
    limit=256,
    labels=("classes", "places"),
)
attribute = STUDY.function(
    """What each block adds to accuracy, loss and margin on `images` `[n, …]` with `labels` `[n]`.

    The blocks' gates α ∈ [0, 1]^N are captum's features, all ones its input and all zeros its
    baseline.  `methods`, by default all that apply:

    - ablation: what closing one gate takes off (captum's `FeatureAblation`, Veit et al. 2016's
      lesion), for all images and for each true class;
    - shapley: the mean gain of opening a gate, over `permutations` random orders (captum's
      `ShapleyValueSampling`) with its standard error over them; without a number of permutations
      20, or exactly from all subsets of the blocks where that takes less;
    - gradients: captum's `IntegratedGradients` along α, for loss and margin (accuracy has none;
      nor has a plain network);
    - interactions: what closing two gates takes off beyond closing each: 0 for all pairs if the
      blocks add up independently, "ensemble-like".

    The table is in long form (see `attribution.table.COLUMNS`).

    Raises `ProbeError` for unknown methods, fewer than two permutations or images, data that do not
    fit, weights that are not finite (by name), and a memory budget too small."""
)
