"""A network of the transformers library, from the folder that it was saved in: `hf:FOLDER`."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from torch import nn

from resnet_probe.errors import ProbeError
from resnet_probe.models.architecture import Architecture

PREFIX = "hf:"
SPEC = re.compile(r"hf:(?P<folder>.+?)(@(?P<shape>\d+x\d+x\d+))?(@(?P<output>[A-Za-z_][\w.]*))?")
IMAGES = "preprocessor_config.json"
RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""As Pillow numbers them."""
SIDE = 224


def transformers_architecture(spec: str) -> Architecture:
    """The network that `config.json` in a folder names, with the weights that lie beside it.

    Nothing is fetched, and no code of the folder's is run.  Raises `ProbeError` for a folder
    without configuration, a class that transformers lacks, and where it is not installed.
    """
    match = SPEC.fullmatch(spec)
    folder = Path(match["folder"]).expanduser() if match else Path()
    if match is None or not folder.is_dir():
        raise ProbeError(f"{spec} names no folder: give hf:FOLDER, with a config.json in it")
    config = _read(folder / "config.json")
    kinds = config.get("architectures")
    kind = kinds[0] if isinstance(kinds, list) and kinds else None
    if not isinstance(kind, str):
        raise ProbeError(f"{folder}/config.json does not name its architectures")
    if match["shape"] is None:
        shape = _shape(config, folder)
    else:
        channels, height, width = (int(side) for side in match["shape"].split("x"))
        shape = (channels, height, width)

    def make(*, classes: int) -> nn.Module:
        return _loaded(folder, str(kind))

    return Architecture(
        spec=f"{PREFIX}{folder.resolve().name}", family="own", input_shape=shape, classes=1,
        residual=True, make=make, output=match["output"],
    )  # fmt: skip


def images_of(spec: str) -> dict[str, str]:
    """How images are normalized and resized for it, as `normalize` and `preprocess` say it."""
    match = SPEC.fullmatch(spec)
    file = Path(match["folder"]).expanduser() / IMAGES if match else Path(IMAGES)
    if not file.is_file():
        return {}
    found = _read(file)
    said = {}
    means = [found.get(key) for key in ("image_mean", "image_std")]
    if found.get("do_normalize", True) and all(isinstance(each, list) for each in means):
        mean, std = (",".join(map(str, each)) for each in means if each is not None)
        said["normalize"] = f"mean={mean},std={std}"
    size = found.get("size")
    side = size.get("shortest_edge", size.get("height")) if isinstance(size, dict) else size
    if side is not None:
        how = next((RESAMPLE[n] for n in RESAMPLE if n == found.get("resample")), "bilinear")
        said["preprocess"] = f"resize={side},crop={side},interpolation={how}"
    return said


def _shape(config: Mapping[str, Any], folder: Path) -> tuple[int, int, int]:
    side = config.get("image_size") or SIDE
    found = [config.get("num_channels", 3), *(side if isinstance(side, list) else (side, side))]
    if len(found) != 3 or not all(type(each) is int and 0 < each < 2**16 for each in found):
        said = "×".join(map(str, found))[:80]
        raise ProbeError(
            f"{folder}/config.json says that images are {said} (channels, height, width)"
        )
    return found[0], found[1], found[2]


def _loaded(folder: Path, kind: str) -> nn.Module:
    """The network with all its weights; refused where some would be drawn at random."""
    try:
        import transformers
    except ImportError as error:
        raise ProbeError("hf: needs transformers: pip install 'resnet_probe[language]'") from error
    made = getattr(transformers, kind, None)
    if made is None:
        raise ProbeError(f"transformers {transformers.__version__} has no class {kind}, which "
                         f"{folder}/config.json asks for")  # fmt: skip
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            model, report = made.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False,
                output_loading_info=True,
            )  # fmt: skip
    except Exception as error:  # whatever the library raises for weights that are not there
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ProbeError(f"{folder} cannot be loaded by transformers: {reason[0]}") from error
    finally:
        transformers.logging.set_verbosity(before)
    missing = sorted(report.get("missing_keys", ()), key=len)
    if missing:
        raise ProbeError(
            f"{folder} lacks weights of {kind}: {', '.join(missing[:10])}, which would be drawn at "
            "random"
        )
    return model


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise ProbeError(f"{file} cannot be read as JSON: it is no file")
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProbeError(f"there is no {file.name} in {file.parent}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ProbeError(f"{file} cannot be read as JSON") from error
    if not isinstance(found, dict):
        raise ProbeError(f"{file} is no JSON object")
    return found
