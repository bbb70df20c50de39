"""What the log itself says is wrong: problems that were opened and not closed.

Pure: facts in, lines out. Must not: read the log.
"""

from __future__ import annotations

from collections.abc import Iterable

from processors.doctor.lines import Line, ok, warning
from schemas.records import Fact, FactState

#: What the keys of such facts begin with.
PROBLEMS = "problem/"


def problems_lines(facts: Iterable[Fact]) -> list[Line]:
    """The problems that are open, oldest first. They are the worker's to judge, so they are warnings here."""
    lines = [
        warning(
            fact.subject.removeprefix(PROBLEMS),
            f"open since {fact.outcome.at:%Y-%m-%d %H:%M} UTC: {fact.outcome.message}",
            "docs/operations.md says what each code asks for; it closes by itself once it is mended",
        )
        for fact in sorted(facts, key=lambda fact: (fact.outcome.at, fact.subject))
        if fact.state is FactState.OPEN and fact.subject.startswith(PROBLEMS)
    ]
    return lines or [ok("problems", "none is open on the log")]
