"""What the processes of a team do in tests, forked from a server that has loaded PyTorch once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from campaigns.children import CONTEXT
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from trainings import RECIPE, any_size, linear, run, with_blocks

from resnet_probe import training
from resnet_probe.cli import main
from resnet_probe.results import Journal
from resnet_probe.studies import outcomes

STUDY = ["lesion", "--arch", "preresnet:depth=8,width=4", "--weights", "initial:0"]
STUDY += ["--data", "digits", "--limit", "12", "--batch", "1", "--format", "svg"]
TRAINING = ["train", "--arch", "resnet20:width=4", "--epochs", "1"]


def by_torchrun(function: Callable[..., Any], *given: Any) -> dict[int, Any]:
    """What two processes return by rank, started by torchrun's agent as it starts a program.

    Raises its `ChildFailedError` where one fails.
    """
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", run_id="tests", max_restarts=0, start_method="forkserver",
    )  # fmt: skip
    return elastic_launch(config, function)(*given)


class Forked:
    """Stands for the `Popen` of `python -m resnet_probe …`, without loading PyTorch once more."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], stderr: Any) -> None:
        assert list(command[:3]) == [sys.executable, "-m", "resnet_probe"]
        self.process = CONTEXT.Process(target=commanded, args=(Path.cwd(), command[3:], env))
        self.process.start()

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()


def commanded(folder: Path, words: Sequence[str], env: Mapping[str, str]) -> None:
    """Run a command in that folder and environment; what it says is in `said-RANK`."""
    os.chdir(folder)
    os.environ.update(env)
    torch.set_num_threads(1)
    with Path(f"said-{env['RANK']}").open("w") as said, redirect_stdout(said):
        status = main(list(words))
    sys.exit(status)


def trained(folder: Path) -> None:
    """Networks by two processes, one that stops and goes on, and one by the command."""
    os.chdir(folder)
    torch.set_num_threads(1)
    with training.joined(torch.device("cpu")) as (team, device):
        assert team.size == 2 and device.type == "cpu"
        rows: list[dict[str, float]] = []
        found = run(linear(), team=team, device=device, progress=rows.append)
        left_out = run(with_blocks(survival=0.5), team=team, device=device).model
        said = {
            "state": found.model.state_dict(), "history": found.history.to_dict("records"),
            "rows": len(rows), "ran": [block.ran for block in left_out[2:-1]],
            "blocks": left_out.state_dict(),
        }  # fmt: skip
        torch.save(said, f"{team.rank}.pt")
        torch.save(_stopped(team, device), f"s{team.rank}.pt")
        # Inside: a second group in one process can wait for the first one's addresses forever.
        with Path(f"said-{team.rank}").open("w") as file, redirect_stdout(file):
            assert main([*TRAINING, "--batch", "300", "--out", "t"]) == 0


def _stopped(team: training.Team, device: torch.device) -> dict[str, Any]:
    """One of the two is asked to stop, both do, and go on to the bits of an uninterrupted run."""
    asked = iter(range(1, 100))
    stop = (lambda: next(asked) >= 6) if team.rank == 1 else None
    options = {"team": team, "device": device, "checkpoint": Path("stopped.pt")}
    batched = replace(RECIPE, resolution=(8, 16))
    said = ""
    try:
        run(any_size(), recipe=batched, stop=stop, **options)
    except KeyboardInterrupt as stopped:
        said = str(stopped)
    resumed = run(any_size(), recipe=batched, resume=True, **options).model.state_dict()
    whole = run(any_size(), recipe=batched, team=team, device=device).model.state_dict()
    return {"said": said, "resumed": resumed, "whole": whole}


def studied(folder: Path, kill: bool) -> None:
    """A study by two processes, the second of which is killed after its first step."""
    os.chdir(folder)
    torch.set_num_threads(1)
    outcomes.KEEP_EVERY, put = 4, Journal.put

    def killed(self: Journal, *given: Any) -> None:
        put(self, *given)
        os.kill(os.getpid(), signal.SIGKILL)

    if kill and os.environ["RANK"] == "1":
        Journal.put = killed
    assert main([*STUDY, "--quiet", "--out", "team"]) == 0
