"""What doctor says: a line each, with what to do.

Pure data and how it is shown. Must not: know what is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

#: A shorter secret would be found in innocent words.
_SHORTEST_SECRET = 4
_HIDDEN = "(hidden)"
#: So many names are given in one line; the rest is a number.
_NAMED = 4


class Status(StrEnum):
    """How it stands with one thing."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at.

    Attributes:
        status: how it stands.
        about: the thing: a topic, a right, a file.
        said: what was found, without a full stop.
        next: what to do; empty only if all is well.
        check: the check that found it; whoever runs the checks fills it in.
    """

    status: Status
    about: str
    said: str
    next: str = ""
    check: str = ""

    def __str__(self) -> str:
        """``wrong    thing: what was found. What to do``, on one line, without what a terminal would obey."""
        text = f"{self.about}: {self.said}. {self.next}" if self.next else f"{self.about}: {self.said}"
        return f"{self.status:<7}  {plain(text)}"


def ok(about: str, said: str) -> Line:
    """All is well with this."""
    return Line(Status.OK, about, said)


def warning(about: str, said: str, todo: str) -> Line:
    """It works, or cannot be judged; somebody should look."""
    return Line(Status.WARNING, about, said.rstrip(". "), todo)


def wrong(about: str, said: str, todo: str) -> Line:
    """Peaktime cannot do its work, or not all of it, until this is mended."""
    return Line(Status.WRONG, about, said.rstrip(". "), todo)


def plain(text: str) -> str:
    """A text on one line, with everything escaped that a terminal might obey."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split())
    )  # fmt: skip


def named(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def hidden(lines: Iterable[Line], secrets: Iterable[str]) -> list[Line]:
    """The lines without any of the secrets, whoever let one slip into a message."""
    words = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]

    def clean(text: str) -> str:
        for word in words:
            text = text.replace(word, _HIDDEN)
        return text

    return [replace(line, about=clean(line.about), said=clean(line.said), next=clean(line.next)) for line in lines]


def count(lines: Iterable[Line], status: Status) -> int:
    """How many lines have a status."""
    return sum(line.status is status for line in lines)


def summary(lines: Sequence[Line]) -> str:
    """The last line: how many of each."""
    warnings = count(lines, Status.WARNING)
    shown = f"{warnings} warning{'' if warnings == 1 else 's'}"
    return f"{count(lines, Status.WRONG)} wrong, {shown}, {count(lines, Status.OK)} ok"


def as_json(lines: Sequence[Line]) -> dict[str, Any]:
    """The whole as one document."""
    return {
        "counts": {str(status): count(lines, status) for status in Status},
        "lines": [
            {
                "check": line.check,
                "status": str(line.status),
                "about": plain(line.about),
                "found": plain(line.said),
                "next": plain(line.next),
            }
            for line in lines
        ],
    }
