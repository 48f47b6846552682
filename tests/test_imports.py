"""The architecture as a table: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

PACKAGE = ROOT / "resnet_probe"
UPPER = {"studies", "figures", "cli", "report", "summaries", "benchmarks"}
FORBIDDEN = {
    "chain edits discover option_a images": {
        "torch-free": False,
        "modules": UPPER
        | {"sweep", "fold", "memory", "models", "zoo", "data", "training", "results", "stats"},
    },
    "sweep fold memory moments pullback spectrum rows arithmetic watch detached recalibrate "
    "studies": {
        "torch-free": False,
        "modules": {"models", "zoo", "data", "training", "figures", "cli", "report", "summaries"},
    },
    "models zoo data training": {
        "torch-free": False,
        "modules": {"studies", "figures", "cli", "report", "sweep", "summaries", "benchmarks"},
    },
    "results stats lengths journal provenance published tables claims": {
        "torch-free": True,
        "modules": UPPER | {"chain", "models", "zoo", "data", "training", "sweep", "seaborn"},
    },
    "explorer": {
        "torch-free": False,
        "modules": {"models", "zoo", "data", "training", "cli", "report", "summaries"},
    },
    "report": {
        "torch-free": True,
        "modules": {"studies", "chain", "models", "zoo", "data", "training", "sweep", "cli"},
    },
    "figures summaries": {
        "torch-free": True,
        "modules": {"studies", "chain", "models", "zoo", "data", "training", "sweep", "cli"},
    },
}


def imports_of(path):
    """(absolute module names, all of them: also those inside functions)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(place):
    path = PACKAGE / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


@pytest.mark.parametrize("places", FORBIDDEN)
def test_nothing_imports_what_lies_above_it(places):
    rule = FORBIDDEN[places]
    for path in (path for place in places.split() for path in files_of(place)):
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "resnet_probe" and len(parts) > 1:
                assert parts[1] not in rule["modules"], f"{path.name} imports {name}"
            assert not (rule["torch-free"] and parts[0] in ("torch", "torchvision")), path.name


def test_every_part_of_the_package_has_its_rule():
    known = {place for places in FORBIDDEN for place in places.split()}
    known |= {
        "cli",
        "benchmarks",
        "describe",
        "paper_tables",
        "errors",
        "loading",
        "networks",
        "image_choice",
        "trained_network",
        "__init__",
        "__main__",
    }
    parts = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts <= known, f"{parts - known} has no rule in the table of this test"


@pytest.mark.parametrize(
    "code",
    [
        "import resnet_probe, sys; assert 'torch' not in sys.modules",
        "from resnet_probe.cli import main; main(['--help'])",
        "from resnet_probe.cli import main; main(['lesion', '--help'])",
        "import resnet_probe.figures, resnet_probe.results, resnet_probe.published",
        "import resnet_probe.report, resnet_probe.summaries",
    ],
)
def test_help_and_figures_do_without_torch(code):
    check = f"""
import sys
try:
    {code}
except SystemExit:
    pass
heavy = {{'torch', 'torchvision', 'captum'}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


def test_public_names_are_there():
    import resnet_probe

    for name in resnet_probe.__all__:
        assert getattr(resnet_probe, name) is not None
        assert name in dir(resnet_probe)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        resnet_probe.nothing  # noqa: B018
