"""The claims of He, Zhang, Ren & Sun, arXiv 1512.03385 (2015) and 1603.05027 (2016)."""

from __future__ import annotations

from functools import partial

from resnet_probe.claims import counts, gradients, sizes
from resnet_probe.claims.claim import Claim, above, at_least, at_most, equal_to
from resnet_probe.claims.evidence import one, pair, series

FIRST = "arXiv 1512.03385"
SECOND = "arXiv 1603.05027"
DEPTHS = (20, 32, 44, 56, 110, 1202)
exact = partial(Claim, kind="exact")
shape = partial(Claim, kind="shape")

CLAIMS = (
    exact(
        name="he2015/parameters",
        source=f"{FIRST}, table 6",
        statement="How many parameters the CIFAR-10 networks have.",
        wording="{:,.0f} at 20 layers to {:,.0f} at 1202",
        published=("he2015/resnet20/parameters", "he2015/resnet1202/parameters"),
        rule="The largest difference from the exact counts at 20, 32, 44, 56, 110 and 1202 layers "
        "with option-A shortcuts: 0.",
        unit="parameters",
        bound=equal_to(0),
        choose=counts.counted(*(f"resnet{depth}" for depth in DEPTHS)),
        measure=counts.largest_gap("parameters", "he2015/{arch}/parameters"),
    ),
    exact(
        name="he2015/multiply-adds",
        source=f"{FIRST}, section 4.2",
        statement="How many multiply-adds one image takes.",
        wording="{:.1f}, {:.1f}, {:.1f} million at 20, 56, 110 layers",
        published=tuple(f"he2015/resnet{depth}/macs" for depth in (20, 56, 110)),
        rule="The largest difference from the printed millions at 20, 56 and 110 layers: at most "
        "their rounding, 0.05.",
        unit="million",
        bound=at_most(0.05),
        choose=counts.counted("resnet20", "resnet56", "resnet110"),
        measure=counts.largest_gap("multiply_adds", "he2015/{arch}/macs"),
        network="resnet20, resnet56, resnet110",
    ),
    exact(
        name="he2015/bottleneck",
        source=f"{FIRST}, figure 5",
        statement="A bottleneck on 256 channels costs far less than two 3×3 layers would.",
        wording="{:,.0f} weights instead of {:,.0f}",
        published=("he2015/bottleneck/weights", "he2015/bottleneck/weights/plain"),
        rule="The larger difference from both counts, in a ResNet-50 and a ResNet-34: 0.",
        unit="weights",
        bound=equal_to(0),
        choose=counts.counted("bottleneck/weights", "bottleneck/weights/plain"),
        measure=counts.largest_gap("parameters", "he2015/{arch}"),
    ),
    exact(
        name="torchvision/resnet50/multiply-adds",
        source="torchvision weights documentation",
        statement="ResNet-50 with the stride in its 3×3 layers costs more than the original.",
        wording="{:.2f} instead of {:.1f} billion multiply-adds",
        published=("torchvision/resnet50/macs", "he2015/resnet50/flops"),
        rule="The difference from the printed billions: at most their rounding, 0.005.",
        unit="billion",
        bound=at_most(0.005),
        choose=counts.counted("resnet50"),
        measure=counts.largest_gap("multiply_adds", "torchvision/{arch}/macs"),
    ),
    shape(
        name="he2015/responses/plain",
        source=f"{FIRST}, section 4.2, figure 7",
        statement="Residual networks have smaller responses than plain ones.",
        wording="residual below plain",
        rule="Standard deviation behind batch norm, mean over the layers: that of the plain "
        "network less that of the residual one of the same depth, above 0. Interval: jackknife "
        "over images.",
        unit="std",
        bound=above(0),
        choose=pair("responses"),
        measure=sizes.std_below_plain,
        network="resnet20 and plain20, resnet56 and plain56",
    ),
    shape(
        name="he2015/responses/depth",
        source=f"{FIRST}, section 4.2, figure 7",
        statement="The deeper a residual network, the smaller its responses.",
        wording="20 > 56 > 110 layers",
        rule="The same mean falls from each depth to the next: the smallest fall is above 0. "
        "Interval: jackknife over images, joint over the steps.",
        unit="std",
        bound=above(0),
        choose=series("responses", "resnet"),
        measure=sizes.std_falls,
        network="resnet20, resnet56, resnet110",
    ),
    shape(
        name="he2016/identity-term",
        source=f"{SECOND}, equation 5",
        statement="The gradient has an identity term that reaches every block.",
        wording="∂E/∂x_l = ∂E/∂x_L · (1 + ∂/∂x_l Σ F)",
        rule="‖identity term‖ / ‖gradient‖ at the block where it is smallest, mean over images: "
        "above 0. Interval over images.",
        unit="of the gradient",
        bound=above(0),
        choose=one("paths", "preresnet110", "preresnet164"),
        measure=gradients.identity_term,
        network="preresnet110",
    ),
    shape(
        name="he2016/no-cancellation",
        source=f"{SECOND}, section 2",
        statement="…and the rest does not cancel it for a whole mini-batch.",
        wording="∂/∂x_l Σ F is not always −1",
        rule="The share of images for which the rest is not within 0.5 of −1 times the identity "
        "term, at the block where it is smallest: at least half. Wilson interval, joint over "
        "blocks.",
        unit="% of images",
        bound=at_least(50),
        choose=one("paths", "preresnet110", "preresnet164"),
        measure=gradients.not_cancelled,
        network="preresnet110",
    ),
)
