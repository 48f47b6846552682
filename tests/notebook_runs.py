"""Runs notebooks in a kernel, as Jupyter would.

`python tests/notebook_runs.py notebooks/*.ipynb` renews the committed outputs in place, without
the times and versions that would change with every run.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager, KernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbformat import NotebookNode

SECONDS = 900
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


@contextmanager
def kernel() -> Iterator[KernelManager]:
    """A kernel for several notebooks, one after the other, which import torch once."""
    km = AsyncKernelManager(kernel_name="python3")
    try:
        yield km
    finally:
        if km.has_kernel:
            run_sync(km.shutdown_kernel)(now=True)


START = """
import os
os.chdir({folder!r})
%reset -f
import IPython.core.pylabtools as tools
tools.rendered = getattr(tools, "rendered", tools.print_figure)
tools.print_figure = tools.rendered if {rendered} else lambda *figure, **options: ""
del tools
"""


def executed(
    notebook: NotebookNode, folder: Path, km: KernelManager, *, rendered: bool = True
) -> NotebookNode:
    """The notebook with its outputs, run in `folder`; raises what a cell raises.

    No name that an earlier notebook gave is left.  Where figures are not `rendered`, their pictures
    are empty: to render them takes longer than to measure what they show.
    """
    code = START.format(folder=str(folder), rendered=rendered)
    start = nbformat.v4.new_code_cell(code.strip())
    notebook.cells.insert(0, start)
    client = NotebookClient(notebook, km=km, timeout=SECONDS, record_timing=False)
    done = client.execute(cleanup_kc=False)
    client.kc.stop_channels()
    del done.cells[0]
    for number, cell in enumerate([c for c in done.cells if c.cell_type == "code"], start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    return done


def renew(path: Path, km: KernelManager) -> None:
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(nbformat.read(path, as_version=4), Path(folder), km)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    with kernel() as km:
        for name in sys.argv[1:]:
            renew(Path(name), km)
            print(f"{name}: {Path(name).stat().st_size / 1024:.0f} KiB")
