"""Every study there is, a row each: what asks it, what its table says, and who else uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from resnet_probe.errors import ProbeError, did_you_mean

if TYPE_CHECKING:
    from resnet_probe.results import Result
    from resnet_probe.studies.study import Study


@dataclass(frozen=True)
class Row:
    """A study by the name of its command.

    `module` holds it as `STUDY`, and `says`, as `MODULE:FUNCTION`, makes the lines that a command
    prints of its result.  Both are imported when they are needed.
    """

    name: str
    help: str
    module: str
    says: str

    @property
    def study(self) -> Study:
        return import_module(f"resnet_probe.studies.{self.module}").STUDY

    @property
    def summarize(self) -> Callable[[Result], str]:
        module, _, name = self.says.partition(":")
        return getattr(import_module(f"resnet_probe.findings.{module}"), name)


ROWS = (
    Row(
        "lesion",
        "delete, permute or duplicate blocks and measure the error",
        "lesion",
        "lesion:summarize_lesion",
    ),
    Row(
        "control",
        "put disturbances of the same size beside the deletions",
        "control",
        "control:summarize_control",
    ),
    Row(
        "influence",
        "measure what deleting a block changes in the later ones",
        "influence",
        "influence:summarize_influence",
    ),
    Row(
        "greedy",
        "delete the block that costs least, again and again",
        "greedy",
        "greedy:summarize_greedy",
    ),
    Row(
        "gates",
        "scale each branch from 0 to 2, and try what the gradient foretells",
        "gates",
        "gates:summarize_gates",
    ),
    Row("paths", "take the gradient apart by path length", "paths", "paths:summarize_paths"),
    Row(
        "responses",
        "size and direction of what layers and branches give",
        "responses",
        "responses:summarize_responses",
    ),
    Row(
        "flow",
        "how large the gradient is at each depth, and each block's part in the answer",
        "flow",
        "flow:summarize_flow",
    ),
    Row(
        "append",
        "append layers that begin as nothing, and train on",
        "append",
        "append:summarize_append",
    ),
    Row("lens", "apply the classifier behind every block", "lens", "lens:summarize_lens"),
    Row(
        "attribute",
        "give every block its share of the decision, with captum",
        "attribution",
        "attribution:summarize_attribution",
    ),
    Row(
        "interactions",
        "take what blocks do apart by how many act together",
        "interactions",
        "interactions:summarize_interactions",
    ),
    Row(
        "agreement",
        "errors in common and averages of lesioned networks",
        "agreement",
        "agreement:summarize_agreement",
    ),
)


def row(name: str) -> Row:
    """The row of that name; raises `ProbeError` with the nearest names for another."""
    for each in ROWS:
        if each.name == name:
            return each
    names = [each.name for each in ROWS]
    there = ", ".join(names) + did_you_mean(name, names)
    raise ProbeError(f"there is no study {name!r}: there are {there}")
