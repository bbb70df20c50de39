"""From the word that names a feed to the feed.

For: the importer and the preview. Must not: read anything yet.
"""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

from peaktime.core.feedspec import parse_feed
from peaktime.errors import FeedError
from producers.calendar.feeds.base import Feed
from producers.calendar.feeds.fetch import Fetcher


def feed_from(spec: str, zone: ZoneInfo, fetcher: Fetcher | None = None, *, data_go_kr_key: str = "") -> Feed:
    """The feed that a word names.

    Args:
        spec: a path, an http:, https: or file: URL, ``holidays:KR[:subdivision]``, or ``data.go.kr``.
        zone: zone of the days.
        fetcher: carries what must be fetched, within its limits; one with the default limits if None.
        data_go_kr_key: service key of data.go.kr, for that feed only.

    Raises:
        FeedError: the word names no feed.
    """
    try:
        parsed = parse_feed(spec)
    except ValueError as error:
        raise FeedError("feed", str(error), "See `peaktime calendar preview --help`") from error
    fetcher = fetcher or Fetcher()
    if parsed.kind == "library":
        from producers.calendar.feeds.library import LibraryFeed  # noqa: PLC0415  (each feed only when it is used)

        return LibraryFeed(parsed.where, parsed.subdivision)
    if parsed.kind == "data.go.kr":
        from producers.calendar.feeds.data_go_kr import DataGoKrFeed  # noqa: PLC0415  (the same)

        return DataGoKrFeed(fetcher, data_go_kr_key)
    from producers.calendar.feeds.ics import IcsFeed  # noqa: PLC0415  (the same)

    if parsed.kind == "url":
        return IcsFeed(lambda: fetcher.url(parsed.where), zone)
    return IcsFeed(lambda: fetcher.file(Path(parsed.where)), zone)
