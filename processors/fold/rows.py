"""The rows of the fold's three tables, by partition, as the folds and the reconcile loop see them.

Filled by the driver from the changelogs, changed by the folds alone. It decides nothing and sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from peaktime.core.outcomes import Facts
from peaktime.core.requests import Entries
from peaktime.errors import PeaktimeError
from processors.driver import die
from schemas.codec import Codec
from schemas.records import CalendarState, Entry, Fact

R = TypeVar("R")


class EntryRows:
    """``entries.v1``: by partition and target."""

    def __init__(self, codec: Codec, topic: str) -> None:
        self._codec, self._topic = codec, topic
        self._rows: dict[int, dict[str, Entries]] = {}
        self._targets: dict[bytes, str] = {}

    def clear(self) -> None:
        """Forget all rows."""
        self._rows.clear()
        self._targets.clear()

    def of(self, partition: int, target: str) -> Entries:
        """The entries of a target; made if there are none."""
        return self._rows.setdefault(partition, {}).setdefault(target, Entries())

    def get(self, partition: int, target: str) -> Entries:
        """The entries of a target, none if nothing is known of it."""
        return self._rows.get(partition, {}).get(target) or Entries()

    def targets(self) -> Iterator[tuple[int, str]]:
        """Every partition and target with entries."""
        for partition, targets in list(self._rows.items()):
            for target in list(targets):
                yield partition, target

    def newest(self, partition: int) -> int:
        """The highest position that was folded, -1 for none."""
        return max((entries.position for entries in self._rows.get(partition, {}).values()), default=-1)

    def restore(self, partition: int, key: bytes, value: bytes | None) -> bytes | None:
        """Take a row from the log; if a later one is here already, that one."""
        if value is None:
            target = self._targets.pop(key, None)
            if target is not None:
                self.of(partition, target).drop(key.decode())
            return None
        entry = decoded(self._codec, Entry, key, value)
        self._targets[key] = entry.target
        entries = self.of(partition, entry.target)
        if entries.restore(entry):
            return None
        return self._codec.encode(entries.by_key[entry.key], self._topic)


class FactRows:
    """``facts.v1``: by partition and target."""

    def __init__(self, codec: Codec, topic: str) -> None:
        self._codec, self._topic = codec, topic
        self._rows: dict[int, dict[str, Facts]] = {}
        self._targets: dict[bytes, str] = {}

    def clear(self) -> None:
        """Forget all rows."""
        self._rows.clear()
        self._targets.clear()

    def of(self, partition: int, target: str) -> Facts:
        """The facts of a target; made if there are none."""
        return self._rows.setdefault(partition, {}).setdefault(target, Facts())

    def get(self, partition: int, target: str) -> Facts:
        """The facts of a target, none if nothing is known of it."""
        return self._rows.get(partition, {}).get(target) or Facts()

    def newest(self, partition: int) -> int:
        """The highest position that changed a fact, -1 for none."""
        targets = self._rows.get(partition, {}).values()
        return max((fact.position for facts in targets for fact in facts.by_subject.values()), default=-1)

    def restore(self, partition: int, key: bytes, value: bytes | None) -> bytes | None:
        """Take a row from the log; if a later one is here already, that one."""
        if value is None:
            target = self._targets.pop(key, None)
            if target is not None:
                self.of(partition, target).drop(key.decode())
            return None
        fact = decoded(self._codec, Fact, key, value)
        self._targets[key] = fact.target
        facts = self.of(partition, fact.target)
        if facts.restore(fact):
            return None
        return self._codec.encode(facts.by_subject[fact.subject], self._topic)


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


def decoded(codec: Codec, record: type[R], key: bytes, value: bytes) -> R:
    """A row of our own; one that cannot be read ends the process, since folding on without it would be wrong."""
    try:
        return codec.decode(record, value)
    except PeaktimeError as error:
        die("a row of the tables cannot be read, so the state cannot be rebuilt", key=key, error=str(error))
        raise
