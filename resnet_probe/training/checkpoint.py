"""The state of an unfinished training run in a file, from which it goes on bit for bit."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from resnet_probe.data.files import regular
from resnet_probe.errors import ProbeError
from resnet_probe.training.recipe import Recipe
from resnet_probe.training.state import State

PARTS = {"model", "optimizer", "generator", "starting", "history", "options"}
DEFAULTS = {each.name: each.default for each in fields(Recipe)}
"""What a run of a version without that choice was made with."""
CALLED = {"data", "data_note", "test_data"}
"""How the images were called; which ones they are, their fingerprints say."""
SAVE_EVERY = 300.0
"""Seconds between two checkpoints within an epoch, and the rest of a step."""
GO_ON, SAVE, STOP = 0, 1, 2


@dataclass(eq=False)
class Checkpoint:
    """Where the state is kept, and when: after each epoch, every few minutes, and before a stop.

    ``stop`` says whether this process was asked to end; where ``path`` is None nothing is kept.
    """

    path: Path | None
    identity: Mapping[str, Any]
    stop: Callable[[], bool] | None = None
    last: float = field(default_factory=time.monotonic)
    made: list[Path] | None = None
    """The folders that were made for a file that was not there before, the innermost first."""

    def begin(self, state: State, *, resume: bool) -> None:
        """Go back to the state that is there, or write the first one."""
        if self.path is None:
            return
        if resume and self.path.exists():
            state.restore(read(self.path, self.identity), self.path)
            return
        if state.team.leads:
            refuse_existing(self.path)
        self.made = [folder for folder in self.path.parents if not folder.exists()]
        self.save(state)  # a refusal must not cost an epoch

    def save(self, state: State) -> None:
        """Write the state; all of a team must call this together, and the first one writes."""
        if self.path is None:
            return
        parts = {**state.parts(), "options": dict(self.identity)}
        if state.team.leads:
            write(self.path, parts)
        self.last = time.monotonic()

    def between_steps(self, state: State) -> None:
        """Save or stop where one of the team wants to; KeyboardInterrupt is the stop."""
        wish = state.team.agreed(self._wish(state))
        if wish == GO_ON or (state.epoch and state.epoch.steps == state.batches.steps):
            return  # a whole epoch is saved once it has been tested
        self.save(state)
        if wish == STOP:
            self.refuse_to_go_on(state)

    def between_epochs(self, state: State) -> None:
        """Stop where one of the team wants to, unless all is done."""
        left = state.recipe.epochs - len(state.history)
        if left and state.team.agreed(self._wish(state)) == STOP:
            self.refuse_to_go_on(state)

    @contextmanager
    def unless_refused(self, state: State) -> Iterator[None]:
        """Remove the file, and the folders made for it, where it leads to the same refusal again.

        That is so where the loss is not finite any more, and in the first epoch of all.
        """
        refused = False
        try:
            yield
        except ProbeError:
            refused = self.made is not None and not state.history
            raise
        finally:
            diverged = state.epoch and not math.isfinite(state.epoch.looked[0])
            if self.path and (refused or diverged):
                self.path.unlink(missing_ok=True)
                with suppress(OSError):  # what else lies in them stays
                    for folder in self.made or ():
                        folder.rmdir()

    def refuse_to_go_on(self, state: State) -> None:
        """Raise KeyboardInterrupt, which says how far the training has come."""
        where = f"; {self.path} holds its state" if self.path else ""
        steps = f" and {state.epoch.steps} steps" if state.epoch else ""
        raise KeyboardInterrupt(
            f"the training stopped after {len(state.history)} epochs{steps}{where}"
        )

    def _wish(self, state: State) -> int:
        if self.stop is not None and self.stop():
            return STOP
        due = state.team.leads and time.monotonic() - self.last >= SAVE_EVERY
        return SAVE if due and self.path is not None else GO_ON


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Replace ``path`` by this state, in one step: an interruption leaves the old file or the new.

    Raises ProbeError if it cannot be written.
    """
    beside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(state), beside)
        os.replace(beside, path)  # noqa: PTH105
    except (OSError, RuntimeError) as error:  # torch reports a refused write as RuntimeError
        with suppress(OSError):
            beside.unlink()  # half a state is of no use, and takes the room of others
        raise ProbeError(f"the checkpoint {path} cannot be written ({error})") from error


def read(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The state in ``path``, whose run must have been started with the same options.

    What the images are called does not matter, and a choice that the file does not know counts as
    its default. Raises ProbeError if the file is damaged, is no training checkpoint, or was
    written by a run with other options (naming them).
    """
    try:
        regular(path, what="the state of a training")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except ProbeError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise ProbeError(f"the checkpoint {path} is damaged: remove it to start again") from error
    whole = isinstance(state, dict) and set(state) >= PARTS
    if not whole or not isinstance(state["options"], dict):
        raise ProbeError(f"{path} is not a checkpoint of a training run: remove it to start again")
    found = {**DEFAULTS, **state["options"]}
    other = [
        f"{name} {found.get(name)}, not {value}"
        for name, value in options.items()
        if name not in CALLED and repr(found.get(name)) != repr(value)
    ]
    if other:
        raise ProbeError(
            f"the checkpoint {path} cannot be resumed: it was made with {'; '.join(other)}"
        )
    return state


def refuse_existing(path: Path) -> None:
    """Raise ProbeError rather than write over the checkpoint of another run."""
    if path.exists():
        raise ProbeError(f"{path} holds an earlier training run: resume it, or remove it first")
