"""The README's pictures: a lead figure, thumbnails, what terminal, page and explorer show.

Figures come from the tables of the analyses beside this folder, one panel each in large type; the
terminal's picture from what the command prints; the page's from `report.html` in Chromium; the
explorer's from JupyterLab, with block 4 switched off by a click.

Run      python analyses/front_page/pictures.py                 figures alone, in seconds
         python analyses/front_page/pictures.py --runs runs     terminal and page too: `lesion` and
         `report`, found in runs/ where they were measured before; the page needs Chromium
         python analyses/front_page/pictures.py --explorer      the explorer too: needs JupyterLab,
         selenium and Chromium with its driver
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from jupyterlab_page import browser, headline, served, show, wait_for
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from resnet_probe import published
from resnet_probe.figures import style

HERE = Path(__file__).parent
TABLES = HERE.parent
NETWORK, IN_TERMINAL, ON_PAGE = "preresnet110", "resnet110", "resnet20"
GREEN, RED = "#009E73", "#D55E00"
WIDE, SMALL = (8.0, 3.7), (3.4, 2.3)  # inches, shown at 100 and at 80 pixels an inch
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--out", type=Path, default=HERE, help="(default: beside this file)")
    asked.add_argument("--runs", type=Path, metavar="DIR", help="terminal and page too: their runs")
    asked.add_argument("--explorer", action="store_true", help="the explorer too, in JupyterLab")
    given = asked.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    keep(drawn(lead, WIDE), given.out / "lead.png")
    for name, draw in THUMBNAILS.items():
        keep(drawn(draw, SMALL), given.out / f"{name}.png")
    if given.runs:
        keep(terminal(said_by_lesion(given.runs)), given.out / "terminal.png")
        photograph(page_of(given.runs), given.out / "page.png")
    if given.explorer:
        explored(given.out / "explorer.png")


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(TABLES / name / "table.csv", low_memory=False)


def drawn(draw: Callable[[Axes], None], size: tuple[float, float]) -> Figure:
    """What `draw` puts into one panel of that size, in type that a small picture can carry."""
    with style.theme():
        figure = Figure(figsize=size, layout="constrained")
        ax = figure.subplots()
        draw(ax)
        for text in (ax.xaxis.label, ax.yaxis.label):
            text.set_fontsize(11)
        ax.tick_params(labelsize=10)
    return figure


def keep(figure: Figure, path: Path) -> None:
    """As a PNG of few colours, which is a third of the bytes."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=200)
    small(Image.open(data), path)


def small(picture: Image.Image, path: Path) -> None:
    picture.convert("RGB").quantize(64, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def said_by_lesion(root: Path) -> list[str]:
    """The command, and the lines that it prints the first time."""
    words = ["lesion", "--arch", IN_TERMINAL]
    folder = root.resolve().parent
    said = subprocess.run([sys.executable, "-m", "resnet_probe", *words], cwd=folder,
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    lines = [line.partition(" (measured before")[0] for line in said.rstrip().splitlines()]
    lines = [line.replace(f"{folder}/", "") for line in lines]
    return [f"$ resnet-probe {' '.join(words)}", *lines]


def terminal(lines: list[str]) -> Figure:
    """Lines as a terminal shows them: light on dark, what was typed in green."""
    wide, high = 0.078 * max(map(len, lines)) + 0.4, 0.185 * len(lines) + 0.35
    figure = Figure(figsize=(wide, high), facecolor="#1E2227")
    for number, line in enumerate(lines):
        colour = "#9CE29C" if line.startswith("$") else "#E6E6E6"
        figure.text(0.2 / wide, 1 - (0.28 + 0.185 * number) / high, line, color=colour,
                    fontsize=9, family="monospace", parse_math=False)  # fmt: skip
    return figure


def page_of(root: Path) -> Path:
    words = ["report", "--arch", ON_PAGE, "--json"]
    said = subprocess.run([sys.executable, "-m", "resnet_probe", *words], cwd=root.resolve().parent,
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    return Path(json.loads(said)["folder"]) / "report.html"


def photograph(page: Path, path: Path) -> None:
    """The top of a page as headless Chromium shows it, 1,000 pixels wide."""
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser is None:
        sys.exit(f"no picture of {page}: Chromium is not installed")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                        "--window-size=1000,1190", f"--screenshot={shot}", page.as_uri()],
                       check=True, capture_output=True)  # fmt: skip
        small(ImageOps.expand(Image.open(shot).convert("RGB"), 1, "#C8C8C8"), path)


def explored(path: Path) -> None:
    """The explorer of the page's network in JupyterLab, after a click on block 4."""
    cells = [f"import resnet_probe as rp\nready = rp.prepare({ON_PAGE!r}, limit=200)",
             "rp.explore(ready)"]  # fmt: skip
    with tempfile.TemporaryDirectory() as name, browser(width=1000, height=900) as driver:
        with served(Path(name)) as address:
            show(driver, address, Path(name), cells)
            driver.find_elements("css selector", "button.rp-block")[3].click()
            wait_for(lambda: "1 off" in headline(driver), "the answer without block 4")
            shot = driver.find_element("css selector", ".rp-explore").screenshot_as_png
        small(ImageOps.expand(Image.open(io.BytesIO(shot)).convert("RGB"), 8, "white"), path)


def lead(ax: Axes) -> None:
    """Single deletions on photographs: two residual networks, two plain ones, and as published."""
    rows = table("veit2016_plain_networks-photographs")
    ours, other = _deletions(rows, NETWORK), _deletions(rows, "resnet56")
    _percent(ax, (5.2, 125), (6, 10, 20, 30, 50, 90))
    for arch, dash in (("plain56", "-"), ("vgg16_bn:width=16", (0, (4, 1.5)))):
        one = _deletions(rows, arch)
        ax.plot(_stretched(one), one["error_pct"], color=RED, ls=dash, lw=1.8)
    theirs = published.comparison("veit2016", "lesion")
    ax.plot(theirs["block"], theirs["error_pct"], color=style.PUBLISHED, lw=1.3, ls=(0, (1, 1)))
    ax.plot(_stretched(other), other["error_pct"], "^", ms=4.5, color=GREEN, mew=0)
    reach = ours[["ci_low_pct", "ci_high_pct"]].sub(ours["error_pct"], axis=0).abs()
    ax.errorbar(ours["block"], ours["error_pct"], reach.to_numpy().T, fmt="o", ms=5, mew=0,
                color=style.OURS, elinewidth=1.2, zorder=4)  # fmt: skip
    names = (NETWORK, "resnet56", "plain56", "vgg16_bn:width=16")
    deep, middle, plain, vgg = (_whole(rows, arch) for arch in names)
    ax.axhline(deep, color=style.OURS, lw=1, zorder=1)
    say(ax, 2, 113, "one layer deleted of a plain network: "
        f"plain-56 (whole {plain:.2f} %), VGG-16 (dashed; {vgg:.2f} %)", RED)  # fmt: skip
    say(
        ax, 3, 60, f"one block of pre-activation ResNet-110 (whole, line: {deep:.2f} %)", style.OURS
    )
    say(ax, 3, 48, f"… of ResNet-56 (whole {middle:.2f} %)", GREEN)
    say(ax, 20.7, 8.2, "as published in 2016", style.PUBLISHED)
    for block in (1, 19, 37):
        at = ours["error_pct"].iloc[block - 1]
        say(ax, block + 0.9, at * 1.05, str(block), style.OURS)
    ax.set(xlim=(0, 55), xlabel="block or layer deleted (shallower networks stretched to 54)",
           ylabel="error (%), photographs")  # fmt: skip


def depths(ax: Axes) -> None:
    """Each deletion a dot, each network a column."""
    rows = table("veit2016_depths-photographs")
    names = ["preresnet20", "preresnet110", "resnet20", "resnet56", "resnet110"]
    for place, arch in enumerate(names):
        errors = _deletions(rows, arch)["error_pct"]
        aside = place + 0.3 * (np.arange(len(errors)) % 5 - 2) / 2
        ax.plot(aside, errors, "o", ms=4, mew=0, color=style.OURS, alpha=0.6)
        ax.plot([place - 0.4, place + 0.4], [errors.median()] * 2, color=style.INK, lw=2)
    _percent(ax, (10, 100), (10, 20, 50, 100))
    ax.set_xticks(range(5), ["pre-20", "pre-110", "20", "56", "110"])
    ax.set(xlabel="layers (pre: pre-activation)", ylabel="error (%)")


def networks(ax: Axes) -> None:
    """The median deletion of each network beside the network as it is."""
    rows = table("veit2016_plain_networks-photographs")
    names = ["preresnet110", "resnet56", "vgg16:width=16", "vgg16_bn:width=16", "plain56"]
    for place, arch in enumerate(names):
        errors = _deletions(rows, arch)["error_pct"]
        colour = style.OURS if "resnet" in arch else RED
        ax.plot(errors, np.full(len(errors), place), "|", ms=11, color=colour, alpha=0.6)
        ax.plot(_whole(rows, arch), place, "s", ms=6, mfc="white", mec=style.INK)
    ax.set_yticks(range(5), ["ResNet-110", "ResNet-56", "VGG", "VGG, BN", "plain-56"])
    ax.set(ylim=(4.6, -0.6), xlim=(0, 100), xlabel="error (%), □ whole")


def multiple_deletions(ax: Axes) -> None:
    _by(ax, table("veit2016_multiple_deletions-photographs"), "edits")
    ax.set(xlabel="blocks deleted at random", ylabel="error (%)", ylim=(0, 100))


def permutations(ax: Axes) -> None:
    rows = table("veit2016_permutations-photographs").query("kind != 'baseline'")
    _by(ax, rows.assign(tau=rows["tau"].round(2)), "tau")
    ax.invert_xaxis()
    ax.set(xlabel="Kendall τ to the trained order", ylabel="error (%)", ylim=(0, 100))


def path_lengths(ax: Axes) -> None:
    """Shares of the gradient: the exact sums, and number × norm of all single paths."""
    rows = table("veit2016_path_lengths-photographs").query("block == 0 and length.notna()")
    exact = rows.query("quantity == 'share'")
    single = rows.query("quantity == 'rms_norm'")
    product = np.exp(np.log(10) * single["paths_log10"]) * single["value"]
    ax.axvspan(5, 17, color=style.FAINT)
    for one, share, colour, words in (
        (exact, exact["value"], style.OURS, "exact sums"),
        (single, product / product.sum(), RED, "number × norm"),
    ):
        ax.plot(one["length"], 100 * share, color=colour, lw=2)
        top = int(np.argmax(share))
        say(ax, top + 2.5, 100 * share.iloc[top], words, colour)
    ax.set(xlim=(0, 30), ylim=(0, None), xlabel="path length (grey: published 5–17)",
           ylabel="share (%)")  # fmt: skip


def effective_paths(ax: Axes) -> None:
    rows = table("veit2016_effective_paths")
    for regime, colour in (("all blocks", style.OURS), ("6 blocks a mini-batch", RED)):
        part = rows[rows["regime"] == regime]
        for _, one in part.groupby("seed"):
            ax.plot(one["epoch"], one["test_error_pct"], color=colour, lw=1.2, alpha=0.8)
    say(ax, 16, 30, "6 blocks a mini-batch", RED)
    say(ax, 25, 1.9, "all blocks", style.OURS)
    _percent(ax, (0.6, 100), (1, 3, 10, 30, 100))
    ax.set(xlabel="epoch (3 seeds each)", ylabel="test error (%)")


def stochastic_depth(ax: Axes) -> None:
    rows = table("huang2016_stochastic_depth")
    for name, colour, mark in (("all blocks", RED, "o"), ("stochastic depth", style.OURS, "^")):
        one = rows[(rows["label"] == name) & (rows["kind"] == "delete")]
        ax.plot(range(1, len(one) + 1), one["error_pct"], mark, ms=5, mew=0, color=colour)
        top = one["error_pct"].iloc[0]
        say(ax, 2.5, top, f"trained with {name}", colour)
    _percent(ax, (0.6, 130), (1, 3, 10, 30, 90))
    ax.set(xlabel="block deleted", ylabel="error (%)")


def degradation(ax: Axes) -> None:
    rows = table("he2015_degradation-photographs")
    for kind, colour in (("plain", RED), ("resnet", style.OURS)):
        for depth, dash in ((20, "-"), (56, (0, (3, 1)))):
            one = rows[rows["arch"] == f"{kind}{depth}"]
            ax.plot(one["epoch"], one["train_error_pct"], color=colour, ls=dash, lw=1.8)
    say(ax, 8, 62, "plain-56", RED)
    say(ax, 1.6, 6, "plain-20, both residual", style.INK)
    ax.set(xlabel="epoch", ylabel="training error (%)", ylim=(0, 100), xlim=(1, 20))


def layer_responses(ax: Axes) -> None:
    rows = table("he2015_layer_responses-photographs").query("quantity == 'response_std'")
    for arch, colour, dash in (("plain20", RED, "-"), ("plain56", RED, (0, (3, 1))),
                               ("resnet20", style.OURS, "-"), ("resnet56", style.OURS, (0, (3, 1))),
                               ("resnet110", style.OURS, (0, (1, 1)))):  # fmt: skip
        one = rows[rows["arch"] == arch].reset_index(drop=True)
        ax.plot(np.linspace(0, 1, len(one)), one["value"].sort_values(ascending=False), lw=1.8,
                color=colour, ls=dash, label=arch)  # fmt: skip
    ax.legend(fontsize=10)
    ax.set(xlabel="layers, largest first", ylabel="std of responses", ylim=(0, 1), xticks=())


def autocorrelation(ax: Axes) -> None:
    rows = table("balduzzi2017_gradient_autocorrelation").query("lag == 1")
    for kind, colour in (("plain", RED), ("resnet", style.OURS)):
        one = rows[rows["arch"].str.fullmatch(kind + r"\d+")]
        at = one["arch"].str.extract(r"(\d+)", expand=False).astype(int)
        ax.plot(at, one["autocorrelation"], "o", ms=5, mew=0, color=colour)
        middle = one["autocorrelation"].groupby(at).median()
        ax.plot(middle.index, middle, color=colour, lw=1.5)
        say(ax, 66, middle.loc[56] + 0.1, "residual" if kind == "resnet" else kind, colour)
    ax.set(
        xlabel="layers (untrained, 3 seeds)", ylabel="correlation", ylim=(-0.1, 1), xlim=(10, 120)
    )


def stale_statistics(ax: Axes) -> None:
    rows = table("stale_statistics-photographs").query("kind == 'delete'")
    names = ["resnet20", "preresnet20", "resnet56", "preresnet110", "plain20", "plain56"]
    for place, arch in enumerate(names):
        for when, colour in (("as it stands", RED), ("statistics re-estimated", style.OURS)):
            middle = rows.loc[rows["label"] == f"{arch}, {when}", "error_pct"].median()
            ax.plot(middle, place, "o", ms=7, mew=0, color=colour)
    say(ax, 43, 0, "stale", RED)
    say(ax, 23, 2, "re-estimated", style.OURS)
    labels = ["ResNet-20", "pre-20", "ResNet-56", "pre-110", "plain-20", "plain-56"]
    ax.set_yticks(range(6), labels)
    ax.set(ylim=(5.6, -0.6), xlim=(0, 100), xlabel="median error (%)")


def say(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Words beside what they name."""
    ax.text(x, y, text, color=colour, fontsize=10.5, va="center")


def _by(ax: Axes, rows: pd.DataFrame, column: str) -> None:
    """Medians with quartiles of the draws."""
    found = rows.groupby(pd.to_numeric(rows[column]))["error_pct"].quantile([0.25, 0.5, 0.75])
    found = found.unstack()
    ax.fill_between(found.index, found[0.25], found[0.75], color=style.LIGHT, lw=0)
    ax.plot(found.index, found[0.5], "o-", ms=4, lw=1.8, color=style.OURS)


def _deletions(rows: pd.DataFrame, arch: str) -> pd.DataFrame:
    one = rows[(rows["arch"] == arch) & (rows["kind"] == "delete")].reset_index(drop=True)
    return one.assign(block=np.arange(1, len(one) + 1))


def _whole(rows: pd.DataFrame, arch: str) -> float:
    whole = rows[(rows["arch"] == arch) & (rows["kind"] == "baseline")]
    return float(whole["error_pct"].iloc[0])


def _stretched(rows: pd.DataFrame, blocks: int = 54) -> pd.Series:
    return (rows["block"] - 0.5) * blocks / len(rows) + 0.5


def _percent(ax: Axes, limits: tuple[float, float], ticks: tuple[float, ...]) -> None:
    """A logarithmic axis of errors."""
    ax.set_yscale("log")
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_ylim(*limits)
    ax.minorticks_off()


THUMBNAILS: dict[str, Callable[[Axes], None]] = {
    "veit2016_depths": depths,
    "veit2016_plain_networks": networks,
    "veit2016_multiple_deletions": multiple_deletions,
    "veit2016_permutations": permutations,
    "veit2016_path_lengths": path_lengths,
    "veit2016_effective_paths": effective_paths,
    "stale_statistics": stale_statistics,
    "huang2016_stochastic_depth": stochastic_depth,
    "he2015_degradation": degradation,
    "he2015_layer_responses": layer_responses,
    "balduzzi2017_gradient_autocorrelation": autocorrelation,
}
"""By the name of the analysis whose table is drawn."""

if __name__ == "__main__":
    main()
