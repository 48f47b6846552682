"""`docs`: the documentation as pages, built from what is installed."""

from __future__ import annotations

import webbrowser
from argparse import Namespace
from pathlib import Path
from typing import Any

from resnet_probe.cli import options as shared

NAME = "docs"
HELP = "build the documentation and open it"
DESCRIPTION = """\
Build the documentation as HTML pages that need no network: a page a question, with the shortest
call and the figure that it draws here and now; a page a kind of refusal; the reference of the
Python interface; and llms.txt, its index for programs.  Built once, the pages are opened again."""
EXAMPLES = """\
examples:
  python -m resnet_probe docs
  python -m resnet_probe docs --again --no-open"""
FOLDER = Path("runs/docs")


def add_parser(commands: Any) -> None:
    parser = shared.command(commands, NAME, HELP, DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--out", type=Path, default=FOLDER, metavar="DIR", help=f"(default: {FOLDER})"
    )
    parser.add_argument("--again", action="store_true", help="build again what is there")
    parser.add_argument(
        "--no-open", action="store_true", help="say where it is, and open no browser"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.guide import build

    index = options.out / "index.html"
    if options.again or not index.is_file():
        pages = build(options.out)
        print(f"{pages} pages, a reference of the Python interface, and llms.txt")
    print(index.resolve())
    if not options.no_open:
        webbrowser.open(index.resolve().as_uri())
    return 0
