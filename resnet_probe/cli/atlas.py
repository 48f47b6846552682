"""`atlas`: a list of networks, measured alike, in one table and on one page."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.output import Output, add_output
from resnet_probe.cli.study import rehearse
from resnet_probe.errors import ProbeError
from resnet_probe.results import Result, refuse_other, unless_refused
from resnet_probe.settings import as_file_name
from resnet_probe.studies.parts import Part
from resnet_probe.studies.study import Resources

if TYPE_CHECKING:
    from resnet_probe.runs.atlas import Atlas
    from resnet_probe.runs.job import Job
    from resnet_probe.runs.parts import Parts

NAME = "atlas"
HELP = "measure a list of networks into one table and one page"
DESCRIPTION = """\
Measure every network of a list, and merge what the studies say into one long table and one page:
networks down, quantities across. The list is a CSV file with a column arch and, as they are needed,
other options of a network and its images (weights, zoo, twin, data, limit, input …), name, family
and studies (some of lesion, responses, paths, interactions; default: all). A network that cannot be
measured is named, and the others go on. Each study has the run folder of its own command: what lies
there is taken, and after an interruption the same command goes on."""
EXAMPLES = """\
examples:
  python -m resnet_probe atlas networks.csv --out runs/atlas
  python -m resnet_probe atlas networks.csv --part 1/2  # the 1st, 3rd, 5th … network
  python -m resnet_probe merge runs/atlas-networks-part-*-of-2"""


def add_parser(commands: Any) -> None:
    parser = shared.command(commands, NAME, HELP, DESCRIPTION, EXAMPLES)
    parser.add_argument("networks", type=Path, metavar="NETWORKS.csv", help="the list")
    shared.add(parser, Resources)
    group = shared.run_group(parser)
    group.add_argument(
        "--part", type=Part.read, metavar="2/8",
        help="measure the second of eight parts of the networks; `merge` puts them together",
    )  # fmt: skip
    shared.add(parser, shared.Seed)
    group.add_argument(
        "--out", type=Path, metavar="DIR",
        help="where to write, and DIR.html beside it (default: runs/atlas-NETWORKS)",
    )  # fmt: skip
    add_output(parser, figures=False)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.runs.parts import PART

    resources = shared.read(Resources, options)
    out = Output.of(options)
    atlas, folder = asked(options), _folder(options)
    if options.dry_run:
        return rehearse(_jobs(atlas, options.part, out), resources, out)
    identity = atlas.identity
    part = {} if options.part is None else {PART: str(options.part)}
    with unless_refused(folder):
        refuse_other(folder, {**identity, **part})
        with out.aside():
            result = atlas.result(part=options.part, resources=resources, say=_say)
            print()
        keep(result, folder, out)
    return 0


def asked(options: Namespace) -> Atlas:
    """The atlas of a command line."""
    from resnet_probe.runs.atlas import Atlas

    words = ["python", "-m", "resnet_probe", NAME, str(options.networks)]
    words += ["--seed", str(options.seed)] if options.seed else []
    words += ["--part", str(options.part)] if options.part is not None else []
    return Atlas.read(options.networks, seed=options.seed, command=shlex.join(words))


def keep(result: Result, folder: Path, out: Output) -> None:
    """Save what was found, with its page where it is whole, and say it."""
    from resnet_probe.figures import draw_all
    from resnet_probe.findings import summarize_atlas
    from resnet_probe.report.atlas import write_page
    from resnet_probe.runs.parts import PART

    if result.table["value"].isna().all():
        whys = dict.fromkeys(result.table["why"])
        raise ProbeError(f"no network of the list could be measured: {'; '.join(whys)}")
    facts: dict[str, Any] = {"study": NAME, "command": result.provenance["command"]}
    part = result.identity.get(PART)
    if part is not None:
        result.save(folder)
        count = result.table["network"].nunique()
        said = f"part {part}: {count} networks; `merge` puts the parts together"
    else:
        result.save(folder, figures=draw_all(result))
        facts["page"] = str(write_page(result, folder.resolve()))
        said = f"{summarize_atlas(result)}\n\n{facts['page']}: all networks on one page"
    out.tell(said, folder.resolve(), **facts)


def merge(parts: Parts, folder: Path | None) -> int:
    """The atlas that these are the parts of."""
    from resnet_probe.runs.atlas import Atlas

    words = shlex.split(parts.command)
    place = words.index("--part")
    atlas = Atlas.again(parts.identity, command=shlex.join(words[:place] + words[place + 2 :]))
    keep(atlas.merged(parts), folder or _usual(Path(words[4])), Output())
    return 0


def _folder(options: Namespace) -> Path:
    from resnet_probe.runs.job import named_part

    usual = _usual(options.networks)
    apart = usual if options.part is None else usual.with_name(named_part(usual.name, options.part))
    return options.out or apart


def _usual(networks: Path) -> Path:
    from resnet_probe.runs.job import RUNS

    return RUNS / f"{NAME}-{as_file_name(networks.stem)}"


def _jobs(atlas: Atlas, part: Part | None, out: Output) -> Iterator[tuple[Job, Path]]:
    """The jobs of one network after another, so that one is in memory at a time."""
    from resnet_probe.runs.atlas import Member

    for listed in atlas.listed if part is None else atlas.of(part):
        try:
            jobs, _, _ = Member(listed, atlas.seed).jobs()
        except ProbeError as error:
            with out.aside():
                print(f"{listed.name} is left out: {error}")
            continue
        yield from ((job, job.folder()) for job in jobs.values())


def _say(text: str) -> None:
    print(text, flush=True)
