"""Several networks in one table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from resnet_probe.results import Result


def together(results: Sequence[Result]) -> Result:
    """The results of `responses` on the same images as one, a network after the other.

    The column `arch` tells them apart; facts become lists.
    """
    if len(results) == 1:
        return results[0]
    table = pd.concat([result.table for result in results], ignore_index=True)
    records = [result.provenance for result in results]
    identity = {**results[0].identity, "arch": [result.identity["arch"] for result in results]}
    facts = {
        key: [record[key] for record in records]
        for key in records[0]
        if key not in ("identity", "seconds")
    }
    seconds = sum(record["seconds"] for record in records)
    return Result(results[0].study, table, {"identity": identity, **facts, "seconds": seconds})
