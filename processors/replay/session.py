"""One replay from beginning to end: what is read, in which order, and who gets it.

For: ``peaktime replay`` and ``peaktime audit``. It reads and hands on; the judging is in the pure modules beside it.

The ends of the topics are noted in an order that makes every comparison sound while workers go on: first how far the
groups had committed, then the ends of what the worker writes, then those of what it reads. So a row on the log always
comes from a record that is read here, and what a group had committed must be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, cast

from peaktime.core import calendars, outcomes, requests
from peaktime.errors import BrokerError, DecodeError
from processors.replay.compare import (
    Comparison,
    Kind,
    Reach,
    Table,
    calendar_reaches_back,
    entry_reaches_back,
    fact_reaches_back,
)
from processors.replay.findings import Groups, Log, Report, Scope
from processors.replay.forwards import Forwards
from processors.replay.log import (
    LETTER_CODE,
    LETTER_STAGE,
    Offsets,
    Place,
    Raw,
    Span,
    copied_from,
    partition_of,
    place_of_letter,
)
from processors.replay.notices import Notices
from processors.replay.refold import Fate, Refold, Row, Step
from schemas.catalogue import Catalogue, TopicSpec
from schemas.codec import Codec
from schemas.headers import tells_fate
from schemas.records import CalendarState, Delivery, Entry, Fact, Notification

R = TypeVar("R")


class Observer(Protocol):
    """Whoever wants to see each folded record."""

    def __call__(self, step: Step, /) -> None:
        """Take it."""


class Session:
    """One replay.

    Args:
        log: reads topics.
        codec: reads records.
        catalogue: the topics, as the catalogue says.
        groups: whose progress counts.
        scope: what is asked for.
        progress: told the number of offsets to come, once, and then what was read.
    """

    def __init__(
        self,
        log: Log,
        codec: Codec,
        catalogue: Catalogue,
        groups: Groups,
        scope: Scope,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        count = log.partitions(catalogue.requests.name)
        odd = [spec.name for spec in catalogue if log.partitions(spec.name) != count]
        if odd:
            raise BrokerError(
                ", ".join(odd),
                f"not {count} partitions like {catalogue.requests.name}",
                "Mend the topics",
            )
        self._log, self._codec, self._groups, self._scope = log, codec, groups, scope
        self._catalogue = catalogue.with_partitions(count)
        self._only = None if scope.target is None else [partition_of(scope.target.encode(), count)]
        self._progress = progress or (lambda _total, _done: None)
        self._total = 0
        self.report = Report()
        self._letters: dict[Place, str] = {}
        self._told_letters: list[Raw] = []
        self._tables: dict[str, Table[Any]] = {}
        self._heads: dict[tuple[str, int], Span] = {}
        self._cut: dict[tuple[str, int], datetime] = {}
        self._sources = (self._catalogue.requests, self._catalogue.outcomes, self._catalogue.calendars)
        self._changelogs = (self._catalogue.entries, self._catalogue.facts, self._catalogue.calendar_states)
        self._tellings = (self._catalogue.notifications, self._catalogue.deliveries)

    def run(
        self,
        *observers: Observer,
        notifications: Callable[[Raw, Notification], None] | None = None,
        deliveries: Callable[[Raw, Delivery], None] | None = None,
    ) -> Report:
        """Read, fold and compare.

        Args:
            observers: given every folded record, of one partition in order.
            notifications: given every notification, if they are wanted.
            deliveries: given every delivery, after all notifications.

        Raises:
            BrokerError: Kafka does not answer, or a topic is missing.
            SchemaUnavailableError: the registry is away.
        """
        scope, catalogue = self._scope, self._catalogue
        written = [spec.name for spec in (*self._changelogs, catalogue.dead_letters)]
        fold = self._log.committed(self._groups.fold, [spec.name for spec in self._sources])
        announce = self._log.committed(self._groups.announce, written)
        sink = self._log.committed(self._groups.sink, [catalogue.notifications.name])
        telling = scope.notices or notifications is not None or deliveries is not None
        spans = self._spans(
            [*(written if scope.compare else [catalogue.dead_letters.name])],
            everywhere=catalogue.dead_letters.name,
        )
        if telling:
            spans += self._log.spans([catalogue.deliveries.name])
        sources = self._spans([spec.name for spec in self._sources], since=scope.since)
        log_ends = {(span.topic, span.partition): span.end for span in sources}
        if isinstance(scope.until, Offsets):
            sources = scope.until.cut(sources, {spec.name: spec.short for spec in self._sources})
        spans += sources
        if telling:
            spans += self._log.spans([catalogue.notifications.name])
        self.report.spans = spans
        self._total = sum(span.end - span.start for span in spans)
        notices = None
        if scope.notices:
            of_sink = {number: at for (_, number), at in sink.items()}
            notices = Notices(scope.zone, of_sink)
        self._read_letters(spans, notices)
        if scope.compare:
            self._read_tables(spans, log_ends, announce, notices)
        if telling:
            self._read_tellings(spans, notices, notifications, deliveries)
        if notices is not None:
            for letter in self._told_letters:
                at = announce.get((letter.topic, letter.partition), 0)
                notices.letter(letter, reached=letter.offset < at)
        self._fold(spans, fold, notices, observers)
        return self.report

    def _spans(self, topics: list[str], *, since: datetime | None = None, everywhere: str = "") -> list[Span]:
        found = []
        for topic in topics:
            # A dead letter keeps the key that it was found under, so it may be anywhere.
            only = None if topic == everywhere else self._only
            found += self._log.spans([topic], partitions=only, since=since)
        return found

    def _raws(self, spans: list[Span], *specs: TopicSpec) -> Iterable[Raw]:
        names = {spec.name for spec in specs}
        chosen = [span for span in spans if span.topic in names]
        for name in names:
            self.report.records.setdefault(name, 0)
        for raw in self._log.read(chosen, lambda done: self._progress(self._total, done)):
            self.report.records[raw.topic] += 1
            yield raw

    def _decoded(self, record: type[R], raw: Raw) -> R | None:
        """A record of ours; None if it cannot be read, which is noted."""
        try:
            return self._codec.decode(record, cast("bytes", raw.value))
        except DecodeError as error:
            self.report.unreadable.append(f"{raw.place}: {error}")
            return None

    def _read_letters(self, spans: list[Span], notices: Notices | None) -> None:
        stages = {f"fold-{spec.short}": spec.name for spec in self._sources}
        for raw in self._raws(spans, self._catalogue.dead_letters):
            if tells_fate({name for name, _ in raw.headers or ()}):
                continue
            stage, place = raw.header(LETTER_STAGE) or "", place_of_letter(raw)
            if place is not None and stages.get(stage) == place.topic:
                self._letters.setdefault(place, raw.header(LETTER_CODE) or "")
            if notices is not None:
                self._told_letters.append(raw._replace(value=None))
                if place is not None and place.topic == self._catalogue.notifications.name:
                    notices.refused(place)

    def _read_tables(
        self,
        spans: list[Span],
        log_ends: Mapping[tuple[str, int], int],
        announce: Mapping[tuple[str, int], int],
        notices: Notices | None,
    ) -> None:
        sources = dict(zip((spec.name for spec in self._changelogs), self._sources, strict=True))
        kinds: dict[str, type[Row]] = {
            self._catalogue.entries.name: Entry,
            self._catalogue.facts.name: Fact,
            self._catalogue.calendar_states.name: CalendarState,
        }
        self._tables = {name: Table() for name in kinds}
        for raw in self._raws(spans, *self._changelogs):
            row = None if raw.value is None else self._decoded(kinds[raw.topic], raw)
            if row is None and raw.value is not None:
                continue
            table, key = self._tables[raw.topic], (raw.key or b"").decode(errors="replace")
            log_end = log_ends.get((sources[raw.topic].name, raw.partition))
            if row is not None and (impossible := self._impossible(raw.partition, row, log_end)) is not None:
                table.put_impossible(raw.partition, key, row, impossible)
                continue
            table.put(raw.partition, key, row)
            if notices is not None and row is not None and raw.offset >= announce.get((raw.topic, raw.partition), 0):
                notices.waiting(row, str(Place(sources[raw.topic].name, raw.partition, row.position)))

    def _impossible(self, partition: int, row: Row, log_end: int | None) -> Kind | None:
        """Why no worker can have written a row; the end of its log was noted after the end of its table."""
        owner = row.calendar_id if isinstance(row, CalendarState) else row.target
        if partition != partition_of(owner.encode(), self._catalogue.requests.partitions):
            return Kind.MISPLACED
        return Kind.BEYOND if log_end is not None and row.position >= log_end else None

    def _read_tellings(
        self,
        spans: list[Span],
        notices: Notices | None,
        notifications: Callable[[Raw, Notification], None] | None,
        deliveries: Callable[[Raw, Delivery], None] | None,
    ) -> None:
        kept: list[tuple[Raw, Delivery]] = []
        for raw in self._raws(spans, self._catalogue.deliveries):
            if raw.value is None and notices is not None:
                notices.delivery_gone((raw.key or b"").decode(errors="replace"))
            delivery = None if raw.value is None else self._decoded(Delivery, raw)
            if delivery is None:
                continue
            if notices is not None:
                notices.delivery(delivery.notification_id)
            if deliveries is not None:
                kept.append((raw, delivery))
        for raw in self._raws(spans, self._catalogue.notifications):
            notification = self._decoded(Notification, raw)
            if notification is None:
                continue
            if notices is not None:
                notices.notification(raw, notification)
            if notifications is not None:
                notifications(raw, notification)
        if deliveries is not None:
            for raw, delivery in kept:
                deliveries(raw, delivery)

    def _fold(
        self,
        spans: list[Span],
        fold: Mapping[tuple[str, int], int],
        notices: Notices | None,
        observers: tuple[Observer, ...],
    ) -> None:
        refold = Refold(self._codec, self._catalogue, self._letters)
        chosen = [span for span in spans if span.topic in {spec.name for spec in self._sources}]
        starts = {(span.topic, span.partition): span.start for span in chosen}
        ends = {(span.topic, span.partition): span.end for span in chosen}
        worker = dict(fold)
        comparisons: dict[str, Comparison[Any]] = {}
        for spec, changelog in zip(self._sources, self._changelogs, strict=True):
            table = self._tables.get(changelog.name)
            if table is None:
                continue
            for number, newest in table.newest.items():
                worker[spec.name, number] = max(worker.get((spec.name, number), 0), newest + 1)
            refold.seed(table.before(_of(starts, spec.name)))
            comparisons[spec.name] = Comparison(
                table,
                _of(worker, spec.name),
                rules=_RULES[changelog.short],
                reaches_back=_REACHES_BACK[changelog.short],
            )
        self._heads = {(span.topic, span.partition): span for span in chosen if span.trimmed}
        self.report.trimmed = dict.fromkeys(sorted({span.topic for span in chosen if span.low > 0}))
        forwards = Forwards()
        latest = self._scope.until if isinstance(self._scope.until, datetime) else None
        for raw in self._raws(spans, *self._sources):
            place = raw.topic, raw.partition
            if place in self._heads:
                self._begins(raw, self._heads.pop(place))
            if latest is not None and (raw.log_time > latest or raw.offset >= ends[place]):
                ends[place] = min(ends[place], raw.offset)
                continue
            step = refold.take(raw)
            surely = raw.offset < worker.get(place, 0)
            if not surely and step.changes:
                self.report.behind.add(getattr(step.record, "target", ""))
            self._account(step, raw, forwards, surely=surely, committed=raw.offset < fold.get(place, 0))
            if place[0] in comparisons:
                comparisons[place[0]].changed(raw.partition, raw.offset, step.changes)
                if place in self._cut and self._may_come_again(raw, starts[place]):
                    comparisons[place[0]].doubt(step.changes)
            if notices is not None:
                notices.step(step, surely=surely)
            for observe in observers:
                observe(step)
        # A copy may lie beyond the place where somebody wants the reading to end.
        self.report.forwards_missing = forwards.missing() if self._scope.until is None else []
        self.report.entries = {
            entry.key: entry for _, entry in refold.entries() if self._scope.target in (None, entry.target)
        }
        self.report.facts = {
            fact.subject: fact for _, fact in refold.facts() if self._scope.target in (None, fact.target)
        }
        self._finish(refold, comparisons, starts, ends, worker)
        if notices is not None:
            self._judge_leftovers(spans, notices, comparisons, starts, ends)

    def _begins(self, raw: Raw, span: Span) -> None:
        """Note the first record of a partition of which the beginning is gone, or not asked for."""
        self._cut[raw.topic, raw.partition] = raw.log_time
        if span.low > 0:
            first = self.report.trimmed.get(raw.topic)
            self.report.trimmed[raw.topic] = raw.log_time if first is None else max(first, raw.log_time)

    def _may_come_again(self, raw: Raw, start: int) -> bool:
        """Whether a record may be one that came before the beginning, too: a retry, or a copy of it."""
        if raw.log_time - self._cut[raw.topic, raw.partition] <= _RETRIED_FOR:
            return True
        origin = copied_from(raw)
        return origin is not None and origin[:2] == raw.place[:2] and origin.offset < start

    def _account(self, step: Step, raw: Raw, forwards: Forwards, *, surely: bool, committed: bool) -> None:
        if step.topic == self._catalogue.requests.short:
            self.report.accounts.count(step.fate, reached=surely)
        forwards.copy(raw)
        # A row on the log says that its record was folded; only a commit says that letters and copies are there too.
        if not committed:
            return
        if step.fate is Fate.DEAD_LETTERED and step.place not in self._letters:
            self.report.letters_missing.append(f"{step.place}: {step.code}: {step.reason}")
        if step.fate is Fate.FORWARDED and self._only is None:
            forwards.misplaced(step.place)

    def _finish(
        self,
        refold: Refold,
        comparisons: Mapping[str, Comparison[Any]],
        starts: Mapping[tuple[str, int], int],
        ends: Mapping[tuple[str, int], int],
        worker: Mapping[tuple[str, int], int],
    ) -> None:
        if not comparisons:
            return
        finals: dict[str, Mapping[str, Row]] = {
            self._catalogue.entries.short: {entry.key: entry for _, entry in refold.entries()},
            self._catalogue.facts.short: {fact.subject: fact for _, fact in refold.facts()},
            self._catalogue.calendar_states.short: {state.calendar_id: state for _, state in refold.calendars()},
        }
        for spec, changelog in zip(self._sources, self._changelogs, strict=True):
            reaches = {
                number: Reach(start=start, end=ends[topic, number], worker=worker.get((topic, number), 0))
                for (topic, number), start in starts.items()
                if topic == spec.name
            }
            result = comparisons[spec.name].finish(reaches, finals[changelog.short].get)
            self.report.tables[changelog.short] = result

    def _judge_leftovers(
        self,
        spans: list[Span],
        notices: Notices,
        comparisons: Mapping[str, Comparison[Any]],
        starts: Mapping[tuple[str, int], int],
        ends: Mapping[tuple[str, int], int],
    ) -> None:
        mine = [span for span in spans if span.topic == self._catalogue.notifications.name]
        if notices.leftovers:
            for raw in self._log.read(mine):
                notification = self._decoded(Notification, raw)
                if notification is not None:
                    notices.leftover(notification, starts, ends)

        def judged(subject: str) -> bool:
            return any(found.is_equal(subject.removeprefix("calendar/")) for found in comparisons.values())

        since = {
            (spec.name, number): position
            for spec, changelog in zip(self._sources, self._changelogs, strict=True)
            if changelog.name in self._tables
            for number, position in self._tables[changelog.name].since(_RULES[changelog.short]).items()
        }
        complete = not any(span.trimmed for span in mine)
        self.report.notices = notices.finish(starts, judged, since, complete=complete)


def _of(values: Mapping[tuple[str, int], int], topic: str) -> dict[int, int]:
    return {number: value for (name, number), value in values.items() if name == topic}


#: Nobody sends a request again after so long; what came in that time after the beginning may be known from before.
_RETRIED_FOR = timedelta(days=1)
_RULES = {"entries": requests.RULES, "facts": outcomes.RULES, "calendar-states": calendars.RULES}
_REACHES_BACK: dict[str, Any] = {
    "entries": entry_reaches_back,
    "facts": fact_reaches_back,
    "calendar-states": calendar_reaches_back,
}
