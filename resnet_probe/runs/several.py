"""What the scripts in `analyses/` share: their options, their runs, and several in one table."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.data import beside, slug
from resnet_probe.loading.request import Request
from resnet_probe.results import Result
from resnet_probe.runs.job import obtained

if TYPE_CHECKING:
    import pandas as pd


def of_runs(study: str, table: pd.DataFrame, runs: Sequence[Result]) -> Result:
    """A table made of runs, with what determined each of them and the commands that repeat them."""
    identity = {"study": study, "runs": [each.identity for each in runs]}
    commands = [each.provenance["command"] for each in runs]
    return Result(study, table, {"identity": identity, "commands": commands})


def images_of(run: Result) -> str:
    """`digits, 898 images`; `cifar10-test (stored as JPEG), 1,000 images`."""
    asked = run.identity
    note = f" ({asked['data_note']})" if asked["data_note"] else ""
    return f"{slug(asked['data'])}{note}, {asked['images']:,} images"


def parser(doc: str, *, tiny: str) -> ArgumentParser:
    """The options of a script on bundled networks, whose first line says what it is about."""
    asked = ArgumentParser(description=doc.splitlines()[0])
    asked.add_argument("--tiny", action="store_true", help=tiny)
    asked.add_argument("--zoo", help="bundled weights of another kind, as cifar10-jpeg")
    asked.add_argument("--data", help="their test images (default: digits, which come along)")
    asked.add_argument("--limit", type=int, metavar="IMAGES", help="the first ones only")
    asked.add_argument("--work", type=Path, metavar="DIR", help="where runs are kept (runs)")
    asked.add_argument("--out", type=Path, help="(default: beside this file)")
    return asked


def given_to(asked: ArgumentParser, script: str, *, few: int) -> Namespace:
    """The options as given; a tiny run takes a `few` images, results go beside the script."""
    given, place = asked.parse_args(), Path(script)
    name = f"{place.stem}-photographs" if given.zoo else place.stem
    given.out = given.out or place.with_name(name)
    given.limit = few if given.tiny else given.limit
    return given


def deep_network(asked: ArgumentParser) -> None:
    """The options of a script on one deep network: a bundled one, or one's own."""
    asked.add_argument("--arch", metavar="NAME", help="(default: the deepest that is bundled)")
    asked.add_argument("--weights", metavar="FILE")
    asked.add_argument("--normalize", metavar="NAME")


def deepest(given: Namespace) -> str:
    """Of the networks that are bundled for these images: that of the 2016 study, else of 2015."""
    return "preresnet110" if given.zoo else "resnet110"


def request_of(given: Namespace, *, limit: int) -> Request:
    """What the options of `deep_network` name, on so many images if none are asked for."""
    arch = "resnet20" if given.tiny else given.arch or deepest(given)
    return Request(
        arch=arch, weights=given.weights, zoo=given.zoo, normalize=given.normalize,
        data=given.data, limit=given.limit or limit,
    )  # fmt: skip


def lesion_of(arch: str, given: Namespace, **job: Any) -> Result:
    """A lesion, found where its command keeps it, or measured and kept there."""
    request = Request(arch=arch, zoo=given.zoo, data=given.data, limit=given.limit)
    return obtained("lesion", request, root=given.work, **job).result


def training_images(given: Namespace) -> str | None:
    """Those beside the test images, where these lie in a file or folder."""
    return beside(given.data) if given.data and ":" in given.data else None
