"""What the classes of a network may be called, and files that say so."""

from __future__ import annotations

import difflib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_probe.errors import ProbeError

WORDNET_ID = re.compile(r"n\d{8}")
Indices = defaultdict[str, set[int]]


@dataclass
class ClassMap:
    """The numbers of the classes of each name; `source` says where that is from."""

    source: str
    exact: Indices = field(default_factory=lambda: defaultdict(set))
    loose: Indices = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, names: Iterable[tuple[str, int]], source: str) -> ClassMap:
        """From (name, class) pairs; a class may have several names."""
        made = cls(source)
        for name, index in names:
            made.exact[name].add(index)
            made.loose[_plain(name)].add(index)
        return made

    def classes(self, folder: str) -> set[int]:
        """The classes that a folder may mean: by its name, else but for case, blanks and `_`."""
        return self.exact.get(folder) or self.loose.get(_plain(folder)) or set()

    def near(self, folder: str) -> list[str]:
        """The names most like it."""
        exact = difflib.get_close_matches(folder, self.exact, n=2)
        return exact or difflib.get_close_matches(_plain(folder), self.loose, n=2)


def read(path: Path) -> ClassMap:
    """The classes in a file.

    Text or CSV: a line a class, in the network's order, or lines of a name and its number; JSON:
    `{"name": 3}`, `{"3": "name"}`, `{"3": ["n01440764", "tench"]}` or a list in order.

    Raises `ProbeError` for a file that is missing or holds none of these.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8")
        pairs = _from_json(json.loads(text)) if path.suffix == ".json" else _from_lines(text)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ProbeError(f"{path} cannot be read as a class map ({error})") from error
    if not pairs:
        raise ProbeError(f"{path} names no classes")
    return ClassMap.of(pairs, path.name)


def _from_json(found: Any) -> list[tuple[str, int]]:
    if isinstance(found, list):
        found = dict(enumerate(found))
    if not isinstance(found, Mapping):
        raise ValueError("neither an object nor a list")
    pairs: list[tuple[str, int]] = []
    for key, value in found.items():
        if isinstance(value, int):
            pairs.append((str(key), value))
        else:
            called = [value] if isinstance(value, str) else list(value)
            pairs += [(str(name), int(key)) for name in called]
    return pairs


def _from_lines(text: str) -> list[tuple[str, int]]:
    lines = [line.strip() for line in text.strip().splitlines()]
    numbered = [re.fullmatch(r"(.+?)[,;\s]+(\d+)", line) for line in lines]
    if all(numbered):
        return [(match[1], int(match[2])) for match in numbered if match]
    pairs = []
    for index, line in enumerate(lines):
        if not line:
            raise ValueError(f"line {index + 1} is empty")
        first, *rest = line.split(maxsplit=1)
        wordnet = WORDNET_ID.fullmatch(first) is not None
        names = [first, *rest] if wordnet else [line]
        aliases = [part.strip() for name in names for part in name.split(",")]
        pairs += [(alias, index) for alias in dict.fromkeys([*names, *aliases]) if alias]
    return pairs


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
