"""Several runs in one table, as the scripts in `analyses/` make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_probe.data import slug
from resnet_probe.results import Result

if TYPE_CHECKING:
    import pandas as pd


def of_runs(study: str, table: pd.DataFrame, runs: Sequence[Result]) -> Result:
    """A table made of runs, with what determined each of them and the commands that repeat them."""
    identity = {"study": study, "runs": [each.identity for each in runs]}
    commands = [each.provenance["command"] for each in runs]
    return Result(study, table, {"identity": identity, "commands": commands})


def images_of(run: Result) -> str:
    """`digits, 898 images`; `cifar10-test (stored as JPEG), 1,000 images`."""
    asked = run.identity
    note = f" ({asked['data_note']})" if asked["data_note"] else ""
    return f"{slug(asked['data'])}{note}, {asked['images']:,} images"
