"""Tracers of torch.fx: a fast one, and one that answers every question about a shape."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.graph import inplace_methods
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from resnet_probe.discover.functional import with_item

# Answers that are the same for every size of the images.
SIZELESS = {"dim", "ndimension", "is_floating_point", "is_complex", "type", "get_device"}
TRANSFORMERS = (
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoder,
    nn.TransformerDecoderLayer,
)
Shape = tuple[int, ...]


def is_patched(module: nn.Module) -> bool:
    """Whether a method of a module's class has been replaced in this one module."""
    own = vars(module).items()
    return any(callable(value) and callable(getattr(type(module), key, None)) for key, value in own)


class WritingProxy(fx.Proxy):
    """A traced tensor for which `h += x` is an operation that writes, as it is for a tensor.

    fx's own notes it as `h = h + x`, and loses that whoever else holds `h` sees the sum.
    """


def _augmented(name: str) -> Callable[[WritingProxy, Any], Any]:
    function = getattr(operator, name)
    return lambda h, x: h.tracer.create_proxy("call_function", function, (h, x), {})


for _name in sorted(inplace_methods.keys() - {"setitem"}):
    setattr(WritingProxy, f"__{_name}__", _augmented(_name))


class NamingTracer(fx.Tracer):
    """Gives the graph of `fx.Tracer` with what writes, in time linear in the number of parameters.

    fx goes through all parameters of the model for each one that a forward pass reads: quadratic,
    and for a transformer of some hundred tensors most of the time of its trace.
    """

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Modules of `torch.nn`, but for those that hold residual blocks, or do something else
        than their class says."""
        is_leaf = super().is_leaf_module(m, module_qualified_name)
        return is_leaf and not isinstance(m, TRANSFORMERS) and not is_patched(m)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """The inputs of `forward`: of a `forward` of this one network's own, which fx passes over,
        one alone."""
        own = vars(self.root).get("forward")
        if own is None:
            return super().create_args_for_root(root_fn, is_module, concrete_args)
        images = self.create_proxy("placeholder", "images", (), {})
        return lambda _, *given: own(*given), [self.root, images]

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """`layer(input=x)` is `layer(x)`."""
        if not args and len(kwargs) == 1:
            args, kwargs = tuple(kwargs.values()), {}
        return super().call_module(m, forward, args, kwargs)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return WritingProxy(node, self)

    @cached_property
    def names(self) -> dict[int, str]:
        """The first name of each parameter and buffer of the root, by identity."""
        found: dict[int, str] = {}
        for name, tensor in chain(self.root.named_parameters(), self.root.named_buffers()):
            found.setdefault(id(tensor), name)
        return found

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        name = self.names.get(id(attr_val)) if isinstance(attr_val, nn.Parameter) else None
        if name is None:
            return super().getattr(attr, attr_val, parameter_proxy_cache)
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {})
        return parameter_proxy_cache[name]

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, np.generic):  # which would be written as numpy's into the code of a graph
            a = a.item()
        name = self.names.get(id(a)) if isinstance(a, Tensor) else None
        return super().create_arg(a) if name is None else self.create_node("get_attr", name, (), {})


class SeenProxy(WritingProxy):
    """A traced tensor that knows its shape, dtype and device (`known`), and nothing else."""

    def __init__(self, node: fx.Node, tracer: SeeingTracer, known: Any) -> None:
        super().__init__(node, tracer)
        self.known = known

    def __getattr__(self, name: str) -> Any:
        tracer: SeeingTracer = self.tracer  # type: ignore[assignment]
        value = getattr(self.known, name)
        if isinstance(value, Tensor):
            return tracer.create_proxy("call_function", getattr, (self, name), {})
        if callable(value):
            return lambda *args, **kwargs: tracer.create_proxy(
                "call_method", name, (self, *args), kwargs
            )
        tracer.read_sizes |= name == "shape"
        return value

    def __setitem__(self, index: Any, value: Any) -> None:
        """Who reads this tensor from now on reads the one with these entries replaced."""
        arguments = (self, index, value)
        changed = self.tracer.create_proxy("call_function", with_item, arguments, {})
        self.node, self.known = changed.node, changed.known

    def __len__(self) -> int:
        self.tracer.read_sizes = True  # type: ignore[attr-defined]
        return len(self.known)

    def __iter__(self) -> Iterator[Any]:
        return iter([operator.getitem(self, i) for i in range(len(self))])


class SeeingTracer(NamingTracer):
    """Runs a shadow without data beside the trace, on a batch of `batch` examples.

    What comes out as a tensor is traced; a size, a dtype or a truth value about them is a plain
    Python value from then on.  A question about data still ends the trace.
    """

    def __init__(self, example: Tensor, batch: int) -> None:
        super().__init__()
        self.example, self.batch = example, batch
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.shapes: dict[fx.Node, Shape] = {}
        self.read_sizes = False
        self._shadowing = False
        self._alike: dict[Any, Any] = {}

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """The images; every other argument of `forward` keeps its default."""
        with self.mode:
            shape = (self.batch, *self.example.shape[1:])
            known = torch.empty(shape, dtype=self.example.dtype, device=self.example.device)
        node = self.create_node("placeholder", "images", (), {})
        own = vars(self.root).get("forward")
        forward = root_fn if own is None else lambda _, *given: own(*given)
        return forward, [self.root, self._traced(node, known)]

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *_: Any, **__: Any
    ) -> Any:
        known = self._shadow(kind, target, args, kwargs)
        if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(known)) and kind != "output":
            self.read_sizes |= target not in SIZELESS
            return known
        given: Any = self.create_arg(args), self.create_arg(kwargs)
        node = self.create_node(kind, target, *given)
        return self._traced(node, known)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        if self._shadowing:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._shadowing:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def _traced(self, node: fx.Node, known: Any) -> SeenProxy:
        if isinstance(known, Tensor):
            self.shapes[node] = tuple(known.shape)
        return SeenProxy(node, self, known)

    def _shadow(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = _known(args), _known(kwargs)
        self._shadowing = True
        try:
            with self.mode, torch.no_grad():
                if kind == "get_attr":
                    value = _attribute(self.root, target)
                    # Of a parameter the shape is enough, and nothing may be written into it.
                    is_weight = isinstance(value, nn.Parameter)
                    return self.mode.from_tensor(value) if is_weight else value
                if kind == "call_module":
                    module = self.root.get_submodule(target)
                    return self._run(_kind(module), module, args, kwargs)
                if kind == "call_method":
                    method = getattr(args[0], target)
                    writes = target.endswith("_")  # to be done to this tensor
                    of = None if writes else (kind, target)
                    return self._run(of, lambda _, *a, **k: method(*a, **k), args, kwargs)
                if kind == "call_function":
                    return self._run((kind, target), target, args, kwargs)
        finally:
            self._shadowing = False
        return args

    def _run(self, of: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What a call gives; a like one of tensors without data has given the same before."""
        leaves, tree = tree_flatten((args, kwargs))
        given = [_form(leaf) for leaf in leaves]
        key = (of, tree, *given)
        if of is None or None in given or not _is_hashable(key):
            return call(*args, **kwargs)
        if key not in self._alike:
            found = call(*args, **kwargs)
            self._alike[key] = _apart(found)
            return found
        return _apart(self._alike[key])


def _apart(known: Any) -> Any:
    """The same shapes in tensors of their own, which may be changed."""
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, known)


def _form(leaf: Any) -> Any:
    """All that a shadow depends on; None for a tensor with data."""
    if isinstance(leaf, FakeTensor):
        return leaf.shape, leaf.stride(), leaf.dtype, leaf.device
    return None if isinstance(leaf, Tensor) else (type(leaf), leaf)


def _kind(module: nn.Module) -> Any:
    """The same of two of torch's modules that do the same with another's weights; else None."""
    if any(True for _ in module.children()):
        return None
    weights = ((name, p.shape, p.dtype) for name, p in module.named_parameters())
    return (type(module), module.extra_repr(), module.training, *weights)


def _is_hashable(key: Any) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def _known(value: Any) -> Any:
    if isinstance(value, slice):
        return slice(_known(value.start), _known(value.stop), _known(value.step))
    return tree_map(lambda leaf: leaf.known if isinstance(leaf, SeenProxy) else leaf, value)


def _attribute(root: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(root.get_submodule(owner), name)
