"""`merge`: the parts of a run, put together into the run."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.runs.job import Job
    from resnet_probe.runs.parts import Parts

NAME = "merge"
HELP = "put the parts of a run together"
DESCRIPTION = """\
Put together what runs with --part 1/K … K/K have gathered: the table is that of one run over all
images, counts to the byte, and means but for the rounding of their sums. The network and the images
are looked at once more, from the same working folder, to see that the parts are theirs. The parts
of an atlas are networks, and nothing is looked at again."""
EXAMPLES = """\
examples:
  python -m resnet_probe lesion --arch resnet110 --part 1/2
  python -m resnet_probe lesion --arch resnet110 --part 2/2
  python -m resnet_probe merge runs/lesion-resnet110-digits-part-*-of-2"""


def add_parser(commands: Any) -> None:
    parser = shared.command(commands, NAME, HELP, DESCRIPTION, EXAMPLES)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a part")
    group = parser.add_argument_group("the run")
    group.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: runs/STUDY-ARCH-DATA)"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.cli import atlas
    from resnet_probe.cli.study import tell
    from resnet_probe.runs.parts import Parts

    parts = Parts.of(options.runs)
    if parts.identity["study"] == atlas.NAME:
        return atlas.merge(parts, options.out)
    job = whole_job(parts)
    folder = options.out or job.folder()
    tell(job, job.obtain(folder, parts=parts))
    return 0


def whole_job(parts: Parts) -> Job:
    """The job of the whole run, from the command that made a part of it."""
    from resnet_probe.cli import parser
    from resnet_probe.cli.study import StudyCommand
    from resnet_probe.runs.catalogue import row

    words = shlex.split(parts.command)[3:]
    if not words or "--part" not in words:
        raise ProbeError("the parts do not say which command made them: make them again")
    place = words.index("--part")
    words = words[:place] + words[place + 2 :]
    return StudyCommand(row(words[0])).jobs(parser(words[0]).parse_args(words))[0]
