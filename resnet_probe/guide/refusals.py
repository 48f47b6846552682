"""Every sentence with which the package refuses, read from its own source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
BLANK = "‹…›"

KINDS: dict[str, tuple[str, ...]] = {
    "network": ("loading", "models"),
    "weights": ("zoo",),
    "images": ("data", "loading.image_choice", "engine.images", "studies.checks"),
    "cutting": ("discover", "chain", "state", "models.own"),
    "options": ("studies", "edits", "settings", "claims", "findings", "runs"),
    "memory": ("engine.memory", "studies.paths.room", "explorer"),
    "numbers": ("engine", "studies.outcomes", "studies.paths.norms"),
    "folders": ("results", "report", "runs.job"),
    "recalibration": ("engine.recalibrate", "loading.training_images"),
    "training": ("training", "loading.trained", "cli.train", "cli.bench_train"),
    "figures": ("figures", "published"),
    "statistics": ("stats", "benchmarks"),
    "commands": ("cli", "guide"),
}
"""Pages, and the modules whose refusals they list; the longest name that fits decides."""


@dataclass(frozen=True)
class Refusal:
    """One place that refuses: its message, with `‹name›` for what is filled in, and its reason."""

    module: str
    function: str
    message: str
    reason: str


def kind_of(module: str) -> str:
    """The page of a module's refusals; raises `KeyError` for one that no page has."""
    fits = {part: kind for kind, parts in KINDS.items() for part in parts
            if module == part or module.startswith(f"{part}.")}  # fmt: skip
    return fits[max(fits, key=len, default=module)]


@cache
def refusals() -> tuple[Refusal, ...]:
    """Every `raise ProbeError("…")` of the package, in the order of its files."""
    return tuple(_read())


def _read() -> Iterator[Refusal]:
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from _inside(tree, module.removesuffix(".__init__"), "", "")


def _inside(node: ast.AST, module: str, function: str, reason: str) -> Iterator[Refusal]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if named and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            where = f"{function}.{child.name}".lstrip(".")
            yield from _inside(child, module, where, _reason(child) or reason)
            continue
        if isinstance(child, ast.Raise) and (message := _message(child)):
            yield Refusal(module, function, message, reason)
        yield from _inside(child, module, function, reason)


def _reason(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    """The first paragraph of its docstring."""
    said = ast.get_docstring(node) or ""
    return " ".join(said.split("\n\n")[0].split())


def _message(node: ast.Raise) -> str:
    call = node.exc
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        return ""
    return _text(call.args[0]) if call.func.id == "ProbeError" and call.args else ""


def _text(node: ast.expr) -> str:
    """The text of a literal, with blanks for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.FormattedValue):
        return _blank(node.value)
    return _blank(node)


def _blank(node: ast.expr) -> str:
    """`‹name›` where what is filled in has a plain name."""
    if isinstance(node, ast.Name):
        return f"‹{node.id}›"
    if isinstance(node, ast.Attribute) and not node.attr.startswith("_"):
        return f"‹{node.attr}›"
    return BLANK
