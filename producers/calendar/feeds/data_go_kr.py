"""Korea's official special-day API (data.go.kr, ``SpcdeInfoService/getRestDeInfo``) as a feed.

It is asked month by month. Its ``items`` comes in three shapes, and its errors come with HTTP status 200, in JSON or,
from the gateway before it, in XML. Must not: show the service key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import unquote

from peaktime.errors import FeedError
from producers.calendar.feeds.base import BadFeedError, FeedResult, kind_of, result
from producers.calendar.feeds.fetch import Fetcher
from schemas.records import CalendarDay

URL = "https://apis.data.go.kr/B090041/openapi/service/SpcdeInfoService/getRestDeInfo"
_SOURCE = "data.go.kr"
_ROWS = 100
_MOST_PAGES = 20
_GOOD = ("00", "0")
_XML_ERROR = re.compile(r"<(returnAuthMsg|errMsg|resultMsg)>([^<]*)</")
_AGAIN = "Try again later; the last good one stays in force"


@dataclass(frozen=True, slots=True)
class DataGoKrFeed:
    """Korea's public, substitute, temporary and election days, as the government lists them.

    Attributes:
        fetcher: carries the calls.
        service_key: as data.go.kr gives it, encoded or not.
        url: the operation's address.
    """

    fetcher: Fetcher
    service_key: str
    url: str = URL

    def read(self, first: date, last: date) -> FeedResult:
        """The rest days; see `Feed.read`."""
        if not self.service_key:
            remedy = "Set PEAKTIME_DATA_GO_KR_KEY to the key of your data.go.kr account"
            raise FeedError(_SOURCE, "needs a service key", remedy)
        days = [day for year, month in _months(first, last) for day in self._month(year, month)]
        return result(days, first, last, _SOURCE)

    def _month(self, year: int, month: int) -> Iterator[CalendarDay]:
        seen = 0
        for page in range(1, _MOST_PAGES + 1):
            body = self._page(year, month, page)
            items = _items(body)
            yield from (_day(item) for item in items if str(item.get("isHoliday", "")).upper() == "Y")
            seen += len(items)
            total = _total(body)
            if seen >= total:
                return
            if not items:
                reason = f"says {total} days for {year}-{month:02} and gives {seen}"
                raise BadFeedError(_SOURCE, reason, _AGAIN, code="truncated")
        raise BadFeedError(_SOURCE, f"has no end for {year}-{month:02}", _AGAIN, code="wrong-type")

    def _page(self, year: int, month: int, page: int) -> dict[str, Any]:
        params = {
            "solYear": f"{year}",
            "solMonth": f"{month:02}",
            # It is given in two forms; only one of them must be encoded once more.
            "ServiceKey": unquote(self.service_key) if "%" in self.service_key else self.service_key,
            "_type": "json",
            "numOfRows": f"{_ROWS}",
            "pageNo": f"{page}",
        }
        return _body(self.fetcher.url(self.url, params).body)


def _months(first: date, last: date) -> Iterator[tuple[int, int]]:
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        yield number // 12, number % 12 + 1


def _body(answer: bytes) -> dict[str, Any]:
    """The body of a good answer; an error is one, whatever its HTTP status."""
    try:
        text = answer.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadFeedError(_SOURCE, "is not UTF-8 text", _AGAIN, code="wrong-type") from error
    if not text:
        raise BadFeedError(_SOURCE, "answers with nothing", _AGAIN, code="empty")
    if text.startswith("<"):
        told = [" ".join(found[1].split()) for found in _XML_ERROR.findall(text) if found[1].strip()]
        if told:
            raise FeedError(
                _SOURCE,
                f"answers with the error {', '.join(dict.fromkeys(told))}",
                _remedy(" ".join(told)),
            )
        raise BadFeedError(_SOURCE, "answers with a page, not with JSON", _AGAIN, code="wrong-type")
    try:
        response = json.loads(text)["response"]
        header = response["header"]
        code, message = str(header["resultCode"]), str(header.get("resultMsg", ""))
    except ValueError as error:
        raise BadFeedError(_SOURCE, "answers with what is no whole JSON", _AGAIN, code="truncated") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise BadFeedError(_SOURCE, "answers with JSON of another kind", _AGAIN, code="wrong-type") from error
    if code not in _GOOD:
        raise FeedError(_SOURCE, f"answers with the error {code} {message}", _remedy(message))
    body = response.get("body")
    if not isinstance(body, dict):
        raise BadFeedError(_SOURCE, "answers without a body", _AGAIN, code="wrong-type")
    return body


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A list of items, one item alone, or the empty string for none."""
    items = body.get("items")
    if items in ("", None):
        return []
    item = items.get("item", []) if isinstance(items, dict) else items
    found = [item] if isinstance(item, dict) else item
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadFeedError(_SOURCE, "answers with items of another kind", _AGAIN, code="wrong-type")
    return found


def _total(body: dict[str, Any]) -> int:
    try:
        return int(body.get("totalCount") or 0)
    except (TypeError, ValueError) as error:
        raise BadFeedError(_SOURCE, "does not say how many days there are", _AGAIN, code="wrong-type") from error


def _day(item: dict[str, Any]) -> CalendarDay:
    text = str(item.get("locdate", ""))
    try:
        when = date.fromisoformat(text)
    except ValueError as error:
        raise BadFeedError(_SOURCE, f"names the day {text[:20]!r}, which is none", _AGAIN, code="wrong-type") from error
    name = str(item.get("dateName", ""))
    return CalendarDay(date=when, name=name, kind=kind_of(name))


def _remedy(message: str) -> str:
    if "KEY" in message.upper():
        return "Check PEAKTIME_DATA_GO_KR_KEY: a new key takes some hours to be known"
    if "LIMIT" in message.upper():
        return "Import less often, or ask data.go.kr for more calls a day"
    return _AGAIN
