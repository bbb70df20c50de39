"""The ``holidays`` library as a feed: any country and subdivision it knows, computed, without a network.

Must not: believe that it knows everything. Temporary holidays and election days are in it once a release has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from peaktime.errors import FeedError
from producers.calendar.feeds.base import FeedResult, kind_of, result
from schemas.records import CalendarDay

#: Languages in which the names themselves tell a day's kind.
_TELLING = ("en", "ko", "ja")
_ENGLISH = "en_US"


@dataclass(frozen=True, slots=True)
class LibraryFeed:
    """Public holidays of a country, named in its own language.

    Attributes:
        country: ISO 3166 code, e.g. ``KR``.
        subdivision: state or province as the library writes it; none if empty.
    """

    country: str
    subdivision: str = ""

    def read(self, first: date, last: date) -> FeedResult:
        """The library's days. Raises FeedError for a country or subdivision that it does not know."""
        import holidays  # noqa: PLC0415  (slow to import, and only this feed needs it)

        source = f"holidays:{self.country}" + (f":{self.subdivision}" if self.subdivision else "")
        try:
            probe = holidays.country_holidays(self.country, subdiv=self.subdivision or None)
        except NotImplementedError as error:
            remedy = "Use an ISO 3166 country code that it supports, and a subdivision as it writes them"
            raise FeedError(source, "the holidays library does not know it", remedy) from error
        spoken = probe.default_language if probe.default_language in probe.supported_languages else None
        named = self._names(spoken, first, last)
        told = named
        if spoken is not None and not spoken.startswith(_TELLING) and _ENGLISH in probe.supported_languages:
            told = self._names(_ENGLISH, first, last)
        days = [CalendarDay(date=day, name=name, kind=_kind(told.get(day, name))) for day, name in named.items()]
        return result(days, first, last, source)

    def _names(self, language: str | None, first: date, last: date) -> dict[date, str]:
        import holidays  # noqa: PLC0415  (see above)

        # Without a language the library would follow the machine's locale.
        found = holidays.country_holidays(
            self.country,
            subdiv=self.subdivision or None,
            years=range(first.year, last.year + 1),
            language=language,
        )
        return dict(found.items())


def _kind(names: str) -> str:
    """Several holidays may share a date; a public one among them makes it public."""
    kinds = [kind_of(name) for name in names.split(";")]
    return "public" if "public" in kinds else kinds[0]
