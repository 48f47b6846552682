"""Results to one self-contained page: the answers, the figures, and how to get them again.

Nothing is measured here, and nothing but tables is read.
"""

from resnet_probe.report.folder import Made, write_report
from resnet_probe.report.page import block_cards
from resnet_probe.report.questions import (
    QUESTIONS,
    Question,
    Section,
    answers,
    question,
    sections,
)

__all__ = [
    "QUESTIONS",
    "Made",
    "Question",
    "Section",
    "answers",
    "block_cards",
    "question",
    "sections",
    "write_report",
]
