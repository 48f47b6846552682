"""A random network with images, as a chain and as it is, and what compares the two."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from campaigns.plain import Plain, size
from campaigns.programs import CLASSES, Network, network
from scipy import stats
from torch import Tensor

import resnet_probe as rp


@dataclass(frozen=True, eq=False)
class Case:
    """`x` are the images in double precision, as the chain has them in its own."""

    seed: int
    plain: Plain
    chain: rp.ResidualChain
    images: Tensor
    y: Tensor
    batch: int | None

    @classmethod
    def of(cls, seed: int) -> Case:
        pick = random.Random(f"case {seed}")
        dtype, example, n = pick.choice([torch.float32, torch.float64]), pick.choice([1, 3]), 18
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, 3, 8, 6, generator=generator, dtype=torch.float64).to(dtype)
        if pick.random() < 0.3:
            x = x.contiguous(memory_format=torch.channels_last)
        net = leaning(network(seed).double(), x).to(dtype)
        chain, plain = rp.chain_of(net, x[:example]), Plain(net)
        # Some labels are the network's own answers, so that errors are neither none nor all.
        y = torch.randint(CLASSES, (n,), generator=generator)
        y[::2] = plain.run(x).logits.argmax(1)[::2]
        return cls(seed, plain, chain, x, y, pick.choice([None, 1, 3, 4]))

    @property
    def pick(self) -> random.Random:
        """For what a study is asked: the same again each time."""
        return random.Random(f"options {self.seed}")

    @property
    def blocks(self) -> range:
        return range(1, len(self.plain) + 1)

    @property
    def double(self) -> bool:
        return self.images.dtype == torch.float64

    @property
    def faint(self) -> bool:
        """Whether a branch gives nothing but rounding, as a norm of a constant does."""
        least = 1e-9 if self.double else 1e-4
        seen = self.plain.run(self.images).blocks
        return any(bool((size(b.branch) <= least * size(b.shortcut)).any()) for b in seen)

    def some(self, n: int = 7, first: int = 0) -> tuple[Tensor, Tensor]:
        return self.images[first : first + n], self.y[first : first + n]

    def ask(self, study: str, x: Tensor, y: Tensor, **options: Any) -> rp.Result:
        return getattr(rp, study)(self.chain, x, y, **{"batch": self.batch, **options})

    def initial(self, x: Tensor) -> tuple[Plain, bool]:
        """The network, or with the batch-norm statistics of these images, for which `init` asks."""
        init = self.pick.random() < 0.3
        renewed = self.plain.renewed(x, [1.0] * len(self.plain)) if init else None
        return renewed or self.plain, init

    def near(
        self, found: Any, expected: Any, what: Any = "", *, times: float = 1.0, least: float = 1e-3
    ) -> None:
        """Nearly the same numbers, NaN where NaN is expected."""
        found, expected = (
            np.asarray(each.detach() if isinstance(each, Tensor) else each, dtype=float)
            for each in (found, expected)
        )
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        part = times * (2e-6 if self.double else 1e-3)
        np.testing.assert_allclose(
            found, expected, rtol=part, atol=part * max(largest, least), err_msg=str(what)
        )

    def ranked(self, one: Any, other: Any, told: float) -> float:
        """Spearman's ρ; what was `told` where rounding decides the ranks."""
        both = np.sort([one, other], axis=1)
        if len(one) < 2:
            return np.nan
        part = 1e-8 if self.double else 1e-4
        least = part * np.abs(both).max(axis=1, keepdims=True).clip(min=0.1)
        tied = (np.diff(both, axis=1) < least).any()
        return told if tied else float(stats.spearmanr(one, other).statistic)

    def near_table(
        self, table: Any, expected: dict[str, Any], *, but: tuple[str, ...] = ()
    ) -> None:
        for name, values in expected.items():
            if name in table.columns and name not in but:
                self.near(table[name], values, name, least=1)


@torch.no_grad()
def leaning(net: Network, x: Tensor) -> Network:
    """With a head whose answers differ between images, as those of a trained network do."""
    logits = Plain(net).run(x).logits
    net.head.bias -= logits.mean(0)
    factor = (1 / logits.std(0).mean()).clamp(max=10)
    net.head.weight *= factor
    net.head.bias *= factor
    net.head.bias += 1  # of all logits alike, so that none are small beside their rounding
    return net
