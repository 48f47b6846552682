"""What a CUDA device must give: the same predictions, and nothing kept on it afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from campaigns.programs import network
from campaigns.test_programs import check_outputs, check_path_gradients, drawn_images
from toy_chains import images, labels, randomized

from resnet_probe import chain_of, lesion, models
from resnet_probe.runs.catalogue import ROWS, row

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no CUDA device is here, or -m cuda was not asked for"
    ),
    # Said by PyTorch where the first matrix product of a process is one of a backward pass.
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS"),
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


OPTIONS = {
    "lesion": {"counts": (1, 3), "draws": 2},
    "paths": {"signs": 2, "samples": 3, "images_per_path": 2},
    "attribute": {"permutations": 2},
    "agreement": {"counts": (1, 2), "draws": 2},
}


@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_every_study_gives_the_table_of_the_cpu(name, precise):
    model = randomized(models.architecture("preresnet20").build(seed=0))
    x, y = images(32, side=16), labels(32, classes=10)
    study = row(name).study.function("")
    options = OPTIONS.get(name, {})
    on_cpu = study(chain_of(model, x[:1]), x, y, **options).table
    found = study(chain_of(model.cuda(), x[:1].cuda()), x, y, **options).table
    assert list(found.columns) == list(on_cpu.columns) and len(found) == len(on_cpu)
    for column in found.select_dtypes("number"):
        ours, theirs = (t[column].to_numpy(float, na_value=np.nan) for t in (found, on_cpu))
        np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=5e-2, err_msg=column)


@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_every_study_gives_the_same_bytes_each_time(name):
    model = randomized(models.architecture("preresnet20").build(seed=0)).cuda()
    x, y = images(32, side=16), labels(32, classes=10)
    chain, study = chain_of(model, x[:1].cuda()), row(name).study.function("")
    one, other = (study(chain, x, y, **OPTIONS.get(name, {})).table for _ in range(2))
    assert one.to_csv() == other.to_csv()


@pytest.mark.parametrize("mib", [64, 512])
@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_the_memory_stays_inside_the_budget(name, mib):
    model = randomized(models.architecture("resnet20").build(seed=0)).cuda()
    count = mib // 2 if name == "append" else 1024  # it is trained on all at once
    x, y = images(count, side=32).cuda(), labels(count, classes=10)
    chain, study = chain_of(model, x[:1]), row(name).study.function("")
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    study(chain, x, y, memory=mib * 2**20, **OPTIONS.get(name, {}))
    assert torch.cuda.max_memory_allocated() - before <= mib * 2**20


@pytest.mark.parametrize("seed", range(20))
def test_every_number_of_a_random_network(seed, precise):
    x, y = drawn_images(seed)
    net = network(seed).to(x.dtype).cuda()
    x, y = x.cuda(), y.cuda()
    chain = chain_of(net, x)
    check_outputs(net, chain, x, 2e-5 if x.dtype == torch.float32 else 1e-12)
    check_path_gradients(net, chain, x, y)
