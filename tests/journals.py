"""A journal in memory, which can be interrupted, for the tests of studies that resume."""

from __future__ import annotations

import numpy as np


class Memory:
    """Keeps the steps of a study; raises `KeyboardInterrupt` after `stop` of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.steps: dict[str, dict[str, np.ndarray]] = {}
        self.stop = stop
        self.given: list[str] = []

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        found = self.steps.get(key)
        if found is None:
            return None
        self.given.append(key)
        return {name: value.copy() for name, value in found.items()}

    def put(self, key, arrays) -> None:
        self.steps[key] = {name: np.array(value) for name, value in arrays.items()}
        if self.stop is not None and len(self.steps) >= self.stop:
            self.stop = None
            raise KeyboardInterrupt
