"""The one tensor among a model's outputs that is called its logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from torch import Tensor, fx

from resnet_probe.errors import ProbeError

USUAL = ("logits", "out")
"""What the logits are called where nobody says which output they are."""


@dataclass(frozen=True)
class Pick:
    """Takes `path` (`"1"`, `"logits"`, `"aux.0"`) out of what the model `name` returns.

    Without a path it is the output itself, else the one called `logits`, else the only tensor, else
    the one called `out`.  Works on values and on what a graph holds in their place.  Raises
    `ProbeError` if there is no such output, or it is not one tensor.
    """

    name: str
    path: str | None = None

    def __call__(self, value: Any) -> Any:
        for key in self.path.split(".") if self.path is not None else ():
            entries = _entries(value)
            if key not in entries:
                raise ProbeError(f"{self.name} has no output {self.path!r}: {_offer(value)}")
            value = entries[key]
        if _is_one(value):
            return value
        usual = None if self.path is not None else _usual(value)
        if usual is not None:
            return _entries(value)[usual]
        raise ProbeError(
            f"{self.name} does not return one tensor, which a chain needs as its logits: "
            f"{_offer(value)}"
        )

    def settled(self, value: Any) -> Pick:
        """With the path that it takes out of such a value, where one is needed and none given."""
        return (
            self if self.path is not None or _is_one(value) else replace(self, path=_usual(value))
        )


def _is_one(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, fx.Node) and not _entries(value))


def _usual(value: Any) -> str | None:
    tensors = {key: entry for key, entry in _entries(value).items() if _is_one(entry)}
    single = len({id(entry) for entry in tensors.values()}) == 1
    names = (USUAL[0], *(list(tensors)[:1] if single else ()), USUAL[1])
    return next((name for name in names if name in tensors), None)


def _entries(value: Any) -> dict[str, Any]:
    """What an output holds, by the texts that name it."""
    if isinstance(value, Mapping):
        return {str(key): entry for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        named = dict(zip(value._fields, value, strict=True))
        return named | {str(i): entry for i, entry in enumerate(value)}
    if isinstance(value, tuple | list):
        return {str(i): entry for i, entry in enumerate(value)}
    if isinstance(value, fx.Node):
        return _built(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    plain = value is not None and not isinstance(value, Tensor | type | str | int | float)
    return dict(getattr(value, "__dict__", {})) if plain else {}


def _built(node: fx.Node) -> dict[str, Any]:
    """What a call of a named tuple's or a dataclass's type puts into it."""
    if not isinstance(node.target, type):
        return {}
    if hasattr(node.target, "_fields"):
        named = dict(zip(node.target._fields, node.args, strict=True))
        return named | {str(i): entry for i, entry in enumerate(node.args)}
    return dict(node.kwargs) if is_dataclass(node.target) else {}


def _offer(value: Any) -> str:
    entries = _entries(value)
    if not entries:
        return f"it returns a {type(value).__name__}"
    kind = "a dictionary" if isinstance(value, Mapping) else f"{len(entries)} outputs"
    return f"it returns {kind}; choose one with output=: {', '.join(entries)}"
