"""What a CUDA device must give: the same predictions, and nothing kept on it afterwards."""

from __future__ import annotations

import pytest
import torch
from toy_chains import images, labels, randomized

from resnet_probe import chain_of, lesion, models

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
]


@pytest.fixture
def precise():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("spec", ["resnet20", "preresnet20", "resnet20:shortcut=B"])
def test_the_same_table_as_on_the_cpu(spec, precise):
    model = randomized(models.architecture(spec).build(seed=0))
    x, y = images(64, side=16), labels(64, classes=10)
    on_cpu = lesion(chain_of(model, x[:1]), x, y).table
    model = model.cuda()
    chain = chain_of(model, x[:1].cuda())
    assert chain.device.type == "cuda"
    for where in (x, x.cuda()):
        found = lesion(chain, where, y).table
        assert abs(found["correct"] - on_cpu["correct"]).max() <= found["near_ties"].max()


def test_the_memory_stays_inside_the_budget(precise):
    model = randomized(models.architecture("resnet20").build(seed=0)).cuda()
    x, y = images(4096, side=32).cuda(), labels(4096, classes=10)
    chain = chain_of(model, x[:1])
    for budget in (64 * 2**20, 512 * 2**20):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        lesion(chain, x, y, memory=budget)
        assert torch.cuda.max_memory_allocated() - before <= budget
