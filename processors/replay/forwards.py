"""Whether what was forwarded arrived.

Pure. Must not: read the log.
"""

from __future__ import annotations

from processors.replay.log import FORWARDED_FROM, Place, Raw


class Forwards:
    """Whether every misplaced record has its copy at the right place; both may come in any order."""

    def __init__(self) -> None:
        self._misplaced: set[str] = set()
        self._copies: set[str] = set()

    def copy(self, raw: Raw) -> None:
        """Take a record, which may be a copy."""
        origin = raw.header(FORWARDED_FROM)
        if origin is not None:
            self._copies.add(origin)

    def misplaced(self, place: Place) -> None:
        """Take the place of a misplaced record."""
        self._misplaced.add(str(place))

    def missing(self) -> list[str]:
        """Places of misplaced records without a copy, in order."""
        return sorted(self._misplaced - self._copies)
