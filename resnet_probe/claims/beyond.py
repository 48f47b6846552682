"""Published claims that nothing which comes with this package can test, each with the reason.

They are in the ledger so that no reader takes silence for agreement. Most are claims about
training: they compare procedures, so they need several trainings of each, not one network.
"""

from __future__ import annotations

from resnet_probe.claims.claim import Beyond

SEEDS = "a claim about training: it needs several trainings of each kind"

BEYOND = (
    Beyond(
        name="veit2016/effective-only",
        source="arXiv 1605.06431, section 5",
        statement="Training only the effective paths gives as good a network.",
        wording="{:.2f} against {:.2f} %",
        published=(
            "veit2016/preresnet110/effective-only/error",
            "veit2016/preresnet110/effective-only/full",
        ),
        why=f"{SEEDS}, at least 3 with 23 random blocks a mini-batch and 3 without "
        "(train --effective-paths 23)",
        lacking=("effective-paths",),
    ),
    Beyond(
        name="veit2016/stochastic-depth",
        source="arXiv 1605.06431, section 6, figure 7",
        statement="Stochastic depth makes a network still more robust to deletions.",
        wording="110 layers: median {:.2f} %, worst {:.1f} %",
        published=("veit2016/stochastic-depth-110/delete/median",
                   "veit2016/stochastic-depth-110/delete/worst"),
        why="needs networks trained with and without stochastic depth "
        "(train --stochastic-depth 0.5), of which none is bundled",
        lacking=("stochastic-depth",),
    ),
    Beyond(
        name="veit2016/imagenet",
        source="arXiv 1605.06431, section 4.1, figure 4",
        statement="The same holds on ImageNet.",
        wording="200 layers: {:.2f} %, median {:.2f} %, block 66: {:.1f} %",
        published=("veit2016/preresnet200/error", "veit2016/preresnet200/delete/median",
                   "veit2016/preresnet200/delete/66"),
        why="needs the ImageNet validation images and a network trained on them "
        "(lesion --arch resnet152 --weights pretrained --data imagefolder:DIR)",
        lacking=("imagenet",),
    ),
    Beyond(
        name="he2015/errors",
        source="arXiv 1512.03385, table 6",
        statement="What error each depth reaches on CIFAR-10.",
        wording="{:.2f}, {:.2f}, {:.2f} ± {:.2f} % at 20, 56, 110 layers",
        published=("he2015/resnet20/error", "he2015/resnet56/error", "he2015/resnet110/error/mean",
                   "he2015/resnet110/error/sd"),
        why=f"{SEEDS}, on CIFAR-10",
        lacking=(r"resnet20.*seed1",),
    ),
    Beyond(
        name="he2015/degradation",
        source="arXiv 1512.03385, section 4.2, figure 6",
        statement="Deeper plain networks are worse, even in training error; residual ones better.",
        wording="ImageNet, 18 and 34 layers: plain {:.2f}, {:.2f} %, residual {:.2f}, {:.2f} %",
        published=("he2015/plain18/imagenet-error", "he2015/plain34/imagenet-error",
                   "he2015/resnet18/imagenet-error", "he2015/resnet34/imagenet-error"),
        why=f"{SEEDS} and depth",
        lacking=(r"plain\d+.*seed1",),
    ),
    Beyond(
        name="he2015/shortcut-options",
        source="arXiv 1512.03385, table 3",
        statement="Projection shortcuts are only slightly better than parameter-free ones.",
        wording="{:.2f}, {:.2f}, {:.2f} % for options A, B, C",
        published=tuple(f"he2015/resnet34/option-{kind}" for kind in "ABC"),
        why=f"{SEEDS}, on ImageNet",
        lacking=("imagenet",),
    ),
    Beyond(
        name="he2016/shortcuts",
        source="arXiv 1603.05027, table 1",
        statement="Anything but an identity on the shortcut hurts.",
        wording="identity {:.2f} %, scaled {:.2f} %, 1×1 convolution {:.2f} %",
        published=("he2016/shortcut/identity", "he2016/shortcut/scaled", "he2016/shortcut/conv"),
        why=SEEDS,
        lacking=("shortcut",),
    ),
    Beyond(
        name="he2016/orders",
        source="arXiv 1603.05027, table 2",
        statement="Full pre-activation is the best order.",
        wording="{:.2f} against {:.2f} % at 110 layers",
        published=("he2016/order/full/110", "he2016/order/original/110"),
        why=f"{SEEDS}; at 110 layers the published difference is inside the noise between seeds",
        lacking=("order", r"preresnet.*seed1"),
    ),
    Beyond(
        name="he2016/1001-layers",
        source="arXiv 1603.05027, table 3",
        statement="With pre-activation 1001 layers train better than without.",
        wording="{:.2f} instead of {:.2f} %",
        published=("he2016/1001/full", "he2016/1001/original"),
        why=SEEDS,
        lacking=("resnet1001",),
    ),
    Beyond(
        name="torchvision/accuracy",
        source="torchvision weights documentation",
        statement="What accuracy the published ImageNet weights have.",
        wording="{:.2f} % (ResNet-18) to {:.2f} % (ResNet-152)",
        published=("torchvision/resnet18/v1", "torchvision/resnet152/v1"),
        why="needs the ImageNet validation images, and those weights",
        lacking=("imagenet",),
    ),
    Beyond(
        name="balduzzi2017/shattered-gradients",
        source="arXiv 1702.08591, figures 1 and 2",
        statement="Before training, the gradients of deep plain networks look like white noise, "
        "those of residual networks do not.",
        wording="plain: white noise; residual: between white and brown noise",
        why="needs gradients along a line of images, which no study keeps: measured, with its "
        "interval, by analyses/balduzzi2017_gradient_autocorrelation.py",
        lacking=(),
    ),
    Beyond(
        name="huang2016/error",
        source="arXiv 1603.09382, section 4",
        statement="Stochastic depth lowers the error of a 110-layer network.",
        wording="{:.2f} to {:.2f} %",
        published=("huang2016/constant-depth/error", "huang2016/stochastic-depth/error"),
        why=f"{SEEDS}, and long ones",
        lacking=("stochastic-depth",),
    ),
    Beyond(
        name="srivastava2015/idle-layers",
        source="arXiv 1505.00387, section 4",
        statement="Most layers of a highway network are idle on MNIST.",
        wording="deleting most layers changes nothing",
        why="needs a trained highway network, of which none is bundled, and MNIST",
        lacking=("highway",),
    ),
    Beyond(
        name="men2024/block-influence",
        source="arXiv 2403.03853",
        statement="Layers that turn the state least are those that can go.",
        wording="1 − cos(h, h′) orders the layers",
        why="a claim about language models of billions of weights; here greedy holds the order by "
        "this score against deletions that are measured (and responses --costs its ranks)",
        lacking=("llama",),
    ),
    Beyond(
        name="gromov2024/ranges",
        source="arXiv 2403.17887",
        statement="A range of nearly half of the layers can be left out before the network breaks.",
        wording="up to about half of the layers, the deeper ones",
        why="a claim about language models of billions of weights; of residual networks on "
        "photographs measured by analyses/gromov2024_ranges.py (lesion --edit ranges)",
        lacking=("llama",),
    ),
    Beyond(
        name="li2024/optimal-ablation",
        source="arXiv 2409.09951",
        statement="Much of what a deletion costs is the strange value, not what is missing.",
        wording="a constant that loses least costs less than a mean or nothing",
        why="a claim about circuits of language models; of residual networks on photographs "
        "measured by analyses/li2024_replacement_values.py (lesion --edit replace)",
        lacking=("gpt",),
    ),
    Beyond(
        name="lad2024/transformers",
        source="arXiv 2406.19384; 2103.14586",
        statement="Transformers, too, keep most predictions without any one layer.",
        wording="{:.0f} to {:.0f} % of predictions kept, first and last layers worst",
        published=("lad2024/kept/least", "lad2024/kept/most"),
        why="needs a trained transformer, of which none is bundled (lesion --model takes one)",
        lacking=("vit", "swin", "deit"),
    ),
)  # fmt: skip
