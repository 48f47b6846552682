"""What runs through a chain: inputs on the way in, and from block to block a state.

A state is the residual tensor `h` alone, or a `State`: `h` and the values that it carries, made by
the stem or a block and read by later ones (masks, rotary tables, long skips, sizes).  The functions
here work on both, so that whoever runs a chain need not ask which it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, overload

import torch
from torch import Tensor

from resnet_probe.errors import ProbeError


@dataclass(frozen=True, eq=False)
class State:
    """The residual tensor `h` `[n, …]`, and what it carries, by name: tensors, and sizes as int."""

    h: Tensor
    carried: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.h)

    def map(self, make: Callable[[Tensor], Tensor]) -> State:
        """The same state of other tensors: `make` of `h` and of each tensor that it carries."""
        kept = {k: make(v) if isinstance(v, Tensor) else v for k, v in self.carried.items()}
        return State(make(self.h), kept)


AnyState: TypeAlias = Tensor | State


def residual(state: AnyState) -> Tensor:
    """The residual tensor of a state."""
    return state.h if isinstance(state, State) else state


def with_residual(state: AnyState, h: Tensor) -> AnyState:
    """The state with another residual tensor, carrying what it carried."""
    return State(h, state.carried) if isinstance(state, State) else h


def carried(state: AnyState, name: str) -> Any:
    """What a state carries under a name; `ProbeError` where that has not been made."""
    values = state.carried if isinstance(state, State) else {}
    if name not in values:
        raise ProbeError(
            f"the value {name}, which is carried beside the state, is not there: a block can only "
            "be moved among blocks that carry the same values"
        )
    return values[name]


def carry(
    state: AnyState | None, h: Tensor, made: Mapping[str, Any], dropped: tuple[str, ...]
) -> AnyState:
    """The state `h` with what `state` carried and what was `made`, without what is `dropped`."""
    before = state.carried if isinstance(state, State) else {}
    kept = {k: v for k, v in before.items() if k not in dropped} | dict(made)
    return State(h, kept) if kept else h


def tensors_of(state: AnyState) -> tuple[Tensor, ...]:
    """`h`, then the tensors that it carries."""
    if not isinstance(state, State):
        return (state,)
    return (state.h, *(v for v in state.carried.values() if isinstance(v, Tensor)))


def detached(state: AnyState) -> AnyState:
    """The same state, without what leads back from it."""
    return state.detach() if isinstance(state, Tensor) else state.map(Tensor.detach)


def watched(state: AnyState) -> AnyState:
    """The same state, to whose numbers gradients lead back, and no further."""
    found = detached(state)
    for tensor in tensors_of(found):
        if tensor.is_floating_point():
            tensor.requires_grad_()
    return found


def bytes_of(state: AnyState) -> int:
    """The memory of a state, what it carries counted with it; shared memory counts once."""
    held = {(t.data_ptr(), t.shape): t.nbytes for t in tensors_of(state)}
    return sum(held.values())


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a network takes where that is not one tensor: several `[n, …]`, by name or place.

    Stands in for the one tensor of images wherever that is only measured, sliced along its first
    axis and moved.
    """

    values: Mapping[str, Tensor]

    @classmethod
    def of(cls, given: Any) -> Inputs:
        """From a dictionary, or from a tuple or list of tensors (named by their places)."""
        if isinstance(given, Inputs):
            return given
        if isinstance(given, Tensor):
            given = (given,)
        if isinstance(given, tuple | list):
            given = {str(place): value for place, value in enumerate(given)}
        if not isinstance(given, Mapping) or not given:
            raise ProbeError(
                f"inputs are a tensor, a tuple of tensors or a dictionary of them, not a "
                f"{type(given).__name__}"
            )
        for name, value in given.items():
            if not isinstance(value, Tensor):
                raise ProbeError(f"the input {name} is a {type(value).__name__}, not a tensor")
        return cls(dict(given))

    @property
    def first(self) -> Tensor:
        return next(iter(self.values.values()))

    @property
    def shape(self) -> torch.Size:
        """That of the first tensor."""
        return self.first.shape

    @property
    def device(self) -> torch.device:
        return self.first.device

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in self.values.values())

    def __len__(self) -> int:
        return len(self.first)

    @overload
    def __getitem__(self, which: str) -> Tensor: ...
    @overload
    def __getitem__(self, which: slice) -> Inputs: ...
    def __getitem__(self, which: str | slice) -> Tensor | Inputs:
        """One of the tensors by its name, or a range of rows of all of them."""
        if isinstance(which, str):
            return self.values[which]
        return self.map(lambda value: value[which])

    def map(self, make: Callable[[Tensor], Tensor]) -> Inputs:
        return Inputs({name: make(value) for name, value in self.values.items()})

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Inputs:
        """On that device; `dtype` concerns what is floating-point, never token ids or masks."""

        def moved(value: Tensor) -> Tensor:
            return value.to(device, dtype if value.is_floating_point() else None)

        return self.map(moved)

    def clone(self) -> Inputs:
        return self.map(Tensor.clone)

    def split(self, size: int) -> tuple[Inputs, ...]:
        """Rows in order, at most `size` at once."""
        return tuple(self[start : start + size] for start in range(0, len(self), size))

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)


def in_two_rows(given: Inputs) -> Inputs:
    """An example of one row as two: a size of 1 would be frozen by an exporter without a word."""
    return given.map(lambda v: torch.cat([v, v]) if v.dim() and len(v) == 1 else v)


InputForm: TypeAlias = tuple[str, torch.dtype, tuple[int | str, ...]]
"""Of one input its name, type and shape: a number is fixed, a letter free but equal wherever it
stands again."""


def checked(
    given: Any, name: str, forms: tuple[InputForm, ...], most: Mapping[str, int]
) -> tuple[Tensor, ...]:
    """The tensors of these forms out of what a chain was called with.

    `most` is the largest value of the free sizes that have one (a table of positions ends).

    Raises `ProbeError` where one is missing or more, of another type or of another shape.
    """
    values = Inputs.of(given).values
    if list(values) == [str(place) for place in range(len(values))]:  # by their places
        more = len(forms) != len(values)
        values = dict(zip((form[0] for form in forms), values.values(), strict=False))
    else:
        more = set(values) != {form[0] for form in forms}
    if more:
        wanted = ", ".join(form[0] for form in forms)
        raise ProbeError(f"{name} was cut for the inputs {wanted}, and got {_named(given)}")
    rows = {len(values[key]) for key, _, shape in forms if shape and isinstance(shape[0], str)}
    if len(rows) > 1:
        raise ProbeError(f"the inputs of {name} have different numbers of rows: {sorted(rows)}")
    sizes: dict[str, int] = {}
    for key, dtype, shape in forms:
        _check(name, key, values[key], dtype, shape, sizes)
    for size, limit in most.items():
        if sizes.get(size, 0) > limit:
            raise ProbeError(f"inputs of length {sizes[size]}: {name} takes at most {limit}")
    return tuple(values[key] for key, _, _ in forms)


def _check(
    name: str, key: str, value: Tensor, dtype: torch.dtype, shape: tuple[int | str, ...],
    sizes: dict[str, int],
) -> None:  # fmt: skip
    fits = value.dim() == len(shape) and all(
        size == (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted)
        for size, wanted in zip(value.shape, shape, strict=True)
    )
    kinds = (value.dtype.is_floating_point, dtype.is_floating_point)
    if not fits or (value.dtype != dtype and kinds != (True, True)):
        was = "×".join(f"{w}={sizes[w]}" if w in sizes else str(w) for w in shape)
        found = "×".join(map(str, value.shape))
        raise ProbeError(
            f"the input {key} of {name} has the shape {found} and the type {_short(value.dtype)}: "
            f"its chain was cut for {was} and {_short(dtype)} (letters are free sizes)"
        )


def _named(given: Any) -> str:
    if isinstance(given, Tensor):
        return "one tensor"
    return ", ".join(Inputs.of(given).values)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
