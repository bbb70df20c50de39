"""The three folding agents: requests → entries, outcomes → facts, snapshots → calendar states.

Each has one kind of output, its table's changelog. They ask nobody: no network, no clock, no configuration. What a
record means is decided in ``peaktime.core``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from peaktime.core.calendars import fold_snapshot
from peaktime.metrics import Metrics
from processors.driver import App
from processors.fold.rows import CalendarRows, EntryRows, FactRows
from processors.guard import Guard, Read, bound_to_log
from schemas.catalogue import Catalogue, TopicSpec
from schemas.codec import Codec
from schemas.headers import worker_headers
from schemas.records import CalendarSnapshot, Outcome, ScaleRequest


class Told(Protocol):
    """Who is told of whatever was folded, at once."""

    def __call__(self, target: str, *, entries: Iterable[str] = (), facts: Iterable[str] = ()) -> None:
        """Something was folded.

        Args:
            target: the target.
            entries: keys of the entries that changed.
            facts: keys of the entries about which facts changed.
        """


class Folds:
    """The fold app's tables and agents.

    Attributes:
        entries: what was asked for.
        facts: what was reported.
        calendars: what the feeds say.
        told: who is told of what was folded.
    """

    def __init__(self, app: App, codec: Codec, catalogue: Catalogue, metrics: Metrics) -> None:
        """Declare the tables and agents on the app.

        Args:
            app: the fold app, not started.
            codec: reads and writes records.
            catalogue: the topics.
            metrics: where to count.
        """
        self._app, self._codec, self._catalogue, self._metrics = app, codec, catalogue, metrics
        self.told: list[Told] = []
        self.entries = EntryRows(codec, catalogue.entries.name)
        self.facts = FactRows(codec, catalogue.facts.name)
        self.calendars = CalendarRows(codec, catalogue.calendar_states.name)
        self._entry_table = self._table(catalogue.entries, self.entries)
        self._fact_table = self._table(catalogue.facts, self.facts)
        self._calendar_table = self._table(catalogue.calendar_states, self.calendars)
        self._agent(catalogue.requests, ScaleRequest, lambda r: r.target, self._request)
        self._agent(catalogue.outcomes, Outcome, lambda o: o.target, self._outcome)
        self._agent(catalogue.calendars, CalendarSnapshot, lambda s: s.calendar_id, self._snapshot)
        app.takeovers.append(self._check_logs)

    def _topic(self, spec: TopicSpec, **options: Any) -> Any:
        return self._app.topic(
            spec.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw",
            partitions=spec.partitions, **options,
        )  # fmt: skip

    def _table(self, spec: TopicSpec, keeper: Any) -> Any:
        return self._app.Table(
            spec.short, partitions=spec.partitions, changelog_topic=self._topic(spec, compacting=True),
            key_type=bytes, value_type=bytes, keeper=keeper,
        )  # fmt: skip

    def _agent(self, spec: TopicSpec, record: type[Any], key_of: Callable[[Any], str], handle: Any) -> None:
        guard: Guard[Any] = Guard(
            self._app, self._codec, spec, record,
            dead_letters=self._catalogue.dead_letters.name, stage=f"fold-{spec.short}", metrics=self._metrics,
            key_of=key_of,
        )  # fmt: skip

        async def agent(stream: Any) -> None:
            await guard.run(stream, handle)

        self._app.agent(self._topic(spec), name=f"fold-{spec.short}")(agent)

    def _request(self, read: Read[ScaleRequest]) -> None:
        changes = self.entries.of(read.partition, read.record.target).fold(read.record, read.position, read.log_time)
        if not changes:
            self._metrics.redelivered.labels(topic="requests").inc()
            return
        for key, entry in changes.items():
            self._write(self._entry_table, self._catalogue.entries, read.partition, key, entry)
            if entry is not None:
                self._metrics.verdicts.labels(verdict=entry.verdict.kind.lower()).inc()
        self._tell(read.record.target, entries=changes)

    def _outcome(self, read: Read[Outcome]) -> None:
        changes = self.facts.of(read.partition, read.record.target).fold(read.record, read.position, read.log_time)
        for subject, fact in changes.items():
            self._write(self._fact_table, self._catalogue.facts, read.partition, subject, fact)
        if changes:
            about = {fact.outcome.entry for fact in changes.values() if fact is not None}
            self._tell(read.record.target, facts=about)

    def _tell(self, target: str, *, entries: Iterable[str] = (), facts: Iterable[str] = ()) -> None:
        for told in self.told:
            told(target, entries=entries, facts=facts)

    def _snapshot(self, read: Read[CalendarSnapshot]) -> None:
        before = self.calendars.get(read.partition, read.record.calendar_id)
        state = fold_snapshot(before, read.record, read.position, read.log_time)
        if state is None or state is before:
            return
        self.calendars.put(read.partition, state)
        self._write(self._calendar_table, self._catalogue.calendar_states, read.partition, state.calendar_id, state)

    def _write(self, table: Any, spec: TopicSpec, partition: int, key: str, row: Any) -> None:
        if row is None:
            table.write(partition, key.encode(), None)
            return
        headers = worker_headers(row, "fold")
        table.write(partition, key.encode(), self._codec.encode(row, spec.name), headers)

    async def _check_logs(self) -> None:
        """Stop if a topic was made anew below what was folded: its positions would be taken for redeliveries."""
        logs = (
            (self._catalogue.requests.name, self.entries),
            (self._catalogue.outcomes.name, self.facts),
            (self._catalogue.calendars.name, self.calendars),
        )
        for topic, rows in logs:
            tps = [tp for tp in self._app.consumer.assignment() if tp.topic == topic]
            ends = await self._app.consumer.highwaters(*tps) if tps else {}
            for tp, end in ends.items():
                bound_to_log(rows.newest(tp.partition), end or 0, topic=topic, partition=tp.partition)
