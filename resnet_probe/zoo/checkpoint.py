"""Weights from a file, other projects' files among them, and whether they fit a network.

Published checkpoints are pickles, wrapped in dictionaries and prefixed by the wrapper they were
trained in. Loaded carelessly they run code, or load in part and leave a network that guesses.
Here a file is what its content says, whatever it is called; nothing in a pickle but tensors and
plain values is made, and a load is complete or refused.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from resnet_probe.data.files import is_folder, refuse_other_kinds, regular, said, text_of
from resnet_probe.errors import ProbeError
from resnet_probe.zoo.fitting import difference, fits, is_weight

PREFIXES = ("module.", "_orig_mod.", "model.")
BESIDE = re.compile(r"optim|sched|scaler|callback|loops|amp$|config|args|hparams|hyper", re.I)
"""Entries of a checkpoint that hold no weights of a network."""
DEPTH = 4
"""How many entries deep weights are looked for."""
FOLDER = (
    "model.safetensors.index.json", "model.safetensors",
    "pytorch_model.bin.index.json", "pytorch_model.bin",
)  # fmt: skip
"""What weights are called in a folder that `save_pretrained` of transformers wrote."""
PICKLED = (b"PK\x03\x04", b"\x80")
"""How a file of `torch.save` begins: a zip archive, and before torch 1.6 a bare pickle."""
FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
WHOLE = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
EXPANDED = 2**20
"""Numbers beyond which a tensor that repeats a few of them is refused, not written out."""
HARMLESS = {
    "argparse", "collections", "datetime", "decimal", "enum", "fractions", "pathlib", "types",
    "typing", "uuid", "__main__",
}  # fmt: skip
"""Modules of Python's own whose objects stand in checkpoints as settings."""
PLAIN = {"bool", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set",
         "slice", "str", "tuple", "type"}  # fmt: skip
"""Of `builtins`, what is no function."""


def read(
    path: str | Path, *, key: str | None = None, names: Collection[str] | None = None
) -> dict[str, Tensor]:
    """The named tensors in a file, on the CPU: of `torch.save` or safetensors, in one or in parts.

    Parts are given by their index (`….index.json`) or their folder.  Of several tables of weights
    in a file, such as `state_dict` and `state_dict_ema`, the one called `key`; without it the one
    that holds all of `names`, those of a network.  Prefixes of wrappers (`module.`, `_orig_mod.`,
    `model.`, or any that `names` show) are left out.

    Raises `ProbeError` for a file that is missing, empty, truncated, of another kind, that asks to
    run code, that holds no weights or several sets of them, and for numbers that are not finite or
    of a type that no network computes with.
    """
    path = _found(Path(path))
    tables = {name: _named(table, names) for name, table in _tables(_content(path), path).items()}
    if names is not None:
        wrapped = {f"{at}.{prefix}".strip("."): table for at, state in tables.items()
                   for prefix, table in _wrapped(state, names)}  # fmt: skip
        tables = {**tables, **wrapped} if key is not None else wrapped or tables
    state = _chosen(tables, path, key)
    for name, value in state.items():
        _check(name, value, path)
    return state


def load_into(model: nn.Module, state: Mapping[str, Tensor], *, arch: str, path: Any) -> None:
    """Copy all of `state` into `model`, whose architecture is called `arch`.

    Nothing is copied unless every name and shape agrees, and floats are there where floats are
    expected; batch norm's counters of batches, which older files lack and inference ignores, are
    left out of the comparison, and lazy layers take the file's shapes. Raises `ProbeError` with the
    names that differ and the architectures that `path` does fit.
    """
    from torch.nn.parameter import is_lazy

    own = model.state_dict()
    found = {name: tuple(value.shape) for name, value in state.items()}
    expected = {
        name: found.get(name, ()) if is_lazy(value) else tuple(value.shape)
        for name, value in own.items()
    }
    differs = difference(expected, found)
    if differs:
        known = " or ".join(str(fit) for fit in fits(state)) or "no architecture known here"
        raise ProbeError(f"{path} does not fit {arch}: {differs}; its shapes fit {known}")
    for name, value in state.items():
        if name in own and value.is_floating_point() != own[name].is_floating_point():
            raise ProbeError(
                f"{name} in {path} is {value.dtype} where {arch} has {own[name].dtype}: nothing is "
                "cast from one kind of number to another"
            )
    # Of absent counters, and only of those, batch norm keeps its own.
    model.load_state_dict({name: value for name, value in state.items() if name in expected})


def identify(state: Mapping[str, Tensor]) -> list[str]:
    """The architectures, by name, whose tensors have these names and shapes.

    The number of classes may be any. Several can fit: a plain network has the parameters of the
    residual one whose shortcuts have none.
    """
    return [fit.arch for fit in fits(state)]


def classes_of(state: Mapping[str, Tensor], arch: str) -> int | None:
    """How many classes the head in `state` has if it fits `arch`, else None."""
    return next((fit.classes for fit in fits(state, [arch])), None)


# ---- from a path to what the file holds


def _found(path: Path) -> Path:
    """The file of weights: itself, the one in a folder, or the one in the cache of torch.hub."""
    path = path.expanduser()
    if is_folder(path):
        there = [path / name for name in FOLDER if (path / name).is_file()]
        there = there[:1] or sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))
        if len(there) != 1:
            what = ", ".join(each.name for each in there) or "none of them"
            raise ProbeError(
                f"{path} is a folder: it may hold {', '.join(FOLDER)} or one other file of "
                f"weights, and holds {what}"
            )
        return there[0]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / path
    alone = len(path.parts) == 1 and not os.path.lexists(path)
    return cached if alone and cached.is_file() else path


def _content(path: Path) -> Any:
    head = refuse_other_kinds(regular(path, what="weights"))
    if path.name.endswith(".index.json"):
        return _parts(path)
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return _safetensors(path)
    if not head.startswith(PICKLED):
        raise ProbeError(f"{path} is truncated, or not a file that torch.save wrote")
    return _pickle(path)


def _parts(path: Path) -> dict[str, Tensor]:
    """All tensors that an index names, each from the file that it says."""
    try:
        files = json.loads(text_of(path, what="an index of weights"))["weight_map"]
        by_file = {name: [key for key in files if files[key] == name] for name in files.values()}
        beside = all(Path(name).name == name for name in by_file)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProbeError(f"{path} is no index of weights ({said(error)})") from error
    if not beside:
        raise ProbeError(f"{path} names files that do not lie beside it")
    found: dict[str, Tensor] = {}
    for name, keys in by_file.items():
        part = _content(path.with_name(name))
        missing = [key for key in keys if not isinstance(part, Mapping) or key not in part]
        if missing:
            raise ProbeError(f"{path} says that {name} holds {missing[0]}, and it does not")
        found |= {key: part[key] for key in keys}
    return found


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # of its own kind, or of torch for a type it does not know
        raise ProbeError(
            f"{path} is truncated or not a safetensors file ({said(error)})"
        ) from error


def _pickle(path: Path) -> Any:
    """What a pickle holds, if that is tensors, plain values, and settings, which are not made."""
    absent: dict[str, type] = {}
    while True:
        try:
            with (
                warnings.catch_warnings(),
                torch.serialization.safe_globals([(made, name) for name, made in absent.items()]),
            ):
                # Another pickle protocol is refused below; of sparse tensors, all are.
                warnings.filterwarnings("ignore")
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if not _stood_in(absent, str(error)):
                raise ProbeError(_refusal(path, _asked(str(error)))) from error
        except Exception as error:  # a damaged pickle can fail in any way
            kind = "TorchScript" in str(error)
            what = ("is a TorchScript archive: save the state_dict() of the eager model instead"
                    if kind else "is truncated, or not a file that torch.save wrote")  # fmt: skip
            raise ProbeError(f"{path} {what}") from error


def _stood_in(absent: dict[str, type], error: str) -> bool:
    """Adds a stand-in for what torch did not want to make, where that is only kept, not run."""
    filled = re.search(r"Can only SETITEMS? .*got <class 'absent\.(\w+)'>", error)
    last = filled[1] if filled else ""
    for name in absent if last else ():
        if name.endswith(f".{last}") and issubclass(absent[name], _Absent):
            absent[name] = type(last, (_AbsentTable,), {"__module__": "absent"})
            return True
    name = _asked(error)
    if not name or name in absent or _runs(name):
        return False
    absent[name] = type(name.rpartition(".")[2], (_Absent,), {"__module__": "absent"})
    return True


def _asked(error: str) -> str:
    """The full name of what a pickle asks for, empty where that is not the trouble."""
    found = re.search(r"GLOBAL:? ([\w.]+)", error)
    name = found[1] if found else ""
    return name if not name or "." in name else f"builtins.{name}"


def _refusal(path: Path, name: str) -> str:
    what = f"asks to run {name}" if name else "holds more than tensors"
    return (
        f"{path} {what}, and a pickle that may run code is refused: have its tensors saved again, "
        "by torch.save(model.state_dict(), FILE) or as .safetensors"
    )


def _runs(name: str) -> bool:
    """Whether what a pickle asks for may be more than an object that keeps settings."""
    module, _, last = name.rpartition(".")
    root = module.partition(".")[0]
    if module == "builtins":
        return last not in PLAIN
    return root in sys.stdlib_module_names and root not in HARMLESS


class _Absent(list[Any]):
    """Stands where a pickle has an object of another library; nothing of that library is run."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None: ...

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)  # it may be a key


class _AbsentTable:
    """The same for dictionaries of other libraries, whose entries may be weights."""

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()


# ---- from what it holds to one table of tensors


def _tables(found: Any, path: Path) -> dict[str, dict[str, Tensor]]:
    """Every table of named tensors, by the entries that lead to it; "" is the whole."""
    tables = dict(_walk(found, [], set(), path))
    if tables:
        return tables
    entries = [found, *found.values()] if isinstance(found, Mapping) else [found]
    absent = next((each for each in entries if isinstance(each, _Absent)), None)
    if absent is not None:
        raise ProbeError(
            f"{path} holds no named tensors but an object of the class {type(absent).__name__}: "
            "save its weights alone, by torch.save(model.state_dict(), FILE)"
        )
    raise ProbeError(f"{path} holds no named tensors but {_kind(found)}")


def _walk(
    found: Any, at: list[tuple[str, int]], seen: set[int], path: Path
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """`at` are the entries that lead here, with the dictionaries that they are entries of."""
    name = ".".join(key for key, _ in at)
    if any(id(found) == above for _, above in at):
        raise ProbeError(f"{path} holds itself: its entry {name!r} is one of those that lead there")
    if not isinstance(found, Mapping) or id(found) in seen or len(at) > DEPTH:
        return
    seen.add(id(found))
    tensors = {key: value for key, value in found.items() if isinstance(value, Tensor)}
    inner = [
        each
        for key, value in found.items()
        if isinstance(key, str) and not BESIDE.search(key)
        for each in _walk(value, [*at, (key, id(found))], seen, path)
    ]
    # A tensor beside whole tables is a counter or a loss, not a table of its own.
    if tensors and all(isinstance(key, str) for key in tensors) and not inner:
        yield name, tensors
    yield from inner


def _named(table: dict[str, Tensor], names: Collection[str] | None) -> dict[str, Tensor]:
    """The same tensors without the prefixes of wrappers that all names carry."""
    for prefix in PREFIXES * 2:
        if names is not None and _holds(table, names):
            break
        if all(key.startswith(prefix) for key in table):
            table = {key.removeprefix(prefix): value for key, value in table.items()}
    return table


def _wrapped(
    state: dict[str, Tensor], names: Collection[str]
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(prefix, tensors behind it) for each prefix behind which all of `names` are."""
    if _holds(state, names):
        yield "", state
        return
    some = min((name for name in names if is_weight(name)), key=len, default="")
    for key in [key for key in state if some and key.endswith(f".{some}")]:
        prefix = key.removesuffix(some)
        table = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if _holds(table, names):
            yield prefix.removesuffix("."), table


def _holds(table: Mapping[str, Tensor], names: Collection[str]) -> bool:
    return all(name in table for name in names if is_weight(name))


def _chosen(
    tables: Mapping[str, dict[str, Tensor]], path: Path, key: str | None
) -> dict[str, Tensor]:
    called = ", ".join(name or "the whole file" for name in sorted(tables, key=len))
    if key is not None:
        if key not in tables:
            raise ProbeError(f"{path} has no weights called weights_key={key!r}: it has {called}")
        return tables[key]
    if len(tables) > 1:
        raise ProbeError(
            f"{path} holds {len(tables)} sets of weights ({called}): choose one with weights_key="
        )
    return next(iter(tables.values()))


def _check(name: str, value: Tensor, path: Path) -> None:
    """Raises `ProbeError` for a tensor that is not a dense one of finite numbers."""
    tests: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: value.is_nested, "a nested tensor"),
        (lambda: value.layout != torch.strided, f"a sparse tensor ({value.layout})"),
        (lambda: value.is_quantized, f"quantized ({value.dtype})"),
        (lambda: value.is_meta, "on the meta device, without numbers"),
        (lambda: value.dtype not in FLOATS | WHOLE, f"{value.dtype}"),
        (lambda: value.numel() > EXPANDED and value.numel() * value.element_size()
         > value.untyped_storage().nbytes(), f"{value.numel():,} repetitions of a few numbers"),
    )  # fmt: skip
    kind = next((kind for is_so, kind in tests if is_so()), None)
    if kind is not None:
        raise ProbeError(
            f"{name} in {path} is {kind}: expected dense floats, or whole numbers for counters"
        )
    if not value.isfinite().all():
        raise ProbeError(f"{name} in {path} is not finite: the training had diverged")


def _kind(found: Any) -> str:
    """What was found instead of weights, with the first entries of a dictionary."""
    if not isinstance(found, Mapping) or not found:
        return type(found).__name__
    entries = [f"{key!r} ({type(value).__name__})" for key, value in list(found.items())[:3]]
    return f"{type(found).__name__} of {', '.join(entries)}"
