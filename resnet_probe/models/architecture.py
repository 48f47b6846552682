"""What is known about an architecture before any weights, and how to build it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from resnet_probe.errors import ProbeError
from resnet_probe.models import pretrained
from resnet_probe.models.initial import own_random_numbers


@dataclass(frozen=True)
class Architecture:
    """A network by name; `spec` is its one spelling, options at their default left out.

    `input_shape` is (channels, height, width) of the images it was made for, `classes` the default
    number of classes. `residual` is False where its blocks are plain layers. `note` says what
    deleting a block and taking a path mean, where a block is not just x + F(x). `output` names the
    logits among several tensors that it returns.
    """

    spec: str
    family: str  # resnet, preresnet, plain, wrn, resnext, highway, vgg, torchvision or own
    input_shape: tuple[int, int, int]
    classes: int
    residual: bool
    make: Callable[..., nn.Module] = field(repr=False, compare=False)
    note: str = field(default="", repr=False)
    output: str | None = None

    def build(self, classes: int | None = None, *, seed: int | None = None) -> nn.Module:
        """The network with initial weights, in train mode: [n, 3, h, w] -> [n, classes].

        The weights are drawn from `seed`, or from a copy of the current state of torch's random
        numbers where it is None; that state itself is left as it was. They are on the CPU, or on
        the meta device under `with torch.device("meta")`.

        Raises ProbeError for fewer classes than one.
        """
        classes = self.classes if classes is None else classes
        if classes < 1:
            raise ProbeError(f"{self.spec} cannot have {classes} classes: at least 1 is needed")
        with own_random_numbers(seed):
            return self.make(classes=classes)

    def pretrained(
        self, weights: str = "DEFAULT", *, progress: bool = False
    ) -> pretrained.Pretrained:
        """The network with weights that torchvision or timm publishes, downloaded once.

        Of timm's, the name itself says which weights.

        Raises ProbeError where there are no such weights, and without a network.
        """
        if self.family == "timm":
            from resnet_probe.models import from_timm

            return from_timm.load(self.spec.removeprefix("timm:"))
        if self.family != "torchvision":
            raise ProbeError(
                f"{self.spec} has no pretrained weights of torchvision: "
                f"those are for {', '.join(pretrained.NAMES)}"
            )
        return pretrained.load(self.spec.removeprefix("torchvision:"), weights, progress=progress)
