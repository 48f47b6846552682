"""The architecture as a table: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

PACKAGE = ROOT / "resnet_probe"
FLOORS = (
    "__main__",
    "cli",
    "guide",
    "report explorer benchmarks",
    "runs",
    "claims",
    "figures",
    "findings",
    "studies",
    "loading",
    "zoo",
    "training",
    "data models",
    "engine",
    "discover",
    "describe",
    "published results stats edits",
    "chain",
    "state",
    "settings",
    "errors",
)
"""From the top down: a part imports from the floors below its own, and from itself."""
TORCH_FREE = {
    "cli", "guide", "report", "runs", "claims", "findings", "figures", "published", "results",
    "errors",
}  # fmt: skip
"""These import torch inside functions at most: help, tables and figures do without it."""
FLOOR = {part: -floor for floor, parts in enumerate(FLOORS) for part in parts.split()}


def imports_of(path):
    """(absolute module names, all of them: also those inside functions)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_of(path):
    """The floor's part that a file belongs to, and those that it imports from."""
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    names = (name.split(".") for name in imports_of(path))
    return own, {name[1] for name in names if name[0] == "resnet_probe" and len(name) > 1}


def wrong_arrows(files):
    """`upper <- lower` for each import of a part that is not below the importing one."""
    for path in files:
        own, used = parts_of(path)
        for part in used & FLOOR.keys() - {own}:
            if FLOOR[part] >= FLOOR[own]:
                yield f"{path.relative_to(PACKAGE)} imports {part}"


def circles(files):
    """Files that import each other, over any number of steps."""
    name = {".".join(("resnet_probe", *p.relative_to(PACKAGE).with_suffix("").parts)): p
            for p in files if p.name != "__init__.py"}  # fmt: skip
    edges = {
        module: {found for used in imports_of(path)
                 for found in (used, used.rpartition(".")[0]) if found in name} - {module}
        for module, path in name.items()
    }  # fmt: skip
    while free := [module for module, used in edges.items() if not used & edges.keys()]:
        for module in free:
            del edges[module]
    while last := edges.keys() - set().union(*edges.values(), set()):
        for module in last:
            del edges[module]
    return sorted(edges)


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def test_nothing_imports_what_lies_above_it():
    assert not list(wrong_arrows(FILES))


def test_no_files_import_each_other():
    assert not circles(FILES)


def test_every_part_of_the_package_has_its_floor():
    parts = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts - {"__init__"} == FLOOR.keys()


def test_what_runs_without_torch_does_not_import_it():
    for path in FILES:
        own, _ = parts_of(path)
        heads = {node for node in ast.parse(path.read_text()).body
                 if isinstance(node, ast.Import | ast.ImportFrom)}  # fmt: skip
        names = {name for node in heads for name in ([node.module] if isinstance(
            node, ast.ImportFrom) else [alias.name for alias in node.names])}  # fmt: skip
        heavy = {str(name).partition(".")[0] for name in names} & {"torch", "torchvision"}
        assert not (own in TORCH_FREE and heavy), f"{path} imports {heavy}"


def test_results_help_and_figures_do_without_torch():
    check = """
import contextlib, sys
import resnet_probe.results, resnet_probe.results.journal, resnet_probe.stats
import resnet_probe.published

assert not {"torch", "seaborn", "matplotlib"} & set(sys.modules)
from resnet_probe.cli import main

for line in (["--help"], ["lesion", "--help"]):
    with contextlib.suppress(SystemExit):
        main(line)
import resnet_probe.figures, resnet_probe.report
from resnet_probe.runs.catalogue import ROWS

[row.study for row in ROWS]
assert not {"torch", "torchvision", "captum"} & set(sys.modules)
import matplotlib.pyplot

assert matplotlib.pyplot.get_fignums() == []
"""
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


def test_public_names_are_there():
    import resnet_probe

    for name in resnet_probe.__all__:
        assert getattr(resnet_probe, name) is not None
        assert name in dir(resnet_probe)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        resnet_probe.nothing  # noqa: B018
