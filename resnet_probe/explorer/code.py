"""The present state as Python."""

from __future__ import annotations

from resnet_probe.explorer.outcome import Outcome
from resnet_probe.explorer.switches import Switches


def code_of(switches: Switches, outcome: Outcome, *, exact: bool, unit: str) -> str:
    """Code that brings the state about; `chain`, `images` and `labels` have to be there.

    It leaves the outcome in `now`.
    """
    blocks = len(switches.settings)
    options = ", exact=True" if exact else ""
    return (
        f"import resnet_probe as rp\n\n"
        f"# {blocks} {unit}s, {switches}: {outcome.correct} of {outcome.images} images right\n"
        f"explorer = rp.Explorer(chain, images, labels{options})\n"
        f"now = explorer.set({_arguments(switches)})\n"
        f"print(now.sentence)\n"
    )


def _arguments(switches: Switches) -> str:
    given = {"off": list(switches.off), "twice": list(switches.twice), "scaled": switches.scaled}
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value)
