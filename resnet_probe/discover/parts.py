"""The parts of a chain, cut out of a graph: each a module of one argument, the state.

Every operation belongs to one part.  What lies inside a block, between its start and its sum, is
the block's; everything else is made as soon as it can be: by the stem, or behind a block by its
`after`.  A value that a later part reads, and that is not the residual tensor there, is carried.
What needs no input (weights, constants) and sizes are computed anew wherever they are read.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from resnet_probe.discover.batch import size, times_batch
from resnet_probe.discover.nested import interior
from resnet_probe.discover.segments import Cut, Ways, behind
from resnet_probe.discover.trace import CONTEXT, Trace, ancestors
from resnet_probe.state import carried, carry, checked, residual


def subgraph(graph: Trace, start: fx.Node, end: fx.Node) -> nn.Module:
    """The part of the graph that computes `end` from `start` alone."""
    if end is start:
        return nn.Identity()
    part = Part(graph, start, ())
    part.copy((end,))
    return part.module(part.values[end])


class Part:
    """A graph in the making: from a state, with `start` as its `h` and the nodes it `carries`."""

    def __init__(self, trace: Trace, start: fx.Node, carries: Ways) -> None:
        self.trace, self.start, self.is_tensor = trace, start, not carries
        self.graph = fx.Graph()
        self.state = self.graph.placeholder("state" if carries else "h")
        self.values: dict[fx.Node, fx.Node] = {}
        for node in carries:
            self.values[node] = self.graph.call_function(carried, (self.state, node.name))
        whole = self.graph.call_function(residual, (self.state,)) if carries else self.state
        self.values[start] = whole

    def copy(self, ends: Ways) -> None:
        """The operations that compute `ends`, in the order of the whole graph."""
        needed: set[fx.Node] = set()
        waiting = list(ends)
        while waiting:
            node = waiting.pop()
            if node not in needed and node not in self.values:
                needed.add(node)
                waiting += [] if self._is_told(node) else node.all_input_nodes
        for node in sorted(needed, key=self.trace.position.__getitem__):
            self.values[node] = self._told(node) if self._is_told(node) else self._copied(node)

    def sum_of(self, ends: Ways) -> fx.Node:
        total = self.values[ends[0]]
        for end in ends[1:]:
            total = self.graph.call_function(operator.add, (total, self.values[end]))
        return total

    def module(self, output: fx.Node) -> fx.GraphModule:
        self.graph.output(output)
        for node in reversed(list(self.graph.nodes)):
            if not node.users and node.target in (carried, residual):
                self.graph.erase_node(node)
        return fx.GraphModule(self.trace.module, self.graph).eval()

    def _copied(self, node: fx.Node) -> fx.Node:
        return self.graph.node_copy(node, self.values.__getitem__)

    def _is_told(self, node: fx.Node) -> bool:
        """Whether a node is a size that the residual tensor has."""
        return node.target is times_batch or (node.target is size and tells(self.start, node))

    def _told(self, node: fx.Node) -> fx.Node:
        h = self.values[self.start]
        if node.target is times_batch:
            axis, rows = self.start.meta["rows"]
            return self.graph.call_function(times_batch, (h, node.args[1], axis, rows))
        axis = self.start.meta["sizes"].index(node.meta["symbol"])
        return self.graph.call_function(size, (h, axis))


def tells(start: fx.Node, node: fx.Node) -> bool:
    """Whether a tensor has the size that a node of a graph with free sizes reads."""
    return node.meta["symbol"] in start.meta.get("sizes", ())


def broadcast(value: Tensor, *others: Tensor) -> Tensor:
    """`value` in the shape that it has beside the others."""
    return torch.broadcast_tensors(value, *others)[0]


class Parts:
    """Which operation belongs to which part, and what is carried from one to the next.

    Parts are numbered in the order in which they run: 0 is the stem, 2i − 1 what lies inside block
    i, 2i its `after`, 2N + 1 the head.
    """

    def __init__(self, graph: Trace, cuts: Sequence[Cut]) -> None:
        self.graph, self.cuts = graph, cuts
        self.last = 2 * len(cuts) + 1
        self.sums = _sums(cuts)
        self.needs = _needs(graph)
        self.place = self._places()
        self._move_what_sizes_decide()
        self._move_what_one_part_reads()
        self.carries = self._carries()

    def stem(self) -> nn.Module:
        """From the inputs to the first state."""
        part = Part(self.graph, self.start_of(0), ())
        return self._to_state(part, 0, self.cuts[0].start)

    def head(self) -> nn.Module:
        """From the last state to the logits."""
        part = Part(self.graph, self.start_of(self.last), self.carries[-1])
        return self._value(part, (self.graph.output,))

    def operand(self, number: int, ways: Ways, others: Ways) -> nn.Module:
        """One side of a block's sum, in the sum's shape where the other side gives it that."""
        cut, shapes = self.cuts[number - 1], self.graph.shapes
        whole = any(shapes[way] == shapes[cut.end] for way in ways)
        return self._value(self._inside(number), ways, () if whole else others)

    def total(self, number: int) -> nn.Module:
        """A block's sum as the network makes it."""
        return self._value(self._inside(number), (self.cuts[number - 1].end,))

    def after(self, number: int) -> nn.Module:
        """From a block's sum, and what its state carries, to the next state."""
        part = Part(self.graph, self.start_of(2 * number), self.carries[number - 1])
        return self._to_state(part, number, self.cuts[number - 1].after)

    def changes(self, number: int) -> tuple[str, ...]:
        """The carried values that a block adds or takes out."""
        before, behind = (set(self.carries[i]) for i in (number - 1, number))
        return tuple(sorted(node.name for node in before ^ behind))

    @property
    def beside(self) -> tuple[str, ...]:
        """The carried values that are computed from the source of the state."""
        carried = dict.fromkeys(node for nodes in self.carries for node in nodes)
        return tuple(node.name for node in carried if node in self.graph.data)

    def hands_on(self, number: int) -> set[int]:
        """The later blocks of whose state a block's `after` makes something, to be carried."""
        new = {self.cuts[number - 1].after, *self.carries[number]} - set(self.carries[number - 1])
        starts = {cut.start for cut in self.cuts} & new
        read = {start for start in starts if new & _readers(start)}
        return {i for i, cut in enumerate(self.cuts, start=1) if cut.start in read}

    def start_of(self, part: int) -> fx.Node:
        """The node whose value is the residual tensor where a part begins."""
        if part == 0:
            return self.graph.nodes[0]
        if part == self.last:
            return self.cuts[-1].after
        cut = self.cuts[(part - 1) // 2]
        return cut.start if part % 2 else cut.end

    def _inside(self, number: int) -> Part:
        return Part(self.graph, self.cuts[number - 1].start, self.carries[number - 1])

    def _value(self, part: Part, ends: Ways, beside: Ways = ()) -> nn.Module:
        if ends == (part.start,) and not beside and part.is_tensor:
            return nn.Identity()
        part.copy(ends + beside)
        total = part.sum_of(ends)
        if beside:
            whole = (total, *map(part.values.__getitem__, beside))
            total = part.graph.call_function(broadcast, whole)
        return part.module(total)

    def _to_state(self, part: Part, junction: int, h: fx.Node) -> nn.Module:
        before = self.carries[junction - 1] if junction else ()
        behind = self.carries[junction]
        if before == behind and h is part.start:
            return nn.Identity()
        made = tuple(node for node in behind if node not in before)
        part.copy((h, *made))
        output = part.values[h]
        if before or behind:
            new = {node.name: part.values[node] for node in made}
            gone = tuple(node.name for node in before if node not in behind)
            base = part.state if before else None
            output = part.graph.call_function(carry, (base, output, new, gone))
        return part.module(output)

    def _places(self) -> dict[fx.Node, int]:
        """The part of each operation that needs the values of an input, or is a tensor."""
        place: dict[fx.Node, int] = {}
        shared: set[fx.Node] = set()
        for numbers in self.sums:
            shared |= self._place_sum(numbers, place)
        before_head = ancestors(self.cuts[-1].after, self.graph.nodes[0])
        for node in self.graph.nodes:
            if node in place or node in shared or self._is_anywhere(node):
                continue
            at = max((place[a] for a in node.all_input_nodes if a in place), default=0)
            at = min(at + at % 2, self.last)  # behind a block, not inside it
            late = at == self.last - 1 and node not in before_head
            place[node] = self.last if late else at
        return place

    def _place_sum(self, numbers: Sequence[int], place: dict[fx.Node, int]) -> set[fx.Node]:
        """Fill in the parts of what lies inside the blocks of one sum.

        Returns what several of its branches read, each of which computes it for itself.
        """
        first, last = self.cuts[numbers[0] - 1], self.cuts[numbers[-1] - 1]
        inside = interior(self.graph, first.start, last.end)
        if len(numbers) == 1:
            place |= dict.fromkeys(inside, 2 * numbers[0] - 1)
            return set()
        readers: dict[fx.Node, set[int]] = {}
        for number in numbers:
            cut = self.cuts[number - 1]
            shortcut = behind(cut.shortcut, cut.start) if cut is first else set()
            for node in ({cut.end} | cut.ways | shortcut) & inside:
                readers.setdefault(node, set()).add(2 * number - 1)
        place |= {node: min(parts) for node, parts in readers.items() if len(parts) == 1}
        return {node for node, parts in readers.items() if len(parts) > 1}

    def _is_anywhere(self, node: fx.Node) -> bool:
        """Whether a value is computed anew in each part that reads it."""
        need = self.needs[node]
        number = need == "sizes" and self.graph.shapes.get(node) is None
        return need == "nothing" or number or node.op == "output"

    def _move_what_sizes_decide(self) -> None:
        """What sizes alone decide, such as positions, and one part alone reads is made there."""
        readers: dict[fx.Node, set[int]] = {}
        for node in reversed(self.graph.nodes):
            if self.needs[node] == "sizes" and node in self.place and len(readers[node]) == 1:
                self.place[node] = min(readers[node])
            at = {self.place[node]} if node in self.place else readers.get(node, {self.last})
            for read in node.all_input_nodes:
                readers.setdefault(read, set()).update(at)

    def _move_what_one_part_reads(self) -> None:
        """What one part alone makes of a value that several read is made there: the keys of an
        encoder's output for one block."""
        alone: dict[fx.Node, int] = {}
        for node in reversed(self.graph.nodes):
            readers = {alone.get(u, self.place.get(u, 0)) for u in node.users}
            if CONTEXT in node.meta and self.place.get(node) == 0 and len(readers) == 1:
                alone[node] = min(readers)
        moved: set[fx.Node] = set()
        for node in self.graph.nodes:
            given = [a for a in node.all_input_nodes if self.needs[a] == "values"]
            from_several = all(a in moved or a not in alone for a in given)
            if alone.get(node) and given and from_several and given[0].target is not checked:
                moved.add(node)
                self.place[node] = alone[node]

    def _carries(self) -> list[Ways]:
        """For each junction (before block 1, …, before the head) what the state carries there.

        What the stem makes is carried to the end, so that blocks that read it can change places.
        """
        last: dict[fx.Node, int] = {}
        for node, part in self.place.items():
            for read in self._reads(node, part):
                last[read] = max(part, last.get(read, 0))
        for number, cut in enumerate(self.cuts, start=1):  # a start that was made long before
            if cut.after is not cut.end and self.place[cut.after] != 2 * number:
                last[cut.after] = max(2 * number, last.get(cut.after, 0))
        nodes = [node for node in self.graph.nodes if node in last]
        return [
            tuple(
                n
                for n in nodes
                if self.place.get(n, 0) <= 2 * j and (2 * j < last[n] or not self.place.get(n, 0))
            )
            for j in range(len(self.cuts) + 1)
        ]

    def _reads(self, node: fx.Node, part: int) -> set[fx.Node]:
        """The values of other parts that an operation reads, but for the residual tensor."""
        found: set[fx.Node] = set()
        for read in node.all_input_nodes:
            if read is self.start_of(part) or read.target is times_batch:
                continue
            if read in self.place:
                found |= {read} if self.place[read] != part else set()
            elif read.target is size:
                found |= set() if part == 0 or tells(self.start_of(part), read) else {read}
            else:
                found |= self._reads(read, part)
        return found


def _sums(cuts: Sequence[Cut]) -> list[list[int]]:
    """The numbers of the cuts, those of one sum together."""
    found: list[list[int]] = []
    for number, cut in enumerate(cuts, start=1):
        before = cuts[number - 2] if number > 1 else None
        if before is not None and cut.origin is not None and cut.origin is before.origin:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def _readers(node: fx.Node) -> set[fx.Node]:
    """All that is computed from a node."""
    found, waiting = set[fx.Node](), [node]
    while waiting:
        new = set(waiting.pop().users) - found
        found |= new
        waiting += new
    return found


def _needs(graph: Trace) -> dict[fx.Node, str]:
    """What each node is computed from: values of an input, only sizes of one, or nothing."""
    found: dict[fx.Node, str] = {}
    for node in graph.nodes:
        needs = {found[argument] for argument in node.all_input_nodes}
        if node.target is times_batch:
            found[node] = "nothing"  # any tensor at hand tells it
        elif node.target is size:
            found[node] = "sizes"
        elif node.op == "placeholder" or "values" in needs:
            found[node] = "values"
        else:
            found[node] = "sizes" if "sizes" in needs else "nothing"
    return found
