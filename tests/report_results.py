"""Results of one network of nine blocks, drawn at random, and what a page says of them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from lesion_tables import reordered, several, single
from test_figures_paths import table_of
from test_figures_studies import STAGE, estimates, lens_of, responses_of

from resnet_probe.results import Result

NAMES = [f"layer{1 + b // 3}.{b % 3}" for b in range(9)]


def lesion(seed: int = 0, error: np.ndarray | None = None) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    error = draw.uniform(5, 40, 9) if error is None else error
    table = single(error, [3, 3, 3], images=800, p_value=draw.uniform(0, 0.02, 9))
    names = pd.Series(["", *NAMES])
    shortcut = ["", *["identity"] * 9]
    return table.assign(names=names, shortcut=shortcut, near_ties=0)


def responses(seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    table = responses_of()
    table["name"] = [NAMES[(b - 1) % 9] if b else "conv1" for b in table["block"]]
    for quantity in ("ratio", "cosine_gradient_sum"):
        rows = table["quantity"] == quantity
        for column, values in estimates(draw.uniform(-0.4, 0.9, 9)).items():
            table.loc[rows, column] = abs(values) if quantity == "ratio" else values
    mean = {"place": "network", "quantity": "response_std", "arch": "resnet20", "number": 0,
            "block": 0, "name": "", "stage": "", "value": 0.7, "ci_low": 0.6, "ci_high": 0.8,
            "images": 64}  # fmt: skip
    return pd.concat([table, pd.DataFrame([mean])], ignore_index=True).assign(taken="norm")


def lens() -> pd.DataFrame:
    return lens_of(renewed=False).assign(name=["stem", *NAMES], carried_by="2 parameter-free")


def attribution(seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    pairs = np.array(list(combinations(range(1, 10), 2)))
    parts: list[pd.DataFrame] = []
    for metric, unit in (("accuracy", "percentage points"), ("loss", "nats"), ("margin", "logits")):
        for method in ("ablation", "shapley", "gradients"):
            parts.append(_shares(method, metric, unit, draw))
        values = estimates(draw.normal(0, 0.15, len(pairs)))
        parts.append(pd.DataFrame({
            "method": "interactions", "metric": metric, "unit": unit, "block": pairs[:, 0],
            "other": pairs[:, 1], "stage": "1", **values,
        }))  # fmt: skip
    for label in range(3):
        parts.append(_shares("ablation", "accuracy", "percentage points", draw).assign(
            **{"class": label}))  # fmt: skip
    return pd.concat(parts, ignore_index=True).assign(images=50)


def _shares(method: str, metric: str, unit: str, draw: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame({
        "method": method, "metric": metric, "unit": unit, "block": range(1, 10), "name": NAMES,
        "stage": STAGE, **estimates(draw.uniform(0, 9, 9)),
    })  # fmt: skip


def result(study: str, table: pd.DataFrame, **facts: Any) -> Result:
    identity = {"study": study, "arch": "resnet20", "data": "digits", "images": 800, "seed": 3,
                "data_sha256": "ab" * 32}  # fmt: skip
    known = {"blocks": 9, "classes": 10, "longest": 9, "residual": True, "seconds": 1.5}
    if study == "lesion":
        identity["margin"] = 0.5
        middle = table["delta_pct"].iloc[1:].median()
        known["median_delta_pct"] = [middle, middle - 0.2, middle + 0.2]
    return Result(study, table, {**known, **facts, "identity": identity})


def control(apart: float = 2.0, *, noise: float = 0.1) -> Result:
    """Disturbances of nine blocks; a deletion costs so much more than each of two moves."""
    table = single(np.full(9, 12.0), [3, 3, 3], images=800).rename(columns={"blocks": "block"})
    parts = [table.iloc[:1]] + [
        table.iloc[1:].assign(kind=kind) for kind in ("delete", "other image", "noise", "sign")
    ]
    table = pd.concat(parts, ignore_index=True).assign(beside_deletion_pct=0.0)
    against = {"other image": [apart, apart - 0.3, apart + 0.3],
               "noise": [noise, noise - 0.2, noise + 0.2], "sign": [-9.0, -9.5, -8.5]}  # fmt: skip
    return result("control", table.drop(columns=["edits", "tau"]), against=against)


def re_estimated() -> Result:
    """The lesion, with networks whose statistics are their own beside it."""
    table = lesion()
    own = {f"recalibrated_{name}": 0.4 * table[name] for name in
           ("error_pct", "delta_pct", "ci_low_pct", "ci_high_pct")}  # fmt: skip
    found = result("lesion", table.assign(**own), recalibrated_median_delta_pct=[3.1, 2.6, 3.7])
    found.identity["recalibrate"] = 500
    return found


def all_results() -> dict[str, Result]:
    return {
        "lesion": re_estimated(),
        "control": control(),
        "lesion-counts": result("lesion-counts", several("delete", range(1, 9), names="")),
        "lesion-permute-tau": result("lesion-permute-tau", reordered()),
        "paths": result("paths", table_of(9, factor=0.4)),
        "responses": result("responses", responses()),
        "lens": result("lens", lens()),
        "attribute": result("attribute", attribution()),
    }


class Page(HTMLParser):
    """The elements of a page in order, and the sentences that say which study they are of."""

    VOID = ("meta", "link", "br", "hr", "img", "input", "path", "use", "rect", "image", "line")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.numbers: dict[tuple[str, str], dict[str, float]] = {}
        self.words: dict[tuple[str, str], str] = {}
        self.text: list[str] = []
        self._inside: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        assert not self._inside, f"{self._inside[-1]} is never closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.elements.append((tag, given))
        if tag == "data":
            numbers = self.numbers.setdefault(self._sentence(), {})
            value = float(given["value"])
            assert numbers.setdefault(given["data-name"], value) == value
        if tag not in self.VOID:
            self._inside.append((tag, given))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self._inside.pop()[0] == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._inside]
        if not {"script", "style", "svg"} & set(tags):
            self.text.append(data)
        if any("data-part" in given for _, given in self._inside) and "data" not in tags:
            self.words[self._sentence()] = self.words.get(self._sentence(), "") + data

    def _sentence(self) -> tuple[str, str]:
        given = next(given for _, given in reversed(self._inside) if "data-part" in given)
        return given["data-study"], given["data-part"]

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [given for tag, given in self.elements if tag in tags]


def spelled(words: str) -> list[str]:
    """The digits that are no marked number: neither the confidence, nor in the name of a layer."""
    return re.findall(r"\d+", re.sub(r"95\s%|layer\d\.\d", "", words))
