"""The processes that train one network together: each takes its share of every batch.

PyTorch's ``DistributedDataParallel`` averages the gradients. Every process makes the same random
draws and slices them, so that K processes see the batches that one would see. As usual, batch
norms use the statistics of a process's own share; those that are kept are the first process's.
"""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from resnet_probe.errors import ProbeError


@dataclass(frozen=True)
class Team:
    """This process's place, from 0, among ``size`` of them; by default it is alone."""

    rank: int = 0
    size: int = 1
    hosts: Any = None
    """A process group of the processors, for what devices need not know; None for the default."""

    @property
    def leads(self) -> bool:
        """Whether this process prints, evaluates and saves."""
        return self.rank == 0

    def share(self, draws: Tensor) -> Tensor:
        """This process's part of a step's draws ``[b, …]``, at most one larger than another's."""
        return draws[self.rank :: self.size]

    def part(self, count: int) -> slice:
        """This process's part of so many rows, in their order."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def joined_model(self, model: nn.Module, *, partial: bool) -> nn.Module:
        """The module to train with; ``partial`` says that steps may leave parameters out."""
        if self.size == 1:
            return model
        options: dict[str, Any] = {
            "find_unused_parameters": partial,
            "gradient_as_bucket_view": True,
            SYNC_BUFFERS: False,  # train mode does not read them; see `spread`
        }
        return DistributedDataParallel(model, **options)

    def summed(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total

    def spread(self, values: Iterable[Tensor]) -> None:
        """Give every process the values of the first, in place."""
        for value in values if self.size > 1 else ():
            dist.broadcast(value, src=0)

    def agreed(self, wish: int) -> int:
        """The largest wish of the processes; the devices go on with their work."""
        if self.size == 1:
            return wish
        largest = torch.tensor(wish)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.hosts)
        return int(largest)


ALONE = Team()
PATIENCE = timedelta(days=30)
"""Processes that were stopped for a night (SIGSTOP) must find each other again."""
SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)
"""PyTorch has changed the name."""
GRACE = 10.0
"""Seconds that the others have to end by themselves where one process has failed."""
SAID_BY_THE_FIRST = (2, 130)
"""Statuses of a request that cannot be met, and of an interruption."""
AT_ONCE = 1.0
"""Seconds within which a second signal is the first one again, from another sender."""


MOST_EACH = 8
"""Processes a processor: they would only wait for each other."""


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Team, torch.device]]:
    """The team that ``torchrun`` or `launched` started this process in, and its device; else alone.

    CUDA devices speak NCCL, CPUs gloo. Raises ProbeError for more processes on a machine than it
    has CUDA devices.
    """
    size = processes_started()
    if size == 1:
        yield ALONE, device
        return
    device = own_device(device)
    ours = not dist.is_initialized()  # else it is the caller's, and stays
    if ours:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        hosts = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield Team(dist.get_rank(), size, hosts), device
    finally:
        if ours:
            dist.destroy_process_group()


def processes_started() -> int:
    """How many processes ``torchrun`` or `launched` has started with this one, itself included."""
    return int(os.environ.get("WORLD_SIZE", "1")) if dist.is_torchelastic_launched() else 1


def processors() -> int:
    """How many this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_device(device: torch.device) -> torch.device:
    """The device of this process among those of its machine."""
    if device.type != "cuda":
        return device
    place, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= there:
        raise ProbeError(
            f"{os.environ['LOCAL_WORLD_SIZE']} processes were started on {there} CUDA devices: "
            f"start {there}, or give device='cpu'"
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


def launched(command: Sequence[str], processes: int) -> int:
    """Run a command in so many processes, which `joined` makes a team of; its exit status.

    They share this machine's processors. Signals go on to all of them; where one fails, the
    others are ended. What only the later ones have to say is told where the first did not fail.
    Raises ProbeError for more than `MOST_EACH` processes a processor.
    """
    if processes > MOST_EACH * processors():
        raise ProbeError(
            f"processes={processes}: this machine has {processors()} processors, and at most "
            f"{MOST_EACH} processes on each are started"
        )
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, processors() // processes)))
    children: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        stack.callback(_killed, children)
        stack.enter_context(handled(lambda number, _: _told(children, number)))
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(processes)]
        for rank in range(processes):
            environment = {**os.environ, **_place(rank, processes, store.port)}
            environment["OMP_NUM_THREADS"] = threads
            own = said[rank] if rank else None
            children.append(subprocess.Popen(command, env=environment, stderr=own))
        codes = _ended(children)
        for code, text in zip(codes[1:], said[1:], strict=True):
            if code not in (0, *SAID_BY_THE_FIRST) and codes[0] in (0, -signal.SIGKILL):
                text.seek(0)
                sys.stderr.write(text.read().decode(errors="replace"))
    return next((abs(code) for code in codes if code), 0)


def _told(children: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        child.send_signal(number)


def _killed(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.kill()  # does nothing to one that has ended


def _place(rank: int, size: int, port: int) -> dict[str, str]:
    """What ``torchrun`` tells a process about itself."""
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "resnet_probe", "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }  # fmt: skip


def _ended(children: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """The exit statuses, once all have ended; a failure leaves the others some seconds."""
    failed: float | None = None
    while any(child.poll() is None for child in children):
        if failed is None and any(child.poll() for child in children):
            failed = time.monotonic()
        if failed is not None and time.monotonic() - failed > GRACE:
            _killed(children)
        time.sleep(0.05)
    return [child.returncode for child in children]


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C or SIGTERM has come since.

    A second Ctrl-C interrupts at once. Outside the main thread, where no signal arrives, and
    afterwards, signals do what they did before.
    """
    came: list[float] = []

    def note(number: int, frame: Any) -> None:
        again = bool(came) and time.monotonic() - came[0] > AT_ONCE
        came.append(time.monotonic())
        if again and number == signal.SIGINT:
            raise KeyboardInterrupt

    with handled(note):
        yield lambda: bool(came)


@contextmanager
def handled(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM call ``handler``, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
