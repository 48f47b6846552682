"""The ledger of claims as a page: every claim, every network, its twin, rule and command."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from resnet_probe.figures.claims import SEPARATOR, networks_of
from resnet_probe.findings.verdict import HOLDS, NOT_HERE
from resnet_probe.report.page import SIGNS, part, rows_of, template


def render_ledger(table: pd.DataFrame, *, title: str, command: str = "") -> str:
    """The matrix of `claims.judge` as one HTML file that needs nothing beside it."""
    table = table.assign(place=table["on"].where(table["on"] != "", table["networks"]))
    known = table["verdict"] != NOT_HERE
    exact = table["kind"] == "exact"
    judged = table[known & ~exact].assign(on=lambda rows: rows["place"])
    return template("claims.html").render(
        title=title,
        style=Markup(part("page.css")),
        networks=networks_of(judged),
        matrix=_matrix(judged),
        evidence=_by_claim(table[table["claim"].isin(judged["claim"]) & ~exact]),
        identities=_by_claim(table[known & exact]),
        absent=_by_claim(table[~table["claim"].isin(table[known]["claim"])]),
        signs=SIGNS,
        untestable=NOT_HERE,
        command=command,
    )


def _matrix(judged: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a claim: for each network the verdicts that it has a part in, each once."""
    networks = networks_of(judged)
    return [
        {
            "claim": claim,
            "held": int((rows["verdict"] == HOLDS).sum()),
            "judged": len(rows),
            "cells": [
                list(
                    dict.fromkeys(
                        rows["verdict"][[name in on.split(SEPARATOR) for on in rows["on"]]]
                    )
                )
                for name in networks
            ],
        }
        for claim, rows in judged.groupby("claim", sort=False)
    ]


def _by_claim(rows: pd.DataFrame) -> list[list[dict[str, object]]]:
    return [rows_of(some) for _, some in rows.groupby("claim", sort=False)]
