"""The last copy of each URL, kept in a folder, so that a feed that did not change need not be sent again.

Must not: be trusted. A copy that is missing, damaged or somebody else's only means that the feed is fetched whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from peaktime.errors import FeedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One copy, and how the server recognises it."""

    body: bytes
    content_type: str = ""
    etag: str = ""
    last_modified: str = ""

    def conditions(self) -> dict[str, str]:
        """The headers that ask for the feed only if it changed."""
        wanted = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in wanted.items() if value}


@dataclass(frozen=True, slots=True)
class FeedCache:
    """A folder of copies, one file for each URL, named by its hash because a URL may hold a secret."""

    folder: Path

    def get(self, url: str) -> Kept | None:
        """The copy of a URL; None if there is none that is whole."""
        try:
            head, _, body = self._path(url).read_bytes().partition(b"\n")
            about = json.loads(head)
            if about["sha256"] != hashlib.sha256(body).hexdigest():
                return None
            return Kept(
                body=body,
                content_type=str(about["contentType"]),
                etag=str(about["etag"]),
                last_modified=str(about["lastModified"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, url: str, kept: Kept) -> None:
        """Keep a copy, if the server would recognise it. Raises FeedError if the folder cannot be written."""
        if not kept.conditions():
            return
        about = {
            "sha256": hashlib.sha256(kept.body).hexdigest(),
            "contentType": kept.content_type,
            "etag": kept.etag,
            "lastModified": kept.last_modified,
        }
        path = self._path(url)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder)
            with os.fdopen(handle, "wb") as opened:
                opened.write(json.dumps(about).encode() + b"\n" + kept.body)
            Path(name).replace(path)
        except OSError as error:
            remedy = "Name a folder that can be written, or none"
            raise FeedError(f"cache {self.folder}", f"cannot be written: {error.strerror}", remedy) from error

    def _path(self, url: str) -> Path:
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()}.feed"
