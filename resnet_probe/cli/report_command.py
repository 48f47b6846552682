"""The command that measures one study of a report alone."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence

from resnet_probe.loading import Prepared

FLAGS = (
    "input", "output", "weights", "zoo", "data", "data_root", "normalize", "preprocess",
    "class_map",
)  # fmt: skip


def command_of(
    study: str,
    prepared: Prepared,
    options: Namespace,
    words: Sequence[str] = (),
    *,
    seeded: bool = True,
) -> str:
    """What measures the same as a report given these `options`, from the same working folder.

    `words` are the options of the study itself; without `--limit` among them it is added where the
    report uses fewer images than the study would alone.
    """
    if study == "responses" and options.zoo is not None:
        study, words = "report", ["--full"] if options.full else []  # it has no --zoo of its own
    given = ["--model", options.model] if options.model else ["--arch", options.arch]
    for flag in FLAGS:
        value = getattr(options, flag)
        given += [f"--{flag.replace('_', '-')}", str(value)] if value is not None else []
    if "--limit" not in words and _is_cut(prepared, options):
        given += ["--limit", str(len(prepared.images))]
    given += ["--seed", str(options.seed)] if seeded and options.seed else []
    return shlex.join(["python", "-m", "resnet_probe", study, *given, *words])


def _is_cut(prepared: Prepared, options: Namespace) -> bool:
    """Whether there may be more images than these: all of a set need no `--limit`."""
    from resnet_probe.cli.report_studies import QUICK

    return options.limit is not None or (not options.full and len(prepared.images) == QUICK.images)
