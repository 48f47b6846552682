"""Breaks the code, one line at a time, and reports which breaks no test sees.

    python tests/campaigns/mutations.py 30
    python tests/campaigns/mutations.py 30 --seed 1 --of stats/intervals.py engine/sweep.py

A break is made in memory, in a child: a comparison turned round, a sum made a difference, a number
one larger, a condition negated, a line left out.  The child runs the tests of that part until one
fails; a break that hangs is seen, too.  The files are never written to.
"""

from __future__ import annotations

import argparse
import ast
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location, spec_from_loader
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "resnet_probe"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from campaigns.children import called  # noqa: E402

SUBJECTS = {
    "chain.py": "chain sweep edits chain_graph discover",
    "claims": "claims_numbers claims claims_matrix published untrained claims_cli",
    "data": "data data_classes data_preprocess data_given data_layouts data_shards data_hostile "
            "data_stream own_types",
    "edits": "edits edit_lists classes control edited",
    "engine/disturb.py engine/observe.py": "control lens influence responses edit_lists",
    "engine/edited.py": "edited",
    "engine/fold.py engine/precision.py": "sweep discover_programs",
    "engine/images.py engine/memory.py": "data_given data_stream sweep paths parts",
    "engine/path_sums.py engine/spectrum.py": "spectrum paths",
    "engine/pullback": "pullback spectrum paths discover_nested language",
    "engine/recalibrate.py studies/recalibration.py": "recalibrate lesion",
    "engine/sweep.py": "sweep lesion edits",
    "engine/task.py studies/outcomes.py studies/scores.py": "tasks lesion language",
    "engine/values.py studies/calibration.py": "edit_lists",
    "findings/agreement.py studies/agreement.py studies/ensemble.py studies/votes.py":
        "agreement ensemble summaries",
    "findings/append.py studies/append.py": "append",
    "findings/atlas.py": "atlas",
    "findings/attribution.py studies/attribution":
        "attribution summaries report_sentences cli_studies",
    "findings/classes.py studies/classes.py": "classes",
    "findings/control.py studies/control.py": "control",
    "findings/depth.py findings/influence.py studies/influence.py": "depth influence edit_lists",
    "findings/flow.py studies/flow.py": "flow",
    "findings/gates.py studies/gates.py": "gates",
    "findings/greedy.py studies/greedy.py": "greedy",
    "findings/interactions.py studies/interactions.py": "interactions atlas",
    "findings/lens.py studies/lens.py": "lens summaries report_sentences",
    "findings/lesion.py studies/lesion.py studies/plan.py":
        "lesion report_sentences summaries one_answer edit_lists stopping units",
    "findings/paths.py studies/paths": "paths coherence report_sentences cli_paths coverage",
    "findings/responses.py studies/responses":
        "responses costs_of_blocks summaries report_sentences",
    "findings/sentence.py findings/verdict.py":
        "verdict summaries depth report_sentences degenerate stopping one_answer",
    "findings/sweeps.py studies/sweeps.py": "summaries edit_lists",
    "results": "results journal classes runs",
    "stats/bootstrap.py": "claims_intervals",
    "stats/intervals.py": "stats claims_intervals",
    "stats/moments.py": "moments stats",
    "stats/paired.py": "paired",
    "stats/path_lengths.py": "lengths",
    "stats/sequential.py studies/stopping.py": "sequential stopping degenerate",
    "stats/simultaneous.py": "simultaneous",
    "studies/checks.py studies/parts.py studies/study.py":
        "discover_export lesion parts tasks option_numbers option_types runs",
    "studies/units.py": "units",
}  # fmt: skip
"""What is broken, files and folders, and the tests that have to see it, the quickest first."""
FLIPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult, ast.USub: ast.UAdd,
}  # fmt: skip


@dataclass(frozen=True)
class Break:
    """One change of one line, and the module's text with it."""

    file: Path
    line: int
    before: str
    after: str
    text: str

    @property
    def module(self) -> str:
        return ".".join(self.file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    def __str__(self) -> str:
        where = f"{self.file.relative_to(PACKAGE)}:{self.line}"
        return f"{where}\n    - {self.before}\n    + {self.after}"


# ---- breaks of a file


def broken(file: Path, place: int) -> Break:
    """The break of a file at a place, the `place`-th of those that are known here."""
    tree = ast.parse(file.read_text())
    statement, change = next(islice(_places(tree), place, None))
    before = ast.unparse(statement).splitlines()[0]
    change()
    after = ast.unparse(statement).splitlines()[0]
    return Break(file, statement.lineno, before, after, ast.unparse(tree))


def _places(tree: ast.Module) -> Iterator[tuple[ast.stmt, Callable[[], None]]]:
    """(statement, what breaks it) for each place; what is only said or typed is left out."""
    for body in _bodies(tree):
        for statement in body:
            if isinstance(statement, ast.Raise | ast.Import | ast.ImportFrom | ast.Assert):
                continue
            if isinstance(statement, ast.Expr):
                if not isinstance(statement.value, ast.Call):
                    continue  # a docstring, a yield
                yield statement, lambda s=statement: setattr(s, "value", ast.Constant(...))
            if isinstance(statement, ast.AugAssign) and type(statement.op) in FLIPS:
                yield statement, lambda s=statement: _flip(s, "op")
            for node in _own(statement):
                yield from ((statement, change) for change in _changes(node))


def _bodies(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """The statements of functions; a class has fields, which are no arithmetic."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in ("__repr__", "__str__"):
            continue
        inside = not isinstance(node, ast.Module | ast.ClassDef)
        for name in ("body", "orelse", "finalbody") if inside else ():
            body = getattr(node, name, None)
            if isinstance(body, list):
                yield body


def _own(statement: ast.stmt) -> Iterator[ast.AST]:
    """The expressions of a statement, without texts, types and the statements inside it."""
    skipped = (ast.stmt, ast.JoinedStr, ast.arguments, ast.ExceptHandler)
    waiting = [each for each in ast.iter_child_nodes(statement) if not isinstance(each, skipped)]
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return
    if isinstance(statement, ast.AnnAssign):
        waiting = [statement.value] if statement.value else []
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.keyword) and node.arg == "strict":
            continue  # it asserts
        yield node
        waiting += [each for each in ast.iter_child_nodes(node) if not isinstance(each, skipped)]


def _changes(node: ast.AST) -> Iterator[Callable[[], None]]:
    if isinstance(node, ast.Compare):
        yield lambda: node.ops.__setitem__(0, FLIPS[type(node.ops[0])]())
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.UnaryOp) and type(node.op) in FLIPS:
        yield lambda: _flip(node, "op")
    if isinstance(node, ast.IfExp):
        yield lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield lambda: setattr(node, "value", node.value + 1)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield lambda: setattr(node, "value", not node.value)
    if isinstance(node, ast.Name) and node.id in ("min", "max"):
        yield lambda: setattr(node, "id", {"min": "max", "max": "min"}[node.id])


def _flip(node: ast.AST, field: str) -> None:
    setattr(node, field, FLIPS[type(getattr(node, field))]())


def drawn(count: int, seed: int, only: list[str]) -> list[Break]:
    """Breaks of so many lines, as many of each subject, one a line."""
    pick, found = random.Random(seed), []
    subjects = [list(_files(name)) for name in only or SUBJECTS]
    for number, files in enumerate(subjects):
        by_line: dict[tuple[Path, int], list[int]] = {}
        for file in files:
            for place, (statement, _) in enumerate(_places(ast.parse(file.read_text()))):
                by_line.setdefault((file, statement.lineno), []).append(place)
        share = count * (number + 1) // len(subjects) - count * number // len(subjects)
        lines = pick.sample(sorted(by_line), min(share, len(by_line)))
        found += [broken(line[0], pick.choice(by_line[line])) for line in lines]
    return found


def _files(subject: str) -> list[Path]:
    places = [PACKAGE / name for name in subject.split()]
    return [file for place in places
            for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]  # fmt: skip


# ---- the tests


class Broken(MetaPathFinder, Loader):
    """Gives the broken text where its module is imported."""

    def __init__(self, given: Break) -> None:
        self.given = given

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self.given.module:
            return None
        file = str(self.given.file)
        if self.given.file.name == "__init__.py":
            found = spec_from_file_location(
                name, file, loader=self, submodule_search_locations=[str(self.given.file.parent)]
            )
        else:
            found = spec_from_loader(name, self, origin=file)
        assert found is not None
        found.has_location = True
        return found

    def exec_module(self, module: object) -> None:
        exec(compile(self.given.text, str(self.given.file), "exec"), vars(module))


def tested(given: Break, tests: str) -> int:
    """In a child: the exit status of pytest with a break, over the tests of these names."""
    import os

    import pytest

    os.chdir(ROOT)
    for name in [name for name in sys.modules if name.partition(".")[0] == "resnet_probe"]:
        del sys.modules[name]
    sys.meta_path.insert(0, Broken(given))
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in tests.split()]
    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", "--durations=0"]
    options += ["-W", "default", "-W", "error::RuntimeWarning"]  # of dividing by nothing
    return int(pytest.main([*options, *files]))


def seen_by(given: Break, folder: Path) -> str:
    """The test that sees a break, or how else it ended; empty where none does."""
    tests = next(SUBJECTS[subject] for subject in SUBJECTS if given.file in _files(subject))
    ended = called(tested, given, tests, folder=folder)
    if ended.status == 0:
        return ""
    failed = [line for line in ended.out.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0] if failed else f"the process ended with {ended.status}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("count", type=int, nargs="?", default=30, help="lines to break (30)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", nargs="+", default=[], metavar="FILE", help="files and folders")
    options = parser.parse_args()
    for name in options.of:
        if not any(
            PACKAGE / name in (file, *file.parents) for each in SUBJECTS for file in _files(each)
        ):
            parser.error(f"--of {name}: no file or folder of {PACKAGE.name} with tests named here")
    breaks, unseen = drawn(options.count, options.seed, options.of), 0
    for number, each in enumerate(breaks, start=1):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place, "here")
            folder.mkdir()
            seen = seen_by(each, folder)
        unseen += not seen
        print(f"{number}/{len(breaks)} {seen or 'NO TEST SEES IT'}\n    {each}", flush=True)
    print(f"{unseen} of {len(breaks)} breaks are seen by no test")
    return int(unseen > 0)


if __name__ == "__main__":
    sys.exit(main())
