"""Loss and errors summed on the device, and looked at now and then."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_probe.training.checks import refuse_divergence
from resnet_probe.training.team import Team


@dataclass(eq=False)
class Tally:
    """What the steps of an epoch lost and got wrong; a team's numbers are those of all of it.

    Only `look` waits for the device (and the team); ``loss`` and ``error_pct`` are those of the
    last look.
    """

    total: Tensor
    wrong: Tensor
    seen: Tensor
    team: Team
    looked: tuple[float, int, int] = (0.0, 0, 0)

    @classmethod
    def on(cls, device: torch.device, team: Team) -> Tally:
        """Nothing seen yet."""
        none = torch.zeros((), dtype=torch.int64, device=device)
        return cls(torch.zeros((), device=device), none, none.clone(), team)

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """One step: logits ``[b, classes]``, labels ``[b]`` and their mean loss."""
        self.total += loss * len(labels)
        self.wrong += (logits.argmax(1) != labels).sum()
        self.seen += len(labels)

    def look(self, epoch: int, lr: float) -> float:
        """The error in per cent since the last look; ProbeError for a loss that is not finite."""
        _, wrong_before, seen_before = self.looked
        total, wrong, seen = (
            self.team.summed(each) for each in (self.total, self.wrong, self.seen)
        )
        self.looked = float(total), int(wrong), int(seen)
        refuse_divergence(self.looked[0], epoch, lr)
        return 100 * (self.looked[1] - wrong_before) / (self.looked[2] - seen_before)

    @property
    def loss(self) -> float:
        """The mean over all images seen."""
        return self.looked[0] / self.looked[2]

    @property
    def error_pct(self) -> float:
        return 100 * self.looked[1] / self.looked[2]
