"""The folds again: raw records in, with the guard's rules, and what became of each out.

Pure: no Kafka, no Faust, no clock, no settings. The rules of placement and of what cannot be read are the guard's
(``processors.guard``), those of meaning are ``peaktime.core``'s; a test holds this module against a real worker. Only
the live state is kept, and partitions do not touch each other, so how they interleave cannot matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from peaktime.core.calendars import fold_snapshot
from peaktime.core.outcomes import Facts
from peaktime.core.requests import Entries
from peaktime.errors import DecodeError
from processors.replay.log import FORWARDED_FROM, Place, Raw, partition_of
from schemas.catalogue import Catalogue, TopicSpec
from schemas.codec import Codec
from schemas.records import CalendarSnapshot, CalendarState, Entry, Fact, Outcome, ScaleRequest, VerdictKind

Row = Entry | Fact | CalendarState


_Fold = Callable[[Raw, Any, datetime], tuple["Fate", dict[str, Any]]]


class Fate(StrEnum):
    """What became of a record; for a request that was understood, its verdict."""

    ACCEPTED = "accepted"
    REPLACED = "replaced"
    DUPLICATE = "duplicate"
    STALE = "stale"
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"
    FORWARDED = "forwarded"
    DEAD_LETTERED = "dead-lettered"
    REDELIVERED = "redelivered"
    FOLDED = "folded"
    UNCHANGED = "unchanged"


_FATES: dict[VerdictKind, Fate] = {kind: Fate(kind.lower()) for kind in VerdictKind if kind is not VerdictKind.UNKNOWN}
_NO_CHANGES: Mapping[str, Row | None] = MappingProxyType({})


class Step(NamedTuple):
    """One record, folded.

    Attributes:
        topic: the topic's short name: requests, outcomes or calendars.
        place: where it stands.
        log_time: when it reached the log (UTC).
        fate: what became of it.
        record: what it says; None if it could not be read.
        changes: the rows that it changed by key; None for a row that was dropped.
        code: for a dead letter, the guard's short word for the reason.
        reason: the same in words; for a forwarded record, the place where it belongs.
    """

    topic: str
    place: Place
    log_time: datetime
    fate: Fate
    record: Any = None
    changes: Mapping[str, Row | None] = _NO_CHANGES
    code: str = ""
    reason: str = ""


@dataclass(slots=True)
class Accounts:
    """Invariant I6: where every request went.

    Attributes:
        read: how many requests were read.
        fates: how many of them met each fate, ``not yet read`` aside.
        not_yet_read: how many of them the worker had not reached.
    """

    read: int = 0
    fates: Counter[Fate] = field(default_factory=Counter)
    not_yet_read: int = 0

    def count(self, fate: Fate, *, reached: bool) -> None:
        """Count a request."""
        self.read += 1
        if reached:
            self.fates[fate] += 1
        else:
            self.not_yet_read += 1

    @property
    def balanced(self) -> bool:
        """Whether every request is accounted for."""
        return self.read == sum(self.fates.values()) + self.not_yet_read and not self.fates[Fate.REDELIVERED]


class Refold:
    """The state of the three folds.

    Args:
        codec: reads records.
        catalogue: the topics, with the partition counts that the broker has.
        letters: the records that a fold put aside as dead letters, with the reason's code. A schema that the registry
            did not know then may be known now: what the worker decided is on the log, and that counts.
    """

    def __init__(self, codec: Codec, catalogue: Catalogue, letters: Mapping[Place, str] | None = None) -> None:
        self._codec = codec
        self._letters = letters or {}
        self._entries: dict[int, dict[str, Entries]] = {}
        self._facts: dict[int, dict[str, Facts]] = {}
        self._calendars: dict[int, dict[str, CalendarState]] = {}
        kinds: tuple[tuple[TopicSpec, Any, Callable[[Any], str], _Fold], ...] = (
            (catalogue.requests, ScaleRequest, attrgetter("target"), self._request),
            (catalogue.outcomes, Outcome, attrgetter("target"), self._outcome),
            (catalogue.calendars, CalendarSnapshot, attrgetter("calendar_id"), self._snapshot),
        )
        self._by_topic = {spec.name: (spec, record, key_of, fold) for spec, record, key_of, fold in kinds}

    def seed(self, rows: Iterable[tuple[int, Row]]) -> None:
        """Take rows that were decided before the first record that is read, each with its partition."""
        for partition, row in rows:
            if isinstance(row, Entry):
                self._entries_of(partition, row.target).restore(row)
            elif isinstance(row, Fact):
                self._facts_of(partition, row.target).restore(row)
            else:
                self._calendars.setdefault(partition, {})[row.calendar_id] = row

    def take(self, raw: Raw) -> Step:
        """Fold one record of requests, outcomes or calendars; of one partition, in order of offset."""
        spec, kind, key_of, fold = self._by_topic[raw.topic]

        def aside(code: str, reason: str, record: object = None) -> Step:
            return Step(spec.short, raw.place, raw.log_time, Fate.DEAD_LETTERED, record, code=code, reason=reason)

        code = self._letters.get(raw.place) if self._letters else None
        if raw.value is None:
            return aside(code or "empty", "the record has no value")
        try:
            record = self._codec.decode(kind, raw.value)
        except DecodeError as error:
            return aside(code or error.code, str(error))
        if code is not None:
            return aside(code, "it was put aside then", record)
        right_key = key_of(record).encode()
        right = partition_of(right_key, spec.partitions)
        if raw.key != right_key or raw.partition != right:
            where = f"under key {right_key.decode()!r} in partition {right}"
            if raw.header(FORWARDED_FROM) is not None:
                return aside("misplaced", f"it belongs {where}, and was forwarded once already", record)
            return Step(spec.short, raw.place, raw.log_time, Fate.FORWARDED, record, reason=f"it belongs {where}")
        try:
            log_time = raw.log_time
            fate, changes = fold(raw, record, log_time)
        except Exception as error:  # noqa: BLE001 the guard puts aside whatever a fold raises, so this must too
            return aside("internal", repr(error), record)
        return Step(spec.short, raw.place, log_time, fate, record, changes)

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Every entry with its partition, by partition, target and order of coming."""
        for partition, targets in sorted(self._entries.items()):
            for _, rows in sorted(targets.items()):
                for entry in rows.by_key.values():
                    yield partition, entry

    def facts(self) -> Iterator[tuple[int, Fact]]:
        """Every fact with its partition."""
        for partition, targets in sorted(self._facts.items()):
            for _, rows in sorted(targets.items()):
                for fact in rows.by_subject.values():
                    yield partition, fact

    def calendars(self) -> Iterator[tuple[int, CalendarState]]:
        """Every calendar's state with its partition."""
        for partition, states in sorted(self._calendars.items()):
            for _, state in sorted(states.items()):
                yield partition, state

    def _entries_of(self, partition: int, target: str) -> Entries:
        targets = self._entries.setdefault(partition, {})
        found = targets.get(target)
        if found is None:
            found = targets[target] = Entries()
        return found

    def _facts_of(self, partition: int, target: str) -> Facts:
        targets = self._facts.setdefault(partition, {})
        found = targets.get(target)
        if found is None:
            found = targets[target] = Facts()
        return found

    def _request(self, raw: Raw, request: ScaleRequest, log_time: datetime) -> tuple[Fate, dict[str, Any]]:
        rows = self._entries_of(raw.partition, request.target)
        changes = rows.fold(request, raw.offset, log_time)
        for entry in changes.values():
            if entry is not None:
                return _FATES[entry.verdict.kind], changes
        return Fate.REDELIVERED, {}

    def _outcome(self, raw: Raw, outcome: Outcome, log_time: datetime) -> tuple[Fate, dict[str, Any]]:
        changes = self._facts_of(raw.partition, outcome.target).fold(outcome, raw.offset, log_time)
        return (Fate.FOLDED if changes else Fate.UNCHANGED), changes

    def _snapshot(self, raw: Raw, snapshot: CalendarSnapshot, log_time: datetime) -> tuple[Fate, dict[str, Any]]:
        states = self._calendars.setdefault(raw.partition, {})
        before = states.get(snapshot.calendar_id)
        state = fold_snapshot(before, snapshot, raw.offset, log_time)
        if state is None or state is before:
            return Fate.UNCHANGED, {}
        states[snapshot.calendar_id] = state
        return Fate.FOLDED, {snapshot.calendar_id: state}
