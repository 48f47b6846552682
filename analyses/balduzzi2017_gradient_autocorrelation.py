"""How the gradient with respect to the input changes along a line, before any training.

Paper    Balduzzi, Frean, Leary, Lewis, Ma, McWilliams 2017, arXiv 1702.08591, figures 1 and 2
Claim    At initialisation the input gradients of deep plain networks look like white noise ("they
         shatter"), those of residual networks lie between white and brown noise
Here     our convolutional networks instead of the paper's multilayer perceptrons; the input moves
         in 256 steps on the straight line between two digits, batch norm has the statistics of
         these inputs, and the gradient is that of each logit along the line
Run      python analyses/balduzzi2017_gradient_autocorrelation.py     (--tiny: small and few)

RESULT   autocorrelation at lag 1, mean of 3 seeds (95 % CI): plain20 0.55 (0.42–0.68), plain56
         -0.01 (-0.08–0.05), plain110 0.00 (-0.01–0.01), resnet20 0.90 (0.86–0.94), resnet56 0.77
         (0.62–0.92), resnet110 0.62 (0.45–0.78), preresnet110 0.52 (0.39–0.65), white noise -0.01,
         brown noise 0.97; the claim holds. One minute on 2 CPU cores
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe import ResidualChain, Result, prepare, recalibrated
from resnet_probe.figures import marks, style
from resnet_probe.stats import mean_interval

HERE = Path(__file__).parent
STUDY = "balduzzi2017-gradient-autocorrelation"
NETWORKS = ("plain20", "plain56", "plain110", "resnet20", "resnet56", "resnet110", "preresnet110")
NOISES = ("white noise", "brown noise")
AT_ONCE = 32
"""Points that are differentiated together."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiny", action="store_true", help="small networks, few seeds")
    options.add_argument("--seeds", type=int, default=3, help="initialisations (default: 3)")
    options.add_argument("--out", type=Path, default=HERE / "balduzzi2017_gradient_autocorrelation")
    given = options.parse_args()
    names = ("plain20:width=4", "resnet20:width=4") if given.tiny else NETWORKS
    seeds, points = (3, 64) if given.tiny else (given.seeds, 256)
    lags = range(1, points // 8)
    rows = [
        {"arch": arch, "seed": seed, "lag": lag, "autocorrelation": value}
        for arch in (*names, *NOISES)
        for seed in range(seeds)
        for lag, value in zip(
            lags, autocorrelation(gradients(arch, seed, points), lags), strict=True
        )
    ]
    table = pd.DataFrame(rows)
    print(sentence(table))
    identity = {"study": STUDY, "archs": list(names), "seeds": seeds, "points": points}
    result = Result(STUDY, table, {"identity": identity})
    print(result.save(given.out, figures={"figure": figure(table)}))


def gradients(arch: str, seed: int, points: int) -> np.ndarray:
    """d logit / d t along the line, `[logits, points]`, of a fresh network, or noise instead."""
    if arch in NOISES:
        steps = np.random.default_rng(seed).normal(size=(10, points))
        return steps if arch == "white noise" else steps.cumsum(axis=1)
    network = prepare(arch, weights=f"initial:{seed}", data="digits", limit=2)
    first, last = network.images
    place = torch.linspace(0, 1, points, device=first.device).view(-1, 1, 1, 1)
    return slopes(recalibrated(network.chain, first + place * (last - first)), first, last, points)


def slopes(
    chain: ResidualChain, first: torch.Tensor, last: torch.Tensor, points: int
) -> np.ndarray:
    """The derivative of each logit along the line from one image to the other."""
    parts = []
    for some in torch.linspace(0, 1, points, device=first.device).split(AT_ONCE):
        t = some.clone().requires_grad_()
        logits = chain(first + t.view(-1, 1, 1, 1) * (last - first))
        each = [logits[:, c].sum() for c in range(logits.shape[1])]
        parts.append(torch.stack([torch.autograd.grad(y, t, retain_graph=True)[0] for y in each]))
    return torch.cat(parts, dim=1).double().cpu().numpy()


def autocorrelation(values: np.ndarray, lags: range) -> np.ndarray:
    """The correlation of each series with itself, `lag` steps on; mean over the series."""
    x = values - values.mean(axis=1, keepdims=True)
    power = (x**2).mean(axis=1)
    return np.array([((x[:, lag:] * x[:, :-lag]).mean(axis=1) / power).mean() for lag in lags])


def figure(table: pd.DataFrame) -> Figure:
    """A panel a network, its mean over seeds with a 95 % interval, between the two noises."""
    names = [arch for arch in dict.fromkeys(table["arch"]) if arch not in NOISES]
    title = f"Untrained networks, mean of {table['seed'].nunique()} seeds (95 % CI)"
    with style.theme():
        drawn, axes = style.panels(len(names), columns=2, height=1.3, title=title, across=4)
        for ax, arch in zip(axes, names, strict=True):
            for noise, look in zip(NOISES, marks.LOOKS, strict=False):
                grey = marks.Look(style.PUBLISHED, look[1], "")
                _draw(ax, table[table["arch"] == noise], grey, noise)
            _draw(ax, table[table["arch"] == arch], marks.Look(*marks.LOOKS[0]), "network")
            ax.set_ylim(-0.35, 1.05)
            ax.set_xlabel("lag (steps)")
            ax.set_ylabel("autocorrelation")
            _outer(ax, axes)
        style.letter(axes, names)
        style.legend(drawn, axes, columns=2)
    return drawn


def _outer(ax: Axes, axes: list[Axes]) -> None:
    """Names and numbers stay where no panel stands below, or to the left."""
    here = ax.get_subplotspec()
    spots = [
        (there.rowspan.start, there.colspan.start) for there in map(Axes.get_subplotspec, axes)
    ]
    row, column = here.rowspan.start, here.colspan.start
    if (row + 1, column) in spots:
        ax.set_xlabel("")
        ax.tick_params(labelbottom=False)
    if (row, column - 1) in spots:
        ax.set_ylabel("")
        ax.tick_params(labelleft=False)


def _draw(ax: Axes, rows: pd.DataFrame, look: marks.Look, label: str) -> None:
    by_lag = rows.groupby("lag")["autocorrelation"]
    means = pd.DataFrame([mean_interval(values) for _, values in by_lag])
    marks.line(
        ax, np.unique(rows["lag"]), means, look, label=label, ends=("low", "high"), marked=False
    )


def sentence(table: pd.DataFrame) -> str:
    """RESULT: the autocorrelation at lag 1."""
    first = table[table["lag"] == 1].groupby("arch", sort=False)["autocorrelation"]
    found = []
    for arch, values in first:
        mean = mean_interval(values)
        found.append(f"{arch} {mean.value:.2f} ({mean.low:.2f}–{mean.high:.2f})")
    count = table["seed"].nunique()
    return f"autocorrelation at lag 1, mean of {count} seeds (95 % CI): {', '.join(found)}"


if __name__ == "__main__":
    main()
