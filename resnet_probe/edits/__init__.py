"""What is done to a chain: edits as values, their text, their programs, and random draws of them.

Nothing here imports torch before an edit is drawn or run.
"""

from resnet_probe.edits.draws import (
    draw_numbers,
    draw_order,
    draw_swaps,
    generator_for,
    inversions_at,
    kendall_tau,
)
from resnet_probe.edits.edit import Edit
from resnet_probe.edits.given import given, read
from resnet_probe.edits.text import GRAMMAR, VALUES, Change

__all__ = [
    "GRAMMAR",
    "VALUES",
    "Change",
    "Edit",
    "draw_numbers",
    "draw_order",
    "draw_swaps",
    "generator_for",
    "given",
    "inversions_at",
    "kendall_tau",
    "read",
]
