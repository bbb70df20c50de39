"""The second app: from decisions to messages, and from calendars to requests.

Stateless: it reads the changelogs of the folds and the dead letters, and nothing else. The ids of what it sends are
functions of the decision, so that sending twice is recognised. It must not decide anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from peaktime.core.calendars import requests_of
from peaktime.core.messages import (
    notification_of_dead_letter,
    notifications_of_calendar,
    notifications_of_entry,
    notifications_of_fact,
)
from peaktime.metrics import Metrics
from processors.driver import App
from processors.guard import Guard, Read, header_map
from schemas.catalogue import Catalogue, TopicSpec
from schemas.codec import Codec
from schemas.headers import tells_fate, worker_headers
from schemas.records import CalendarState, Entry, Fact, Notification

#: Of an offset, at most.
_DIGITS = 19


class Announce:
    """The announce app's agents."""

    def __init__(self, app: App, codec: Codec, catalogue: Catalogue, metrics: Metrics, zone: str) -> None:
        """Declare the agents on the app.

        Args:
            app: the announce app, not started.
            codec: reads and writes records.
            catalogue: the topics.
            metrics: where to count.
            zone: zone of the times in messages.
        """
        self._app, self._codec, self._catalogue, self._metrics, self._zone = app, codec, catalogue, metrics, zone
        self._agent(catalogue.entries, Entry, self._entry)
        self._agent(catalogue.facts, Fact, self._fact)
        self._agent(catalogue.calendar_states, CalendarState, self._calendar)
        app.agent(self._topic(catalogue.dead_letters), name="announce-dead-letters")(self._dead_letters)

    def _topic(self, spec: TopicSpec) -> Any:
        return self._app.topic(
            spec.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw",
            partitions=spec.partitions,
        )  # fmt: skip

    def _agent(self, spec: TopicSpec, record: type[Any], handle: Callable[[Read[Any]], None]) -> None:
        guard: Guard[Any] = Guard(
            self._app, self._codec, spec, record,
            dead_letters=self._catalogue.dead_letters.name, stage=f"announce-{spec.short}", metrics=self._metrics,
        )  # fmt: skip

        async def agent(stream: Any) -> None:
            await guard.run(stream, handle)

        self._app.agent(self._topic(spec), name=f"announce-{spec.short}")(agent)

    def _entry(self, read: Read[Entry]) -> None:
        self._tell(notifications_of_entry(read.record, self._decision(self._catalogue.requests, read), self._zone))

    def _fact(self, read: Read[Fact]) -> None:
        self._tell(notifications_of_fact(read.record, self._decision(self._catalogue.outcomes, read), self._zone))

    def _calendar(self, read: Read[CalendarState]) -> None:
        for request in requests_of(read.record):
            value = self._codec.encode(request, self._catalogue.requests.name)
            headers = worker_headers(request, "announce")
            self._app.emit(self._catalogue.requests.name, key=request.target.encode(), value=value, headers=headers)
        self._tell(notifications_of_calendar(read.record, self._decision(self._catalogue.calendars, read), self._zone))

    def _decision(self, spec: TopicSpec, read: Read[Any]) -> str:
        """Where the record stands that the decision was about: rows share their source's partition."""
        return f"{spec.name}/{read.partition}/{read.record.position}"

    async def _dead_letters(self, stream: Any) -> None:
        """Tell of each letter once for each source position: the id is made from that."""
        async for event in stream.events():
            message = event.message
            headers = header_map(message.headers)
            if tells_fate(headers):
                self._app.progress.handled(message.tp, message.offset)
                continue
            said = {name: (value or b"").decode(errors="replace") for name, value in headers.items()}
            number = said.get("__connect.errors.partition", ""), said.get("__connect.errors.offset", "")
            known = all(n.isdecimal() and len(n) <= _DIGITS for n in number)
            notification = notification_of_dead_letter(
                said.get("__connect.errors.topic", message.topic) if known else message.topic,
                int(number[0]) if known else message.partition,
                int(number[1]) if known else message.offset,
                code=said.get("peaktime-reason", ""),
                reason=said.get("__connect.errors.exception.message", ""),
                stage=said.get("peaktime-stage", ""),
                key=(message.key or b"").decode(errors="replace"),
                log_time=datetime.fromtimestamp(message.timestamp, UTC),
            )
            self._tell((notification,))
            self._app.progress.handled(message.tp, message.offset)

    def _tell(self, notifications: tuple[Notification, ...]) -> None:
        for notification in notifications:
            value = self._codec.encode(notification, self._catalogue.notifications.name)
            headers, key = worker_headers(notification, "announce"), notification.thread.encode()
            self._app.emit(self._catalogue.notifications.name, key=key, value=value, headers=headers)
            self._metrics.notifications.labels(kind=notification.kind.lower()).inc()
