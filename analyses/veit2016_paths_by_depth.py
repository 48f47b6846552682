"""What the exact gradient of every path length, and every single deletion, take as depth grows.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, sections 4.1 and 5; the depths up to 1,202
         layers are those of He et al. 2015, arXiv 1512.03385, section 4.2
Claim    N blocks have 2^N paths, and yet the gradient of all paths of each length takes N(N+1)/2
         branch products, as deleting each block in turn takes N(N+1)/2 branch evaluations: time
         grows as the square of depth, memory in proportion to it. Lengths that have died out take
         none.
Here     untrained ResNets (seed 0, batch-norm statistics of 64 images), 4 images of 16×16 digits at
         once, 20 to 1,202 layers, powers of the number of blocks fitted from 56 on (95 % CI, n = 5
         depths): the exact spectrum's products grow as its 1.97 (1.94–1.99), CPU time as its 1.48
         (1.24–1.72), memory as its 0.96 (0.64–1.28). With a tolerance of 1e-6 products grow as its
         1.15 (0.98–1.31) and time as its 1.10 (0.98–1.23): at 1,202 layers 14,390 products in place
         of 180,900, 8.3 s in place of 29.2 s (10.8 and 38.0 ordinary passes), 344 MiB in place of
         452, and 1.2e-05 of the gradient's norm is left out. Single deletions: 75.0 s, as its 1.66
         (1.46–1.87). The claim holds in products and memory; time at these depths grows more slowly
         than products, as more rows go through a branch at once. 16 photographs of 32×32 at 1,202
         layers, two threads: 39 s with the tolerance (14,714 products, 1.3e-05 left out; an
         ordinary pass 3.9 s) in 1.8 GiB, and 814 s for the deletions of all 600 blocks, beside
         other work. 3 minutes of CPU time, one thread of a busy machine
Run      python analyses/veit2016_paths_by_depth.py     (--tiny: one shallow, narrow network;
         --depths, --images, --data and --tolerance for other ones, --threads for more than one)
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy import stats

from resnet_probe import Result, lesion, paths, prepare, untrained
from resnet_probe.benchmarks.clock import peak_memory
from resnet_probe.benchmarks.paths import ordinary
from resnet_probe.figures import style

HERE, NAME = Path(__file__).parent, Path(__file__).stem
DEPTHS = (20, 56, 110, 218, 434, 1202)
ORDINARY, EXACT, LESION = "one ordinary pass", "exact spectrum", "single deletions"
WARM = 8
STATISTICS = 64
"""Images that the batch norms of an untrained network have their statistics of."""
SHALLOW = 20
"""Layers up to which what does not grow with depth hides what does: left out of the fits."""
QUANTITIES = {
    "seconds": "CPU time (s)", "memory_mib": "peak memory (MiB)", "products": "branch products",
}  # fmt: skip


def main() -> None:
    given = options()
    torch.set_num_threads(given.threads)
    if not given.tiny:
        list(measured(WARM, given))  # libraries take their own time and memory once
    table = pd.DataFrame([row for depth in given.depths for row in measured(depth, given)])
    fits = pd.DataFrame(exponents(table))
    print(*sentences(table, fits), sep="\n")
    identity = {
        "study": "veit2016-paths-by-depth", "depths": list(given.depths), "images": given.images,
        "data": given.data, "tolerance": given.tolerance, "width": given.width, "seed": 0,
    }  # fmt: skip
    whole = pd.concat([table, fits], ignore_index=True)
    record = {"identity": identity, "threads": given.threads}
    result = Result("veit2016-paths-by-depth", whole, record)
    print(result.save(given.out, figures={"figure": drawn(table, given)}))


def options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--tiny", action="store_true", help="one shallow, narrow network")
    asked.add_argument("--depths", nargs="+", type=int, default=DEPTHS, metavar="LAYERS")
    asked.add_argument("--images", type=int, default=4, help="that go through together (4)")
    asked.add_argument("--data", default="digits")
    asked.add_argument("--tolerance", type=float, default=1e-6, help="beside none at all (1e-6)")
    asked.add_argument("--width", type=int, default=16, help="of the first stage (16)")
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--out", type=Path, default=HERE / NAME)
    given = asked.parse_args()
    if given.tiny:
        given.depths, given.width, given.images = (14,), 4, 2
    return given


def measured(depth: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each thing that is done, on the same images of one untrained network."""
    arch = f"resnet:depth={depth},width={given.width}"
    ready = prepare(
        arch, weights="initial:0", data=given.data, limit=max(STATISTICS, given.images),
        normalize="mean=0.5,std=0.5",
    )  # fmt: skip
    twin = untrained(ready)
    chain, images, labels = twin.chain, twin.images, twin.labels
    x, y = images[: given.images], labels[: given.images]
    exact = partial(paths, chain, x, y, method="exact", batch=given.images, memory=2**40)
    calls: dict[tuple[str, float], Callable[[], Any]] = {
        (ORDINARY, 0.0): partial(ordinary, chain, x, y, given.images),
        (EXACT, 0.0): exact,
        (EXACT, given.tolerance): partial(exact, tolerance=given.tolerance),
        (LESION, 0.0): partial(lesion, chain, x, y, batch=given.images, memory=2**40),
    }
    for (what, tolerance), call in calls.items():
        seconds, memory, found = cost(call)
        table = found.table if isinstance(found, Result) else None
        row = {"depth": depth, "blocks": len(chain), "what": what, "tolerance": tolerance,
               "seconds": seconds, "memory_mib": memory}  # fmt: skip
        print(f"{depth} layers, {named(what, tolerance)}: {seconds:.2f} s", flush=True)
        yield row | of_paths(table, len(chain), tolerance) if what == EXACT else row


def cost(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of processor time, MiB at most beyond what was held before, and what it gave."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # what earlier calls have freed is not there to be used again
    with peak_memory(torch.device("cpu")) as peak:
        began = time.process_time()
        found = call()
        seconds = time.process_time() - began
    most = peak()
    return seconds, np.nan if most is None else most / 2**20, found


def of_paths(table: pd.DataFrame, blocks: int, tolerance: float) -> dict[str, float]:
    """How many branch products an image took, and what was left out, of the gradient's norm.

    At each block those of the lengths that arrive at its output, and of the whole gradient.
    """
    sums = table[(table["quantity"] == "norm_of_sum") & (table["block"] > 1)]
    # Without a tolerance all are followed, also those that even float64 holds as 0.
    arriving = int((sums["value"] > 0).sum() if tolerance else len(sums)) + 1
    left_out = table.loc[table["quantity"] == "left_out", "value"]
    return {
        "products": arriving + blocks,
        "left_out": float(left_out.iloc[0]) if len(left_out) else 0.0,
    }


def exponents(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The power of the number of blocks that each quantity grows with, log on log, 95 % CI."""
    deep = table[table["depth"] > min(SHALLOW, table["depth"].max() - 1)]
    for (what, tolerance), rows in deep.groupby(["what", "tolerance"], sort=False):
        for quantity in QUANTITIES:
            known = rows[rows[quantity] > 0]
            if len(known) < 3:
                continue
            fit = stats.linregress(np.log(known["blocks"]), np.log(known[quantity]))
            reach = stats.t.ppf(0.975, len(known) - 2) * fit.stderr
            yield {"what": what, "tolerance": tolerance, "quantity": quantity,
                   "exponent": fit.slope, "ci_low": fit.slope - reach,
                   "ci_high": fit.slope + reach}  # fmt: skip


def sentences(table: pd.DataFrame, fits: pd.DataFrame) -> Iterator[str]:
    """What the deepest network takes, in ordinary passes, and how that has grown."""
    deepest = table[table["depth"] == table["depth"].max()]
    once = deepest.loc[deepest["what"] == ORDINARY, "seconds"].item()
    for row in deepest.itertuples():
        more = "" if row.what != EXACT else (
            f", {row.products:,.0f} products, {row.left_out:.1e} of the norm left out")  # fmt: skip
        yield (
            f"{row.depth} layers, {named(row.what, row.tolerance)}: {row.seconds:.1f} s of CPU "
            f"time ({row.seconds / once:.1f} ordinary passes), {row.memory_mib:,.0f} MiB{more}"
        )
    for row in fits.itertuples():
        yield (
            f"{named(row.what, row.tolerance)}: {row.quantity} grows as the number of blocks to "
            f"the {row.exponent:.2f} (95 % CI {row.ci_low:.2f} to {row.ci_high:.2f})"
        )


def named(what: str, tolerance: float) -> str:
    return f"{what}, tolerance {tolerance:g}" if tolerance else what


def drawn(table: pd.DataFrame, given: argparse.Namespace) -> Figure:
    looks = {
        named(ORDINARY, 0): (style.PUBLISHED, "o:"),
        named(EXACT, 0): (style.INK, "s-"),
        named(EXACT, given.tolerance): (style.OURS, "^-"),
        named(LESION, 0): (style.TRANSITION, "D--"),
    }
    title = f"Untrained ResNets, {given.images} images of {given.data}"
    with style.theme():
        figure, axes = style.panels(3, columns=2, height=2.5, title=title, across=3)
        for ax, (quantity, label) in zip(axes, QUANTITIES.items(), strict=True):
            for (what, tolerance), rows in table.groupby(["what", "tolerance"], sort=False):
                name, known = named(what, tolerance), rows[rows[quantity] > 0]
                colour, line = looks[name]
                ax.plot(
                    known["blocks"], known[quantity], line, color=colour, ms=3, lw=1, label=name
                )
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlabel("blocks")
            ax.set_ylabel(label)
        style.letter(axes, ["time", "memory", "work"])
        style.legend(figure, axes, columns=2)
    return figure


if __name__ == "__main__":
    main()
