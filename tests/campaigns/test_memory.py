"""More images than memory: a run holds some batches of them, and a few bytes of each.

    pytest tests/campaigns/test_memory.py --campaign-size 100000

The images are files, no two alike, and the process is one of its own.  The system gives it no more
address space than `LIMIT` beside the files that it maps (its libraries alone, mapped, take 4 GiB).
100,000 images take 112 MiB beside what is loaded before them, 699 MiB resident in all.
"""

from __future__ import annotations

import io
import resource

import numpy as np
import pytest
from campaigns.children import SECONDS, called
from PIL import Image
from torch import nn

from resnet_probe.benchmarks.clock import STATUS
from resnet_probe.stats.bootstrap import AT_ONCE

SOME, LARGE, SMALL = 600, 192, 32
"""Images by default, and the side of so few; that of many, which take less time to decode."""
LIMIT = 3 * 2**29
MEMORY, EACH = 24 * 2**20, 1024
"""What the studies may work in, and bytes that may be kept of an image: decoded, a small one has
3,072, a large one 110,592."""
FREED = 16 * 2**20
"""What the allocator may keep of memory that was given back."""

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(not STATUS.exists(), reason="the system does not tell a process's memory"),
]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1))

    def forward(self, h):
        return h + self.branch(h)


def network():
    """Little to compute at each image, so that many can be read."""
    blocks = [Block() for _ in range(3)]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return nn.Sequential(nn.Conv2d(3, 8, 16, stride=16), *blocks, *head).eval()


def generated(place, count, side):
    """So many JPEGs in five classes, no two alike."""
    draw = np.random.default_rng(0)
    for name in "abcde":
        (place / name).mkdir(parents=True)
    coarse = draw.integers(0, 256, (8, 6, 6, 3), dtype=np.uint8)
    for number in range(count):
        image = Image.fromarray(coarse[number % 8]).resize((side, side))
        held = io.BytesIO()
        image.save(held, "JPEG", comment=f"{number}".encode())
        (place / "abcde"[number % 5] / f"{number:06d}.jpg").write_bytes(held.getvalue())


def measure(place, limit, side):
    import torch

    from resnet_probe import lesion, prepare, responses
    from resnet_probe.benchmarks.clock import peak_memory

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))

    def run(limit):
        ready = prepare(
            network(), data=f"imagefolder:{place}", normalize="none", preprocess="none",
            input_shape=(3, side, side), stream=True, workers=0, limit=limit,
        )  # fmt: skip
        for study in (lesion, responses):
            assert study(ready, memory=MEMORY).identity["images"] == len(ready.images)

    run(40)  # libraries take their own share once
    with peak_memory(torch.device("cpu")) as peak:
        run(limit)
    most = next(row for row in STATUS.read_text().splitlines() if row.startswith("VmHWM"))
    print(peak(), int(most.split()[1]) * 1024)


def test_a_set_that_is_larger_than_memory_is_run_in_little(request, tmp_path):
    count = request.config.getoption("--campaign-size") or SOME
    side = LARGE if count <= SOME else SMALL
    place, folder = tmp_path / "set", tmp_path / "here"
    folder.mkdir()
    generated(place, count, side)
    ended = called(measure, place, count, side, folder=folder, seconds=SECONDS + count // 20)
    assert ended.status == 0, ended.err
    peak, most = map(int, ended.out.split())
    assert most < LIMIT
    weights = 2 * 4 * min(AT_ONCE, 2000 * count)  # of the images, for intervals
    assert peak <= MEMORY + FREED + weights + EACH * count
