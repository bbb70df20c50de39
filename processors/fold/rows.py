"""The rows of the fold's three tables, by partition, as the folds and the reconcile loop see them.

Filled by the driver from the changelogs, changed by the folds alone. It decides nothing and sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

from peaktime.core.outcomes import Facts
from peaktime.core.requests import Entries
from peaktime.errors import PeaktimeError
from processors.driver import die
from schemas.codec import Codec
from schemas.records import CalendarState, Entry, Fact

R = TypeVar("R", Entry, Fact)
S = TypeVar("S", bound="_State[Any]")
T = TypeVar("T")


class _State(Protocol[R]):
    """What a fold makes of a target's rows."""

    @property
    def position(self) -> int:
        """The highest position that was folded and is known of, -1 for none."""

    def restore(self, row: R, /) -> R | None:
        """Take a row from the log; if a later one is here already, that one."""

    def drop(self, key: str, /) -> None:
        """Forget a row."""


class _TargetRows(Generic[S, R]):
    """The rows of a topic, by partition and target."""

    _record: type[R]
    _state: type[S]

    def __init__(self, codec: Codec, topic: str) -> None:
        self._codec, self._topic = codec, topic
        self._rows: dict[int, dict[str, S]] = {}
        self._targets: dict[bytes, str] = {}

    def clear(self) -> None:
        """Forget all rows."""
        self._rows.clear()
        self._targets.clear()

    def of(self, partition: int, target: str) -> S:
        """The rows of a target; made if there are none."""
        return self._rows.setdefault(partition, {}).setdefault(target, self._state())

    def get(self, partition: int, target: str) -> S:
        """The rows of a target, none if nothing is known of it."""
        return self._rows.get(partition, {}).get(target) or self._state()

    def targets(self) -> Iterator[tuple[int, str]]:
        """Every partition and target with rows."""
        for partition, targets in list(self._rows.items()):
            for target in list(targets):
                yield partition, target

    def newest(self, partition: int) -> int:
        """The highest position that was folded and is known of, -1 for none."""
        return max((state.position for state in self._rows.get(partition, {}).values()), default=-1)

    def restore(self, partition: int, key: bytes, value: bytes | None) -> bytes | None:
        """Take a row from the log; if a later one is here already, that one."""
        if value is None:
            target = self._targets.pop(key, None)
            if target is not None:
                self.of(partition, target).drop(key.decode())
            return None
        row = decoded(self._codec, self._record, key, value)
        self._targets[key] = row.target
        later = self.of(partition, row.target).restore(row)
        return None if later is None else self._codec.encode(later, self._topic)


class EntryRows(_TargetRows[Entries, Entry]):
    """``entries.v1``: by partition and target."""

    _record, _state = Entry, Entries


class FactRows(_TargetRows[Facts, Fact]):
    """``facts.v1``: by partition and target."""

    _record, _state = Fact, Facts


class CalendarRows:
    """``calendar-states.v1``: by partition and calendar id."""

    def __init__(self, codec: Codec, topic: str) -> None:
        self._codec, self._topic = codec, topic
        self._rows: dict[int, dict[str, CalendarState]] = {}

    def clear(self) -> None:
        """Forget all rows."""
        self._rows.clear()

    def get(self, partition: int, calendar_id: str) -> CalendarState | None:
        """The state of a calendar, if there is one."""
        return self._rows.get(partition, {}).get(calendar_id)

    def ids(self) -> list[tuple[int, str]]:
        """Every partition and calendar id with a state."""
        return [(partition, calendar_id) for partition, states in self._rows.items() for calendar_id in states]

    def put(self, partition: int, state: CalendarState) -> None:
        """Take a calendar's new state."""
        self._rows.setdefault(partition, {})[state.calendar_id] = state

    def newest(self, partition: int) -> int:
        """The highest position that changed a state, -1 for none."""
        return max((state.position for state in self._rows.get(partition, {}).values()), default=-1)

    def restore(self, partition: int, key: bytes, value: bytes | None) -> bytes | None:
        """Take a row from the log; if a later one is here already, that one."""
        if value is None:
            self._rows.get(partition, {}).pop(key.decode(), None)
            return None
        state = decoded(self._codec, CalendarState, key, value)
        known = self.get(partition, state.calendar_id)
        if known is not None and known.position > state.position:
            return self._codec.encode(known, self._topic)
        self.put(partition, state)
        return None


def decoded(codec: Codec, record: type[T], key: bytes, value: bytes) -> T:
    """A row of our own; one that cannot be read ends the process, since folding on without it would be wrong."""
    try:
        return codec.decode(record, value)
    except PeaktimeError as error:
        die("a row of the tables cannot be read, so the state cannot be rebuilt", key=key, error=str(error))
        raise
