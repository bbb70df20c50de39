"""A clock that can be put forward, shared by several processes through a small file.

The file holds one JSON object, ``{"offsetSeconds": 86400.0}``: how far the clock is ahead of real time. Without the
file it shows real time. Whoever puts the clock forward replaces the file at once; whoever reads it looks at the file's
identity and reads only what is new.
"""

import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

_FIELD: Final = "offsetSeconds"
_NO_OFFSET: Final = timedelta(0)


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""


class RealClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC)


class SandboxClock:
    """Real time plus the offset in a file; it runs on by itself and is never put back.

    ``path`` is given by the caller; its folder must exist, the file need not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._offset = _NO_OFFSET

    def now(self) -> datetime:
        """The time of the sandbox, aware, in UTC."""
        return datetime.now(UTC) + self.offset()

    def offset(self) -> timedelta:
        """How far the clock is ahead of real time."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._offset = None, _NO_OFFSET
            return self._offset
        # The inode too: two replacements within one tick of the file system have the same time.
        seen = (found.st_mtime_ns, found.st_ino)
        if seen != self._seen:
            self._offset, self._seen = self._read(), seen
        return self._offset

    def advance_to(self, instant: datetime) -> None:
        """Put the clock forward, so that it shows ``instant`` or later; an instant that has passed changes nothing."""
        if instant.tzinfo is None:
            raise ValueError(f"The sandbox clock needs an instant with a zone, not {instant.isoformat()}.")
        # A microsecond more, so that rounding in the file never leaves the clock just before the instant.
        wanted = instant - datetime.now(UTC) + timedelta(microseconds=1)
        if wanted > self.offset():
            self._write(wanted)

    def _read(self) -> timedelta:
        try:
            return timedelta(seconds=float(json.loads(self._path.read_text(encoding="utf-8"))[_FIELD]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f'{self._path} is not the file of a sandbox clock ({{"{_FIELD}": 0}}): {error}') from error

    def _write(self, offset: timedelta) -> None:
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".clock-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({_FIELD: offset.total_seconds()}, file)
            Path(temporary).replace(self._path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
