"""A log in memory, and a worker as far as topics show it, for the tests of what reads the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from peaktime.core.calendars import requests_of
from peaktime.errors import BrokerError
from processors.replay.log import FORWARDED_FROM, Raw, Span, partition_of
from processors.replay.notices import expected_of, expected_of_letter
from processors.replay.refold import Fate, Refold
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import CalendarState, Delivery, Notification

PARTITIONS = 4
CATALOGUE = load_catalogue("peaktime.").with_partitions(PARTITIONS)
CODEC = Codec()
START = datetime(2026, 5, 1, tzinfo=UTC)


class MemoryLog:
    """Topics as lists; what a session asks of Kafka."""

    def __init__(self):
        self.topics = {spec.name: [[] for _ in range(PARTITIONS)] for spec in CATALOGUE}
        self.lows = {}
        self.commits = {}
        self.clock = START

    def put(self, topic, key, value, *, partition=None, headers=None, at=None):
        self.clock += timedelta(seconds=1)
        number = partition_of(key, PARTITIONS) if partition is None else partition
        part = self.topics[topic][number]
        millis = int((at or self.clock).timestamp() * 1000)
        part.append(Raw(topic, number, len(part), millis, key, value, headers))
        return part[-1]

    def send(self, record, *, spec=CATALOGUE.requests, **where):
        key = getattr(record, "calendar_id", None) or record.target
        return self.put(spec.name, where.pop("key", key).encode(), CODEC.encode(record, spec.name), **where)

    def partitions(self, topic):
        if topic not in self.topics:
            raise BrokerError(topic, "is not there", "Create it")
        return len(self.topics[topic])

    def spans(self, topics, *, partitions=None, since=None):
        found = []
        for topic in topics:
            for number, part in enumerate(self.topics[topic]):
                if partitions is not None and number not in partitions:
                    continue
                low = start = self.lows.get((topic, number), 0)
                if since is not None:
                    start = next((r.offset for r in part if r.log_time >= since), len(part))
                found.append(Span(topic=topic, partition=number, start=max(start, low), end=len(part), low=low))
        return found

    def committed(self, group, topics):
        return {
            (topic, number): at
            for (name, topic, number), at in self.commits.items()
            if name == group and topic in set(topics)
        }

    def read(self, spans, progress=None):
        for span in spans:
            for record in self.topics[span.topic][span.partition][span.start : span.end]:
                if record is not None:
                    yield record
            if progress is not None:
                progress(span.end - span.start)

    def commit(self, group, *specs):
        for spec in specs:
            for number, part in enumerate(self.topics[spec.name]):
                self.commits[group, spec.name, number] = len(part)

    def find(self, topic, wanted):
        """The records of a topic that the function wants."""
        return [r for part in self.topics[topic] for r in part if r is not None and wanted(r)]


class PretendWorker:
    """Writes what a worker would write: rows, letters, copies, calendars' requests, notifications, deliveries."""

    def __init__(self, log):
        self.log = log
        self.refold = Refold(CODEC, CATALOGUE)
        self.done = {}
        self.sources = (CATALOGUE.requests, CATALOGUE.outcomes, CATALOGUE.calendars)
        self.rows = dict(
            zip(
                ("requests", "outcomes", "calendars"),
                (CATALOGUE.entries, CATALOGUE.facts, CATALOGUE.calendar_states),
                strict=True,
            ),
        )

    def _new(self, spec):
        for number, part in enumerate(self.log.topics[spec.name]):
            at = self.done.get((spec.name, number), 0)
            self.done[spec.name, number] = len(part)
            yield from part[at:]

    def fold(self):
        """Fold everything there is."""
        for _ in range(3):
            for spec in self.sources:
                for raw in list(self._new(spec)):
                    self._take(raw)
        self.log.commit("peaktime-fold", *self.sources)

    def _take(self, raw):
        step = self.refold.take(raw)
        for key, row in step.changes.items():
            spec = self.rows[step.topic]
            value = None if row is None else CODEC.encode(row, spec.name)
            self.log.put(spec.name, key.encode(), value, partition=raw.partition)
            if isinstance(row, CalendarState):
                for request in requests_of(row):
                    self.log.send(request)
        if step.fate is Fate.FORWARDED:
            headers = [*(raw.headers or []), (FORWARDED_FROM, str(raw.place).encode())]
            self.log.put(raw.topic, step.record.target.encode(), raw.value, headers=headers)
        if step.fate is Fate.DEAD_LETTERED:
            said = {
                "__connect.errors.topic": raw.topic,
                "__connect.errors.partition": str(raw.partition),
                "__connect.errors.offset": str(raw.offset),
                "__connect.errors.exception.message": step.reason,
                "peaktime-stage": f"fold-{step.topic}",
                "peaktime-reason": step.code,
            }
            headers = [(name, text.encode()) for name, text in said.items()]
            self.log.put(CATALOGUE.dead_letters.name, raw.key, raw.value, headers=headers)

    def announce(self):
        """Tell everything there is to tell."""
        of = {row.name: source.name for source, row in zip(self.sources, self.rows.values(), strict=True)}
        for spec in self.rows.values():
            for raw in list(self._new(spec)):
                if raw.value is not None:
                    row = CODEC.decode(spec.record, raw.value)
                    self._tell(expected_of(row, f"{of[spec.name]}/{raw.partition}/{row.position}", "Asia/Seoul"))
        for raw in list(self._new(CATALOGUE.dead_letters)):
            self._tell([expected_of_letter(raw)])
        self.log.commit("peaktime-announce", *self.rows.values(), CATALOGUE.dead_letters)

    def _tell(self, notifications):
        spec = CATALOGUE.notifications
        for notification in notifications:
            self.log.put(spec.name, notification.thread.encode(), CODEC.encode(notification, spec.name))

    def deliver(self):
        """Deliver every notification."""
        for raw in list(self._new(CATALOGUE.notifications)):
            told = CODEC.decode(Notification, raw.value)
            delivery = Delivery(
                notification_id=told.notification_id, thread=told.thread, sink="slack", channel="C1", ts="1.2",
                thread_ts="1.2", delivered_at=raw.log_time, permalink=f"https://slack.test/{told.notification_id[:6]}",
            )  # fmt: skip
            spec = CATALOGUE.deliveries
            self.log.put(spec.name, told.notification_id.encode(), CODEC.encode(delivery, spec.name))
        self.log.commit("peaktime-slack-sink", CATALOGUE.notifications)

    def work(self):
        """All of it."""
        self.fold()
        self.announce()
        self.deliver()
