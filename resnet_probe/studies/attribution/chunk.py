"""All attributions on some images, as moments over these images that can be merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from resnet_probe.engine.images import Images
from resnet_probe.engine.sweep import Progress, Sweep
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.attribution import estimators
from resnet_probe.studies.attribution.gates import METRICS, SMOOTH, gated_metrics, network, without
from resnet_probe.studies.attribution.gradients import GatedChain, integrated_gradients
from resnet_probe.studies.attribution.request import Request

Found = dict[str, Moments]
"""Moments over images.  network, none `[3]`: `METRICS` of all gates open and shut; ablation,
shapley `[3, blocks]`; gradients `[2, blocks]` of `SMOOTH`; interactions `[3, pairs]`; classes
`[classes, 3, blocks]`: the ablation by true class; permutations `[permutations, 3, blocks]`; steps
`[1]`: of the integrals."""


class Ticks(NamedTuple):
    """Who is told how far the sweep and the integrals are."""

    sweep: Progress
    gradients: Progress


@dataclass(frozen=True, eq=False)
class Attributor:
    """Runs a request on images; `gradients` is None where none are asked for."""

    asked: Request
    sweep: Sweep
    gradients: GatedChain | None

    def __call__(
        self, images: Images, labels: Tensor, *, memory: int, progress: Ticks | None = None
    ) -> Found:
        """Attributions on images `[n, …]` with labels `[n]`."""
        sweeping, integrating = progress or (None, None)
        values = gated_metrics(self.sweep, self.asked.gates, images, labels, progress=sweeping)
        by_gates = {g: v.flatten() for g, v in zip(self.asked.gates, values, strict=True)}
        found = self._ends(by_gates)
        if {"ablation", "interactions"} & set(self.asked.methods):
            effects = estimators.ablation(estimators.answering(by_gates), self.asked.blocks)
            found |= self._ablation(effects, labels)
        if "interactions" in self.asked.methods:
            found["interactions"] = self._interactions(by_gates)
        if "shapley" in self.asked.methods:
            found |= self._shapley(by_gates)
        if self.gradients is not None:
            found |= self._gradients(by_gates, images, labels, memory, integrating)
        return found

    def _ends(self, values: estimators.Values) -> Found:
        shut = (0.0,) * self.asked.blocks
        both = (("network", network(self.asked.blocks)), ("none", shut))
        return {name: over_images(values[gates].view(len(METRICS), -1)) for name, gates in both}

    def _ablation(self, effects: Tensor, labels: Tensor) -> Found:
        shaped = _by_metric(effects)
        if labels.dim() > 1:  # several answers an image have no class of the image
            return {"ablation": over_images(shaped)}
        classes = int(self.sweep.chain.classes)
        empty = Moments.none((len(METRICS), self.asked.blocks))
        of_class = [shaped[:, labels.cpu() == c] for c in range(classes)]
        parts = [over_images(part) if part.shape[1] else empty for part in of_class]
        return {"ablation": over_images(shaped), "classes": Moments.stack(parts)}

    def _interactions(self, values: estimators.Values) -> Moments:
        """What deleting two costs beyond deleting each: v(−i) + v(−j) − v − v(−i −j)."""
        blocks = self.asked.blocks
        single = [values[without(blocks, b)] for b in range(1, blocks + 1)]
        whole = values[network(blocks)]
        beyond = [
            single[i - 1] + single[j - 1] - whole - values[without(blocks, i, j)]
            for i, j in self.asked.pairs
        ]
        return over_images(_by_metric(torch.stack(beyond, dim=1)))

    def _shapley(self, values: estimators.Values) -> Found:
        forward, blocks = estimators.answering(values), self.asked.blocks
        if not self.asked.permutations:
            return {"shapley": over_images(_by_metric(estimators.exact_shapley(forward, blocks)))}
        total, means = torch.zeros(()), []
        for number in range(self.asked.permutations):
            gains = _by_metric(
                estimators.shapley(forward, blocks, seed=self.asked.seed, permutation=number)
            ).double()
            total = total + gains
            means.append(over_images(gains))
        shares = over_images(total / self.asked.permutations)
        return {"shapley": shares, "permutations": Moments.stack(means)}

    def _gradients(
        self,
        values: estimators.Values,
        images: Images,
        labels: Tensor,
        memory: int,
        progress: Progress | None,
    ) -> Found:
        assert self.gradients is not None
        shut = (0.0,) * self.asked.blocks
        apart = (values[network(self.asked.blocks)] - values[shut]).view(len(METRICS), -1)
        where, smooth = self.sweep.chain.device, apart[-len(SMOOTH) :]
        found = integrated_gradients(
            self.gradients, images.to(where), labels.to(where), smooth, memory=memory,
            progress=progress,
        )  # fmt: skip
        steps = np.array([float(found.steps)])
        return {"gradients": over_images(found.shares), "steps": Moments.over(steps[:, None])}


def over_images(values: Tensor) -> Moments:
    """The moments over axis 1, the images."""
    return Moments.over(values.double().numpy(), axis=1)


def _by_metric(effects: Tensor) -> Tensor:
    """`[metrics · n, features]` as `[metrics, n, features]`."""
    return effects.reshape(len(METRICS), -1, effects.shape[-1])
