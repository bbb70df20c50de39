"""How things stand: the entries and facts of every target, from the tables on the log, as a starting worker takes them.

For: commands that say what would be done now. It reads ``entries.v1`` and ``facts.v1`` to their ends and nothing else.
Must not: fold, decide, join a group, or write.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from peaktime.core.outcomes import Facts
from peaktime.core.requests import Entries
from peaktime.errors import DecodeError
from processors.replay.compare import Table
from processors.replay.findings import Log
from processors.replay.log import partition_of
from schemas.catalogue import Catalogue
from schemas.codec import Codec
from schemas.records import Entry, Fact, Pause

T = TypeVar("T")
R = TypeVar("R", Entry, Fact)


@dataclass(slots=True)
class ByTarget(Generic[T]):
    """The rows of one table by target; what is not there is an empty ``none``."""

    none: type[T]
    rows: dict[str, T] = field(default_factory=dict)

    def get(self, _partition: int, target: str) -> T:
        """The rows of a target, none if nothing is known of it."""
        return self.rows.get(target) or self.none()

    def of(self, target: str) -> T:
        """The rows of a target; made if there are none."""
        return self.rows.setdefault(target, self.none())


@dataclass(slots=True)
class Standing:
    """Entries and facts of the targets that were asked for."""

    entries: ByTarget[Entries] = field(default_factory=lambda: ByTarget(Entries))
    facts: ByTarget[Facts] = field(default_factory=lambda: ByTarget(Facts))

    def targets(self) -> list[str]:
        """The targets that have entries, in order."""
        return sorted(target for target, rows in self.entries.rows.items() if rows.by_key)

    def each_entry(self) -> Iterator[Entry]:
        """Every entry, by target and key."""
        for target in self.targets():
            for _, entry in sorted(self.entries.of(target).by_key.items()):
                yield entry

    def each_fact(self) -> Iterator[Fact]:
        """Every fact, by target and subject."""
        for _, facts in sorted(self.facts.rows.items()):
            for _, fact in sorted(facts.by_subject.items()):
                yield fact


def read_standing(log: Log, codec: Codec, catalogue: Catalogue, target: str | None = None) -> Standing:
    """Read the tables to where they end now.

    Args:
        log: reads topics.
        codec: reads records.
        catalogue: the topics.
        target: only this one; None for all.

    Raises:
        BrokerError: Kafka does not answer, or a topic is missing.
        DecodeError: a row cannot be read; without it everything that is said might be wrong.
        SchemaUnavailableError: the registry is away.
    """
    standing = Standing()
    for entry in _rows(log, codec, Entry, catalogue.entries.name, target):
        standing.entries.of(entry.target).restore(entry)
    for fact in _rows(log, codec, Fact, catalogue.facts.name, target):
        standing.facts.of(fact.target).restore(fact)
    return standing


def _rows(log: Log, codec: Codec, kind: type[R], topic: str, target: str | None) -> Iterator[R]:
    """The rows of a table: of each key the one with the highest position."""
    only = None if target is None else [partition_of(target.encode(), log.partitions(topic))]
    table: Table[R] = Table()
    for raw in log.read(log.spans([topic], partitions=only)):
        row = None
        if raw.value is not None:
            try:
                row = codec.decode(kind, raw.value)
            except DecodeError as error:
                remedy = "Run `peaktime audit verify`; a worker cannot start with it either"
                raise DecodeError(str(raw.place), f"a row of the table cannot be read: {error}", remedy) from error
        table.put(raw.partition, (raw.key or b"").decode(errors="replace"), row)
    for _, row in table.rows.values():
        if target in (None, row.target):
            yield row


def pause_of(entries: Entries) -> Pause | None:
    """Who paused the target of these entries, and why; None while it is not paused."""
    return next((entry.pause for entry in entries.by_key.values() if entry.pause is not None), None)
