"""Where a run's table, provenance and figure go, and what an interrupted one leaves."""

from __future__ import annotations

import platform
import shlex
import sys
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from resnet_probe.loading import Prepared

LIBRARIES = ("resnet-probe", "torch", "torchvision", "numpy", "pandas", "scipy")


def default_folder(study: str, prepared: Prepared, options: Namespace) -> Path:
    """`runs/STUDY-ARCH-DATA`, unless `--out` names another."""
    from resnet_probe import data

    if options.out is not None:
        return Path(options.out)
    arch = prepared.network.arch.spec.translate(str.maketrans(":,=", "---"))
    return Path("runs") / f"{study}-{arch}-{data.slug(prepared.image_set.name)}"


def facts(prepared: Prepared) -> dict[str, Any]:
    """What a reader has to know to run the same thing again."""
    return {
        "command": shlex.join(["python", "-m", "resnet_probe", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **_versions()},
        "device": _device_name(prepared.chain.device),
        "platform": platform.platform(),
        "known_error_pct": prepared.network.known_error_pct,
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # run from a checkout that was not installed
    return found


def _device_name(device: Any) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
