"""A table for every figure, as large as networks in papers make them, and the figures of all."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from lesion_tables import deep, reordered, rows, several, single, with_intervals
from matplotlib.figure import Figure
from test_figures_paths import table_of
from test_figures_studies import agreement_of, attribution_of, lens_of, recalibrated, responses_of

from resnet_probe import figures, published
from resnet_probe.figures.agreement import ensembles
from resnet_probe.figures.claims import claim_intervals, claim_matrix
from resnet_probe.results import Result

DEEP = 54
STAGE = np.repeat(["1", "2", "3"], 18)
ON = {"arch": "preresnet110", "data": "parquet:/x/cifar10/test-00000-of-00001.parquet",
      "data_note": "stored as JPEG"}  # fmt: skip
STUDIES = {
    "lesion-counts": lambda: several("delete", range(1, 21)),
    "lesion-duplicate": lambda: several("duplicate", range(1, 11)),
    "lesion-permute-tau": reordered,
    "paths": table_of,
    "lens": lens_of,
    "attribute": attribution_of,
    "agreement": agreement_of,
}


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(size=shape)


def of_kinds(*kinds: str, pairs: bool = False) -> pd.DataFrame:
    """Every edit of each block, or of each pair of neighbours."""
    names = [f"{b}-{b + 1}" if pairs else str(b) for b in range(1, DEEP + (not pairs))]
    stage = STAGE[: len(names)]
    parts = [rows("baseline", np.array([6.0]), 10_000, edits=0)]
    for kind, errors in zip(kinds, 6 + 40 * random(len(kinds), len(names)) ** 4, strict=True):
        parts.append(rows(kind, errors, 10_000, blocks=names, stage=stage))
    return with_intervals(pd.concat(parts, ignore_index=True))


def ranges() -> pd.DataFrame:
    spans = [(first, last) for last in range(1, 28) for first in range(1, last + 1)]
    blocks = [" ".join(map(str, range(first, last + 1))) for first, last in spans]
    size = np.array([last + 1 - first for first, last in spans])
    first = rows("baseline", np.array([6.0]), 10_000, edits=0)
    rest = rows("delete", np.minimum(90, 6 + 0.2 * size**2), 10_000, edits=size, blocks=blocks)
    return with_intervals(pd.concat([first, rest], ignore_index=True))


def middles() -> pd.DataFrame:
    parts = [rows("baseline", np.array([6.0]), 10_000, edits=0, draw=0)]
    for kind in ("skip", "reverse", "repeat", "parallel", "looped"):
        n = np.arange(2, 49)
        parts.append(rows(kind, 6 + random(47).cumsum(), 10_000, edits=n, draw=0))
    n = np.repeat(np.arange(2, 49), 5)
    draws = {"edits": n, "draw": np.tile(range(5), 47)}
    parts.append(rows("shuffle", 6 + n * (1 + random(len(n))) / 2, 10_000, **draws))
    return pd.concat(parts, ignore_index=True)


def listed() -> pd.DataFrame:
    texts = [f"delete {a} {b}, scale 3 by 0.5" for a, b in combinations(range(1, 8), 2)]
    first = rows("baseline", np.array([6.0]), 10_000, edits=0, edit="")
    rest = rows("edit", 6 + 30 * random(len(texts)), 10_000, edits=2, edit=texts)
    return with_intervals(pd.concat([first, rest], ignore_index=True))


def by_class() -> pd.DataFrame:
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
             "truck"]  # fmt: skip
    place, name = (part.ravel() for part in np.meshgrid(range(1, DEEP + 1), names))
    change = 60 * (random(len(place)) - 0.4) ** 3
    return pd.DataFrame({
        "class": name, "place": place, "kind": "delete", "edits": 1, "delta_pct": change,
        "joint_low_pct": change - 3, "joint_high_pct": change + 3, "images": 1000,
    })  # fmt: skip


def controlled() -> pd.DataFrame:
    table = of_kinds("delete", "other image", "noise", "sign")
    return table.assign(block=pd.to_numeric(table["blocks"]), beside_deletion_pct=0.0)


def orders() -> pd.DataFrame:
    parts = [rows("baseline", np.array([6.0]), 10_000, edits=0, block=0)]
    for seed, kind in enumerate(("greedy", "single deletion", "block influence")):
        block = np.random.default_rng(seed).permutation(DEEP) + 1
        error = 6 + 84 * np.linspace(0, 1, DEEP) ** (2 + seed)
        parts.append(rows(kind, error, 10_000, edits=range(1, DEEP + 1), block=block,
                          stage=STAGE[block - 1]))  # fmt: skip
    return pd.concat(parts, ignore_index=True).assign(chosen_error_pct=6.0)


def gates() -> pd.DataFrame:
    block, gate = (part.ravel() for part in np.meshgrid(range(1, DEEP + 1), (0, 0.5, 0.9, 1.1)))
    size = 3 * random(DEEP) ** 6
    loss = size[block - 1] * (1 - gate) ** 2
    table = pd.DataFrame({
        "block": block, "gate": gate, "delta_loss": loss, "delta_loss_low": 0.9 * loss,
        "delta_loss_high": 1.1 * loss, "foretold_loss": loss * (random(len(loss)) - 0.2),
    })  # fmt: skip
    return pd.concat([table.iloc[:1].assign(block=0), table], ignore_index=True).assign(images=50)


def influences() -> pd.DataFrame:
    pairs = np.array(list(combinations(range(1, DEEP + 1), 2)))
    later = pd.DataFrame({"quantity": "influence", "block": pairs[:, 0], "on": pairs[:, 1],
                          "on_stage": STAGE[pairs[:, 1] - 1],
                          "value": 1.2 * random(len(pairs)) ** 2})  # fmt: skip
    least = np.linspace(0.01, 1, 20)
    depth = 54 * (1 - least**0.3)
    chains = pd.DataFrame({"quantity": "depth", "threshold": least, "value": depth,
                           "ci_low": depth - 2, "ci_high": depth + 2})  # fmt: skip
    return pd.concat([later, chains], ignore_index=True).assign(images=50)


def by_order() -> pd.DataFrame:
    order, keep = (part.ravel() for part in np.meshgrid(range(1, 9), (0.5, 0.8, 0.9)))
    value = 60.0 / order**2
    return pd.DataFrame({"order": order, "keep": keep, "or_more": order == 8, "value": value,
                         "ci_low": 0.9 * value, "ci_high": 1.1 * value, "images": 50})  # fmt: skip


def flow() -> pd.DataFrame:
    parts = []
    for quantity, size in (("gradient_log10", 1.0), ("state_share", 0.1), ("logit_share", 0.2)):
        value = size * random(DEEP + 2)
        parts.append(pd.DataFrame({"quantity": quantity, "block": range(DEEP + 2), "value": value,
                                   "ci_low": value - 0.02, "ci_high": value + 0.02}))  # fmt: skip
    table = pd.concat(parts, ignore_index=True).assign(images=50)
    return table[(table["quantity"] != "gradient_log10") | (table["block"] > 0)]


def appended() -> pd.DataFrame:
    parts = [pd.DataFrame({"kind": ["whole"], "quantity": "loss", "draw": 0, "step": 0,
                           "value": 0.3})]  # fmt: skip
    for kind in ("residual", "plain"):
        for quantity in ("identity_error", "loss"):
            for draw in range(3):
                parts.append(pd.DataFrame({
                    "kind": kind, "quantity": quantity, "draw": draw, "step": range(101),
                    "value": (draw + 1) * np.exp(-np.arange(101) / 20),
                }))  # fmt: skip
    return pd.concat(parts, ignore_index=True).assign(images=50)


def history(*names: str) -> pd.DataFrame:
    epoch = np.arange(1, 201)
    parts = [
        pd.DataFrame({"epoch": epoch, "lr": 0.1 * (1 - epoch / 201), "arch": name,
                      "train_error_pct": 90 * np.exp(-epoch / (20 + 20 * place)),
                      "test_error_pct": 5 + 80 * np.exp(-epoch / (20 + 20 * place))})
        for place, name in enumerate(names)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def of_networks() -> pd.DataFrame:
    tables = {"preresnet110 (residual, batch norm)": deep(),
              "resnet20 (residual, batch norm)": single(np.linspace(15, 60, 9), [3, 3, 3]),
              "VGG-16 (plain, no batch norm)": single(np.linspace(80, 91, 12), [12], 29),
              }  # fmt: skip
    return pd.concat([table.assign(label=name) for name, table in tables.items()])


def apart() -> pd.DataFrame:
    parts = []
    for kind, edits, error in (("ensemble", [0], [14.0]), ("subnetworks", [1, 2, 3, 4],
                               [16.2, 16.4, 19.0, 25.0])):  # fmt: skip
        for name in ("error_pct", "averaged_error_pct", "ambiguity_pct", "error_correlation"):
            value = np.array(error) * (1 if name == "error_pct" else 0.9)
            parts.append(pd.DataFrame({"kind": kind, "edits": edits, "quantity": name,
                                       "value": value, "ci_low": value - 3,
                                       "ci_high": value + 3}))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def several_responses() -> pd.DataFrame:
    return pd.concat([responses_of(name) for name in ("resnet20", "plain20", "resnet56")])


def costs() -> pd.DataFrame:
    blocks = responses_of()
    base = blocks[blocks["quantity"] == "ratio"]
    extra = [base.assign(quantity=name, **{c: base[c] / 10 for c in ("value", "ci_low", "ci_high")})
             for name in ("block_influence", "deletion_cost")]  # fmt: skip
    return pd.concat([blocks, *extra], ignore_index=True)


def ledger() -> pd.DataFrame:
    """Verdicts on five networks, one of them on pairs."""
    from resnet_probe.claims import CLAIMS

    names = ["preresnet110", "resnet56", "resnet20", "plain20", "vgg16_bn:width=16"]
    on = [f"{name} on digits" for name in names]
    judged = [claim for claim in CLAIMS if claim.kind != "exact"][:14]
    found: list[dict[str, Any]] = []
    for place, claim in enumerate(judged):
        for one in [f"{on[0]}; {on[2]}"] if place % 5 == 4 else on[: 1 + place % 4]:
            found.append({
                "claim": claim.name, "statement": claim.statement, "source": claim.source,
                "kind": claim.kind, "value": 1.5, "ci_low": 1.2, "ci_high": 1.7,
                "bound_low": 1.0, "bound_high": 2.0, "bound": "1 to 2", "unit": claim.unit,
                "verdict": ("holds", "fails", "undecided")[place % 3], "networks": one, "on": one,
            })  # fmt: skip
    return pd.DataFrame(found)


RESULTS = {
    **STUDIES,
    "lesion": recalibrated,
    "lesion-permute": lambda: several("permute", range(1, 11)),
    "lesion-classes": by_class,
    "lesion-edits": listed,
    "lesion-ranges": ranges,
    "lesion-neighbours": lambda: of_kinds("swap", "delete", pairs=True),
    "lesion-cut": lambda: of_kinds("delete", "cut"),
    "lesion-replace": lambda: of_kinds("zero", "mean", "channel mean", "resample", "constant",
                                       "linear"),
    "lesion-middles": middles,
    "control": controlled,
    "influence": influences,
    "greedy": orders,
    "gates": gates,
    "interactions": by_order,
    "flow": flow,
    "append": appended,
    "responses": costs,
    "train": lambda: history("preresnet110").drop(columns="arch"),
}  # fmt: skip
TITLE = "resnet110 on cifar10-lossless-test, 10,000 images"
DIRECT = {
    "counts and duplicates": lambda **given: figures.multi_edit(
        pd.concat([several("delete", range(1, 21)), several("duplicate", range(1, 11)).iloc[1:]]),
        title=TITLE, **given),
    "published deletions": lambda **given: figures.single_deletion(
        deep(), compare=published.comparison("veit2016", "lesion"), title=TITLE, **given),
    "plain": lambda **given: figures.single_deletion(
        single(np.linspace(88, 98, 12), [2, 2, 3, 3, 2], base=7), unit="layer", title=TITLE,
        **given),
    "long": lambda **given: figures.single_deletion(
        single(np.linspace(21.7, 24, 66), [3, 24, 36, 3], base=21.65), title=TITLE, **given),
    "published counts": lambda **given: figures.multi_edit(
        several("delete", range(1, 21)), title=TITLE,
        compare=published.comparison("veit2016", "lesion-counts"), **given),
    "published orders": lambda **given: figures.permutation_tau(
        reordered(), compare=published.comparison("veit2016", "lesion-permute-tau"), title=TITLE,
        **given),
    "re-estimated draws": lambda **given: figures.recalibrated_errors(
        reordered().assign(recalibrated_error_pct=lambda t: t["error_pct"] / 2), title=TITLE,
        **given),
    "networks": lambda **given: figures.deletions_by_network(of_networks(), title=TITLE,
                                                             chance_pct=90.0, **given),
    "histories": lambda **given: figures.error_by_epoch(
        history("plain20", "plain56", "resnet20", "resnet56"), title=TITLE, **given),
    "several responses": lambda **given: figures.layer_responses(several_responses(), title=TITLE,
                                                                 **given),
    "several blocks": lambda **given: figures.block_responses(several_responses(), title=TITLE,
                                                              **given),
    "ensembles": lambda **given: ensembles(apart(), title=TITLE, **given),
    "claims": lambda **given: claim_matrix(ledger(), **given),
    "intervals of claims": lambda **given: claim_intervals(ledger(), **given),
}  # fmt: skip


def every(columns: int, only: str | None = None) -> dict[str, Figure]:
    """Each figure by its study and stem, or by what it draws."""
    found = {}
    for study, table in RESULTS.items():
        if only in (None, study):
            result = Result(study, table(), {"identity": ON})
            for stem, figure in figures.draw_all(result, columns=columns).items():
                found[f"{study}: {stem}"] = figure
    for name, draw in DIRECT.items():
        if only in (None, name):
            found[name] = draw(columns=columns)
    return found
