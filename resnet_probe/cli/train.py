"""`train`: train an architecture, save its weights with their card, and its history."""

from __future__ import annotations

import platform
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError
from resnet_probe.loading.trained import TrainingRequest
from resnet_probe.runs.progress import A_LINE_EVERY, duration, progress_bar
from resnet_probe.settings import as_file_name

if TYPE_CHECKING:
    import torch

    from resnet_probe.loading.trained import Trainable
    from resnet_probe.training import Recipe, Team, TrainingRun

NAME = "train"
START = ("python", "-m", "resnet_probe", NAME)
REFUSED, INTERRUPTED = 2, 130


def add_parser(commands: Any) -> None:
    parser = shared.command(
        commands,
        NAME,
        "train an architecture",
        "Train an architecture from scratch. The weights are saved in half precision with a card "
        "that says how they were made and how good they are, the history of the training beside "
        "them. Ctrl-C and SIGTERM stop between two steps; --resume goes on from there.",
        "examples:\n"
        "  python -m resnet_probe train --arch resnet20\n"
        "  python -m resnet_probe train --arch preresnet110 --data cifar10 --recipe fast "
        "--resolution 16,24,32\n"
        "  torchrun --nproc-per-node 4 -m resnet_probe train --arch resnet56 --data cifar10",
    )
    shared.add(parser, TrainingRequest)
    parser.add_argument(
        "--compile", action="store_true", help="compile the steps (minutes, once for each size)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to save (default: runs/train-ARCH-DATA)"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    request = shared.read(TrainingRequest, options)
    return train(request, out=options.out, resume=options.resume, compiled=options.compile)


def train(
    request: TrainingRequest,
    *,
    out: Path | None = None,
    resume: bool = False,
    compiled: bool = False,
    called: str = "",
    alone: bool = False,
) -> int:
    """Train, in several processes where the request wants some and nobody has started them.

    The lines of the log begin with what the network is ``called``; ``alone`` says that the other
    processes of torchrun train other networks. Gives the exit status.
    """
    from resnet_probe import training
    from resnet_probe.loading import find_device

    started = training.processes_started()
    if started > 1 and alone:
        device = training.own_device(find_device(request.device))
        one = OneTraining(request, training.Team(), device, compiled, called)
        return one.run(out, resume=resume)
    if started > 1 and request.processes not in (None, started):
        raise ProbeError(
            f"processes={request.processes}, and torchrun has started {started}: leave it out"
        )
    wanted = request.processes_wanted
    if started == 1 < wanted:
        words = [*request.words(), *["--resume"] * resume, *["--compile"] * compiled]
        words += ["--out", str(out)] if out else []
        return training.launched([sys.executable, *START[1:], *words], wanted)
    with training.joined(find_device(request.device)) as (team, device):
        try:
            return OneTraining(request, team, device, compiled, called).run(out, resume=resume)
        except (ProbeError, KeyboardInterrupt) as error:
            if team.leads:
                raise  # said once is enough
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else REFUSED


@dataclass(frozen=True)
class OneTraining:
    """One network trained, with what is said and saved."""

    request: TrainingRequest
    team: Team
    device: torch.device
    compiled: bool
    called: str = ""

    def run(self, out: Path | None, *, resume: bool) -> int:
        ready = self.request.ready(self.device)
        folder = out or Path("runs") / folder_name(self.request, ready.recipe)
        if self.team.leads:
            announce(ready, self.request.data, folder)
        found = self.trained(ready, folder / "checkpoint.pt", resume=resume)
        if self.team.leads:
            self.save(ready, found, folder)
            (folder / "checkpoint.pt").unlink()
        return 0

    def trained(self, ready: Trainable, checkpoint: Path, *, resume: bool) -> TrainingRun:
        from resnet_probe import training

        quiet = not sys.stderr.isatty()  # then `TrainProgress` has a line of its own
        try:
            with progress_bar("training", quiet=quiet) as bar, training.asked_to_stop() as stop:
                progress = TrainProgress(work_of(ready.recipe), bar, self.called)
                return ready.train(
                    checkpoint=checkpoint, resume=resume, compiled=self.compiled, team=self.team,
                    stop=stop, progress=progress, watch=progress.step,
                )  # fmt: skip
        except KeyboardInterrupt as stopped:
            how = str(stopped) or f"{checkpoint} holds an earlier state"
            raise KeyboardInterrupt(f"{how}; go on with --resume") from None

    def save(self, ready: Trainable, found: TrainingRun, folder: Path) -> None:
        """The weights and their card, and the history with its figure in a folder of its own."""
        from resnet_probe import figures, zoo

        facts = self.facts(ready)
        network = zoo.rounded(found.model)
        card = ready.card(found, network, **facts)
        card = zoo.save(network, card, folder)
        history = found.result(**facts, platform=platform.platform(), test_error_pct=card.error_pct)
        history.save(folder / "history", figures=figures.draw_all(history))
        print(f"\ntest error {card.error_pct:.2f} % ({card.correct} of {card.images} correct)")
        print(f"{folder.resolve()}: {card.stem}.safetensors, {card.stem}.json, "
              "history (table.csv, provenance.json, figure.png, figure.svg)")  # fmt: skip

    def facts(self, ready: Trainable) -> dict[str, Any]:
        """The command, the versions and the machine."""
        import torch

        from resnet_probe import __version__

        return {
            "command": command(self.request, ready, self.team.size, compiled=self.compiled),
            "versions": {"resnet_probe": __version__, "torch": torch.__version__},
            "device": machine(self.device, self.team.size),
        }


def announce(ready: Trainable, data: str, folder: Path) -> None:
    """What is about to be trained; raises ProbeError where the folder holds another training."""
    from resnet_probe.results import refuse_other
    from resnet_probe.training import multiplies_in_bfloat16

    if (folder / "history").exists():
        refuse_other(folder / "history", ready.identity)
    recipe = ready.recipe
    print(f"{ready.network.spec} on {data}: {recipe.epochs} epochs, {recipe.precision}, {folder}")
    if recipe.precision == "bfloat16" and not multiplies_in_bfloat16(ready.device):
        print("note: this processor does not multiply in bfloat16: float32 is much faster here",
              file=sys.stderr)  # fmt: skip
    sys.stdout.flush()


def folder_name(request: TrainingRequest, recipe: Recipe) -> str:
    """``train-ARCH-DATA``, and what makes it another training of the same."""
    from resnet_probe import data

    paths = f"-effective-paths-{recipe.effective_paths}" if recipe.effective_paths else ""
    seed = f"-seed{request.seed}" if request.seed else ""
    return f"train-{as_file_name(request.spec)}{paths}-{data.slug(request.data)}{seed}"


def command(
    request: TrainingRequest, ready: Trainable, processes: int, *, compiled: bool = False
) -> str:
    """The command that gives these weights, without the folder that they are written to.

    What differs between machines by default, it says.
    """
    asked = replace(
        request,
        arch=ready.network.spec,
        stochastic_depth=None,
        deleted_blocks=None,
        precision=ready.recipe.precision,
        processes=processes,
        data_root=None,  # these two do not change the weights
        device="auto",
    )
    return shlex.join([*START, *asked.words(), *["--compile"] * compiled])


def machine(device: torch.device, processes: int) -> str:
    """What it runs on, in words."""
    import torch

    if device.type == "cuda":
        one = torch.cuda.get_device_name(device)
    else:
        one = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return one if processes == 1 else f"{processes} processes, each on {one}"


# ---- what is said meanwhile

RECENT = 5
"""The time left is reckoned from that many epochs: machines get busy and idle again."""


def work_of(recipe: Recipe) -> list[int]:
    """Of each epoch, in units of its own: as many as its images have pixels, where they differ."""
    return [(recipe.height_in(epoch) or 1) ** 2 for epoch in range(1, recipe.epochs + 1)]


@dataclass
class TrainProgress:
    """Prints a line for each epoch and moves the bar below; without a terminal, a line a minute.

    ``work`` is that of each epoch; the time left is reckoned by it.
    """

    work: Sequence[int]
    bar: Callable[[int, int], None]
    called: str = ""
    took: list[tuple[float, int]] = field(default_factory=list)
    """Seconds and work of the recent epochs."""
    first: float | None = None
    """The work that an earlier run has done."""
    began: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)

    def __call__(self, row: dict[str, float]) -> None:
        number = int(row["epoch"])
        self.took = [*self.took, (row["seconds"], self.work[number - 1])][-RECENT:]
        self._say(
            f"{self._epoch(number)}  lr {row['lr']:.4f}  "
            f"loss {row['train_loss']:.4f}  training error {row['train_error_pct']:5.2f} %  "
            f"test error {row['test_error_pct']:5.2f} %  {row['images_per_s']:,.0f} images/s  "
            f"{self._left(sum(self.work[:number]))}"
        )

    def step(self, done: int, total: int) -> None:
        """So many steps of so many are done; the bar is about those of this run."""
        steps = total // len(self.work)
        epoch, within = divmod(done - 1, steps)
        whole = sum(self.work[:epoch])
        at = whole + self.work[epoch] * (within + 1) / steps
        if self.first is None:
            self.first = whole + self.work[epoch] * within / steps
        scale = steps / max(self.work)  # so that a step at full size is one
        self.bar(round(scale * (at - self.first)), round(scale * (sum(self.work) - self.first)))
        if not sys.stderr.isatty() and time.monotonic() - self.said >= A_LINE_EVERY:
            self._say(f"{self._epoch(epoch + 1)}  step {within + 1}/{steps}  {self._left(at)}")

    def _epoch(self, number: int) -> str:
        name = f"{self.called}  " if self.called else ""
        return f"{name}epoch {number:3.0f}/{len(self.work)}"

    def _left(self, at: float) -> str:
        """The time for what is left, at the rate of the recent epochs, else of this run."""
        seconds, work = (sum(part) for part in zip(*self.took, strict=True)) if self.took else (
            time.monotonic() - self.began, at - (self.first or 0))  # fmt: skip
        return f"{duration((sum(self.work) - at) * seconds / work)} left"

    def _say(self, line: str) -> None:
        from tqdm import tqdm

        tqdm.write(line)
        sys.stdout.flush()
        self.said = time.monotonic()
