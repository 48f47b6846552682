"""An edited network as a module of its own: to save, to run elsewhere, to fine-tune, to time.

A chain runs its blocks one by one; here their graphs are put together into one `torch.fx` graph,
whose modules and parameters have the names that they have in the user's model.
"""

from __future__ import annotations

import copy
import operator
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.discover.copies import usual_torch
from resnet_probe.edits import Edit
from resnet_probe.edits.variants import BranchAlone, MeanOfSums
from resnet_probe.engine.precision import full_precision
from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs

EXAMPLE = 8
"""How many images the module is held against the chain on, at most."""
SUFFIXES = (".pt2", ".pt")


class EditedNetwork(fx.GraphModule):
    """The module that `edited` gives; `with edited(…) as model:` names it for the lines below."""

    def __enter__(self) -> EditedNetwork:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back: it shares nothing with the user's model."""


def edited(ready: Any, edit: Edit | str, images: Tensor | None = None) -> EditedNetwork:
    """The edited network as an `nn.Module`: images `[n, …]` to logits `[n, classes]`.

    `ready` is what `prepare` gives, or a chain with example `images`; `edit` an edit or its text.
    The module shares nothing with the model: its parameters are copies, under the user's names for
    what is left, and in eval mode.  `module.meta` has the `edit` as text and `removed`, the names
    of the user's modules that are gone, the outermost of each.  What the model's forward pass does
    in Python is fixed as it was when the chain was cut, so functional dropout stays off in `train`.

    It is proven on at most eight of the images: the module gives the chain's logits under the edit.

    Raises `ProbeError` for an edit that the chain cannot have, values that are not fitted, no
    example, a network that carries values beside its state, and a module that gives other logits
    by more than rounding.
    """
    with usual_torch():
        return _edited(ready, edit, images)


def _edited(ready: Any, edit: Edit | str, images: Tensor | None) -> EditedNetwork:
    chain, images = (ready.chain, ready.images) if hasattr(ready, "chain") else (ready, images)
    if images is None or len(images) == 0:
        raise ProbeError("an edited network is proven on an example: give images=")
    if isinstance(images, Inputs) or chain.free or any(block.changes for block in chain):
        raise ProbeError(
            f"{chain.name} carries values beside its state, or takes inputs by name: only what "
            "hands one tensor from block to block can be put together as a module"
        )
    asked = Edit.parse(edit) if isinstance(edit, str) else edit
    made = _Assembly()
    for place, gate in [(0, 1.0), *asked.steps(chain), (-1, 1.0)]:
        if place in (0, -1):
            made.add(chain.head if place else chain.stem, "head" if place else "stem")
        else:
            made.add_block(chain.block(place), gate)
    with torch.no_grad():
        module = copy.deepcopy(made.module()).eval()
    module.meta = {"edit": str(asked), "removed": removed(chain, module)}
    _prove(module, chain, asked, images[:EXAMPLE].to(chain.device).to(chain.dtype))
    return module


def removed(chain: ResidualChain, module: nn.Module) -> list[str]:
    """The user's modules of which nothing is left, the outermost name of each, in order."""
    left = {name for name, _ in module.named_modules()}
    leaves = list(dict.fromkeys(name for part in chain.modules for name in _leaves(part)))
    found = []
    for leaf in leaves:
        parts = leaf.split(".")
        heads = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        if leaf not in left:
            found.append(next(head for head in heads if head not in left))
    return list(dict.fromkeys(found))


def save(module: fx.GraphModule, path: Path, example: Tensor) -> None:
    """Write an edited network so that it can be used without this package.

    `.pt2`: a program of `torch.export`, for any number of images; `.pt`: a dictionary with its
    `state_dict` under the user's names, the names that are `removed`, and the `edit` as text, for
    the user's own class.  Raises `ProbeError` for another suffix, what `torch.export` refuses, and
    a place that cannot be written.
    """
    check_path(path)
    beside = path.with_name(f".{path.name}.tmp")
    try:
        if path.suffix == ".pt":
            torch.save({"state_dict": module.state_dict(), **module.meta}, beside)
        else:
            with beside.open("wb") as file:  # a name without its suffix would be refused
                torch.export.save(_exported(module, example), file)
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a refused write as RuntimeError
        said = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise ProbeError(f"{path} cannot be written: {said}") from None
    finally:
        beside.unlink(missing_ok=True)


def check_path(path: Path) -> None:
    """Raises `ProbeError` for a name or a folder to which nothing can be written."""
    if path.suffix not in SUFFIXES:
        raise ProbeError(
            f"out={path} says no form: end it in .pt2 for a program of torch.export, or in .pt for "
            "a state dict with the list of removed modules"
        )
    if not path.parent.is_dir():
        raise ProbeError(f"out={path}: there is no folder {path.parent}")
    if path.is_dir():
        raise ProbeError(f"out={path} is a folder: name a file")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ProbeError(f"{path} cannot be written: {error.strerror or error}") from None


def _exported(module: fx.GraphModule, example: Tensor) -> torch.export.ExportedProgram:
    two = example[:1].repeat(2, *[1] * (example.dim() - 1))  # of one, export would make a constant
    shapes = ({0: torch.export.Dim("images")},)
    try:
        with torch.random.fork_rng(devices=[]):  # tracing draws random numbers
            return torch.export.export(module, (two,), dynamic_shapes=shapes)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ProbeError(
            f"torch.export refuses the edited network: {reason[0] if reason else error!r}; a file "
            "that ends in .pt has its state dict"
        ) from None


class _Assembly:
    """Graphs put one behind the other; `h` is the state behind what has been added."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.parts: dict[str, Any] = {}
        self.h: fx.Node = self.graph.placeholder("images")

    def add(self, module: nn.Module, name: str) -> None:
        """Take the state through a module."""
        self.h = self._run(module, name, self.h)

    def add_block(self, block: ResidualBlock, gate: float) -> None:
        """Take it through a block whose branch has a gate."""
        total = self._sum(block, gate, self.h)
        self.h = self._run(block.after, f"{block.name}.after", total)

    def module(self) -> EditedNetwork:
        self.graph.output(self.h)
        self.graph.lint()
        return EditedNetwork(self.parts, self.graph, class_name="EditedNetwork")

    def _sum(self, block: ResidualBlock, gate: float, h: fx.Node) -> fx.Node:
        """As `ResidualBlock.sum` does it, operation by operation."""
        if isinstance(block.branch, MeanOfSums):
            return self._times(self._mean(block.branch, h), gate)
        alone = isinstance(block, BranchAlone)
        if not alone and gate == 0:
            return self._run(block.shortcut, f"{block.name}.shortcut", h)
        if block.residual and gate == 1 and block.total is not None:
            return self._run(block.total, f"{block.name}.total", h)
        branch = self._times(self._run(block.branch, f"{block.name}.branch", h), gate)
        if alone or not block.residual:
            return branch
        shortcut = self._run(block.shortcut, f"{block.name}.shortcut", h)
        pair = (branch, shortcut) if block.branch_first else (shortcut, branch)
        return self.graph.call_function(operator.add, pair)

    def _times(self, node: fx.Node, gate: float) -> fx.Node:
        return node if gate == 1 else self.graph.call_function(operator.mul, (gate, node))

    def _mean(self, parallel: MeanOfSums, h: fx.Node) -> fx.Node:
        sums = [
            self._sum(block, gate, h)
            for block, gate in zip(parallel.blocks, parallel.gates, strict=True)
        ]
        total = sums[0]
        for other in sums[1:]:
            total = self.graph.call_function(operator.add, (total, other))
        return self.graph.call_function(operator.truediv, (total, len(sums)))

    def _run(self, module: nn.Module, name: str, h: fx.Node) -> fx.Node:
        if isinstance(module, nn.Identity):
            return h
        if not isinstance(module, fx.GraphModule):
            return self.graph.call_module(self._named(name, module), (h,))
        given = [node for node in module.graph.nodes if node.op == "placeholder"]
        if len(given) != 1:
            raise ProbeError(
                f"{name} takes {len(given)} values: only what takes one state can stand in a module"
            )
        nodes: dict[fx.Node, fx.Node] = {given[0]: h}
        for node in module.graph.nodes:
            if node.op == "output":
                found: Any = fx.node.map_arg(node.args[0], nodes.__getitem__)
                return found
            if node.op != "placeholder":
                nodes[node] = self._copied(module, node, nodes)
        raise AssertionError("a graph ends in its output")

    def _copied(
        self, module: fx.GraphModule, node: fx.Node, nodes: Mapping[fx.Node, fx.Node]
    ) -> fx.Node:
        new = self.graph.node_copy(node, nodes.__getitem__)
        if node.op in ("call_module", "get_attr"):
            new.target = self._named(str(node.target), _at(module, str(node.target)))
        return new

    def _named(self, name: str, part: Any) -> str:
        """The part's name in the module: its own, or one beside it where another has that."""
        found, count = name, 1
        while self.parts.get(found, part) is not part:
            found, count = f"{name}_{count}", count + 1
        self.parts[found] = part
        return found


def _at(module: nn.Module, target: str) -> Any:
    """A submodule, parameter, buffer or other attribute by its dotted name."""
    found: Any = module
    for name in target.split("."):
        found = getattr(found, name)
    return found


def _leaves(part: nn.Module) -> Iterator[str]:
    """The names of the modules that a part of a chain calls."""
    if isinstance(part, fx.GraphModule):
        yield from (str(node.target) for node in part.graph.nodes if node.op == "call_module")


@torch.no_grad()
def _prove(module: nn.Module, chain: ResidualChain, edit: Edit, images: Tensor) -> None:
    with full_precision(chain.device):
        found, wanted = module(images), chain.run(images, edit)
    if torch.equal(found, wanted):
        return
    gap, size = float((found - wanted).abs().max()), float(wanted.abs().max())
    if not gap <= 1e-5 * size:
        raise ProbeError(
            f"the module of {chain.name} with the edit {str(edit)!r} gives logits that are off by "
            f"{gap:.3g} from the chain's, where the largest is {size:.3g}"
        )
