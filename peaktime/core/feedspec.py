"""How a holiday feed is written in one word: a path, a URL, ``holidays:KR[:subdivision]`` or ``data.go.kr``.

Pure: standard library only. It must not look whether the feed is there; the importer's feeds do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

FORMS = "a path, an http:, https: or file: URL, holidays:<country>[:<subdivision>], or data.go.kr"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_COUNTRY = re.compile(r"[A-Za-z]{2}(:[A-Za-z0-9 _.-]+)?")


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """Which feed: its kind, and where or for whom."""

    kind: Literal["file", "url", "library", "data.go.kr"]
    where: str = ""
    subdivision: str = ""


def parse_feed(text: str) -> FeedSpec:
    """The feed that a word names.

    Raises:
        ValueError: it names none; the message says why.
    """
    text = text.strip()
    if not text:
        raise ValueError(f"names no feed; use {FORMS}")
    if text == "data.go.kr":
        return FeedSpec("data.go.kr")
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    rest = text[found.end() :] if found else text
    if scheme == "holidays":
        if not _COUNTRY.fullmatch(rest):
            raise ValueError(f"{text!r} names no country; write holidays:KR or holidays:US:CA")
        country, _, subdivision = rest.partition(":")
        return FeedSpec("library", country.upper(), subdivision)
    if scheme in ("http", "https"):
        try:
            host, _ = urlsplit(text).hostname, urlsplit(text).port
        except ValueError as error:
            raise ValueError("is no URL that can be read") from error
        if not host:
            raise ValueError("is a URL without a host")
        return FeedSpec("url", text)
    if scheme == "file":
        return FeedSpec("file", _path_of(text))
    if scheme:
        raise ValueError(f"{scheme}: is not a way to read a feed; use {FORMS}")
    return FeedSpec("file", text)


def _path_of(url: str) -> str:
    from urllib.request import url2pathname  # noqa: PLC0415  (slow to import, and only file: URLs need it)

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise ValueError("is a file: URL that names another machine or no path; write file:///path")
    return url2pathname(parts.path)
