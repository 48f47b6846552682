"""Runs notebooks in a kernel of their own, as Jupyter would.

`python tests/notebook_runs.py notebooks/*.ipynb` renews the committed outputs in place, without
the times and versions that would change with every run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

SECONDS = 300
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def executed(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """The notebook with its outputs, run in `folder`; raises what a cell raises."""
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    return client.execute()


def renew(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(nbformat.read(path, as_version=4), Path(folder))
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        renew(Path(name))
        print(f"{name}: {Path(name).stat().st_size / 1024:.0f} KiB")
