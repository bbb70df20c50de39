"""What changed between two log times, and by whom: collected while the log is folded up to the later one.

Pure. Must not: read the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from processors.replay.refold import Fate, Step
from processors.replay.views import DiffRow, diff_rows
from schemas.records import Entry, ScaleRequest

#: What a request that changes something met.
_CHANGING = frozenset({Fate.ACCEPTED, Fate.REPLACED, Fate.WITHDRAWN})


class Changes:
    """Give it every folded record up to the second instant, then ask for the rows.

    Args:
        since: the first instant (UTC).
        target: only of this one; None for all.
    """

    def __init__(self, since: datetime, target: str | None = None) -> None:
        self._since, self._target = since, target
        self._before: dict[str, Entry] = {}
        self._touched: set[str] = set()
        self._by: dict[str, dict[str, None]] = {}

    def step(self, step: Step) -> None:
        """Take a folded record."""
        for key, row in step.changes.items():
            if step.topic != "requests" or (isinstance(row, Entry) and self._target not in (None, row.target)):
                continue
            self._touched.add(key)
            if step.log_time > self._since:
                if step.fate in _CHANGING and isinstance(row, Entry) and isinstance(step.record, ScaleRequest):
                    self._by.setdefault(key, {})[f"{step.record.owner or 'nobody named'}: {step.fate}"] = None
            elif isinstance(row, Entry):
                self._before[key] = row
            else:
                self._before.pop(key, None)

    def rows(self, after: Mapping[str, Entry]) -> Iterator[DiffRow]:
        """The events that stand differently, by key.

        Args:
            after: the entries at the second instant. One that no record touched stood before the log begins.
        """
        standing = {key: entry for key, entry in after.items() if key not in self._touched}
        by = {key: "; ".join(names) for key, names in self._by.items()}
        yield from diff_rows({**standing, **self._before}, after, by)
