"""The words of a judgement: one vocabulary for sentences, figures and the ledger of claims."""

from __future__ import annotations

HOLDS, FAILS, UNDECIDED, NOT_HERE = "holds", "fails", "undecided", "not testable here"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_HERE)
"""The last is the verdict of a claim that the results at hand cannot test."""
