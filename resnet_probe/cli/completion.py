"""`completion`: a script for the shell, which then completes commands, options and choices."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError

NAME = "completion"
SHELLS = ("bash", "zsh", "tcsh")
DESCRIPTION = """\
Print a script that completes commands, options and their choices of `resnet-probe` in a shell.
It runs no Python while you type, and has to be made again after an update."""
EXAMPLES = """\
examples:
  resnet-probe completion bash >> ~/.bashrc
  resnet-probe completion zsh > ~/.zsh/completions/_resnet-probe"""


def add_parser(commands: Any) -> None:
    help = "print a script that completes commands in a shell"
    parser = shared.command(commands, NAME, help, DESCRIPTION, EXAMPLES)
    parser.add_argument("shell", choices=SHELLS, help="bash, zsh or tcsh")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.cli import SCRIPT, parser

    try:
        import shtab
    except ImportError:
        raise ProbeError("completion needs shtab: pip install 'resnet-probe[completion]'") from None
    every = parser(every=True)
    every.prog = SCRIPT
    print(shtab.complete(every, shell=options.shell))
    return 0
