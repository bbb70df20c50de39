"""What every feed is: something that, asked for a stretch of time, gives the special days in it.

For: one small interface, and the words that the feeds share. Must not: read anything, nor decide what follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from peaktime.core.holidays import one_per_date
from peaktime.errors import FeedError
from schemas.records import CalendarDay

_MOST_DAYS = 20_000
_LONGEST_NAME = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_KINDS = (
    (
        "substitute",
        re.compile(
            r"대체|振替|\bsubstitute\b|\balternative holiday\b|\bobserved\b|\bin lieu\b|\(additional\b",
            re.IGNORECASE,
        ),
    ),
    ("temporary", re.compile(r"임시\s*공휴일|\btemporary\b|\bspecial (public |non-working )?holiday\b", re.IGNORECASE)),
    ("election", re.compile(r"선거|選挙|\belections?\b", re.IGNORECASE)),
)


class BadFeedError(FeedError):
    """The feed answered, but with what cannot be a good calendar: it is refused, and the last good one stands.

    Attributes:
        code: ``empty``, ``truncated``, ``wrong-type``, ``coverage`` or ``withdrawals``.
    """

    def __init__(self, thing: str, reason: str, remedy: str = "", *, code: str) -> None:
        super().__init__(thing, reason, remedy)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedResult:
    """What a feed says.

    Attributes:
        days: special days, by date, one for each date.
        covers_from: first day that the feed speaks about.
        covers_to: last day that it speaks about, inclusive; before ``covers_from`` if it says nothing.
        source: where it was read, without secrets.
        not_modified: whether the source said that nothing changed since the copy that was kept.
    """

    days: tuple[CalendarDay, ...]
    covers_from: date
    covers_to: date
    source: str
    not_modified: bool = False


class Feed(Protocol):
    """One source of special days."""

    def read(self, first: date, last: date) -> FeedResult:
        """What the source says about the days from ``first`` to ``last``, both included.

        Raises:
            BadFeedError: it answered with what is no good calendar.
            FeedError: it cannot be read now, or is set up wrongly.
        """


def result(days: Iterable[CalendarDay], first: date, last: date, source: str, *, kept: bool = False) -> FeedResult:
    """The days between two dates, tidied, with the whole years that they cover.

    A feed does not say how far it reaches. A year without a single special day is a year that it does not know, so it
    covers the unbroken years up to the last one that has any.
    """
    tidy = one_per_date(
        CalendarDay(date=day.date, name=_plain(day.name), kind=day.kind) for day in days if first <= day.date <= last
    )
    if len(tidy) > _MOST_DAYS:
        raise BadFeedError(
            source,
            f"names {len(tidy)} days",
            "A calendar of holidays has a few a year",
            code="wrong-type",
        )
    years = {day.date.year for day in tidy}
    if not years:
        return FeedResult(days=(), covers_from=last, covers_to=first, source=source, not_modified=kept)
    newest = oldest = max(years)
    while oldest - 1 in years:
        oldest -= 1
    return FeedResult(
        days=tidy,
        covers_from=max(first, date(oldest, 1, 1)),
        covers_to=min(last, date(newest, 12, 31)),
        source=source,
        not_modified=kept,
    )


def kind_of(name: str) -> str:
    """The kind that a day's name tells: ``substitute``, ``temporary``, ``election``, else ``public``."""
    return next((kind for kind, pattern in _KINDS if pattern.search(name)), "public")


def _plain(name: str) -> str:
    return " ".join(_CONTROL.sub(" ", name).split())[:_LONGEST_NAME]
