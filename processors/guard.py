"""One guard around each event: whatever comes, it is understood, forwarded once, or kept as a dead letter.

Nothing is ever raised out of an agent, since Faust would acknowledge the event and forget it. A guard does not know
what the record means.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import structlog
from aiokafka.partitioner import murmur2

from peaktime.errors import DecodeError, SchemaUnavailableError
from peaktime.metrics import Metrics
from processors.driver import App, die
from schemas.catalogue import TopicSpec
from schemas.codec import Codec
from schemas.headers import (
    CONNECT,
    LETTER_REASON,
    LETTER_STAGE,
    LETTER_TOPIC,
    REDRIVE_ROUND,
)

log = structlog.get_logger(__name__)

R = TypeVar("R")

#: Header of a forwarded record: where it was found.
FORWARDED_FROM = "peaktime-forwarded-from"
#: What the broker counts beside the value and the headers of a record, generously.
_FRAME_BYTES = 16 * 1024
#: Seconds between two questions to a registry that is away: when it is back, what waited is caught up soon.
_LONGEST_WAIT = 5.0


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as the Java client, Faust and librdkafka's murmur2_random choose it."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def header_map(headers: Any) -> dict[str, bytes]:
    """The headers of a message, by name."""
    if not headers:
        return {}
    return dict(headers.items() if isinstance(headers, Mapping) else headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Generic[R]):
    """A record that was understood, with its place and time on the log."""

    record: R
    partition: int
    position: int
    log_time: datetime
    source: str


class Guard(Generic[R]):
    """Reads the events of one topic.

    Attributes:
        app: the app whose agent it guards.
        spec: the topic.
        record: the class of its values.
        dead_letters: name of the topic for what cannot be understood.
        stage: name of the agent, for people who look at a dead letter.
        key_of: the key that a record must have; None if it may have any.
    """

    def __init__(
        self,
        app: App,
        codec: Codec,
        spec: TopicSpec,
        record: type[R],
        *,
        dead_letters: str,
        stage: str,
        metrics: Metrics,
        key_of: Callable[[R], str] | None = None,
    ) -> None:
        self.app, self.codec, self.spec, self.record = app, codec, spec, record
        self.dead_letters, self.stage, self.metrics, self.key_of = dead_letters, stage, metrics, key_of

    async def run(self, stream: Any, handle: Callable[[Read[R]], None]) -> None:
        """Handle every event of an agent's stream, in order, and say when each is done.

        Args:
            stream: the agent's stream of raw bytes.
            handle: what to do with a record; synchronous, so that nothing comes between reading and writing.
        """
        async for event in stream.events():
            message = event.message
            if self._ours(message):
                self.metrics.records_read.labels(topic=self.spec.short).inc()
            while self._ours(message):
                if await self._handled(message, handle):
                    self.app.progress.handled(message.tp, message.offset)

    async def _handled(self, message: Any, handle: Callable[[Read[R]], None]) -> bool:
        """Whether something became of a record; not if its schema must be asked for again."""
        try:
            if not await self._schema_known(message):
                return False
            try:
                read = self._read(message)
            except SchemaUnavailableError:
                # That the registry does not know it was forgotten this very moment.
                return False
            if read is not None:
                handle(read)
        except Exception as error:
            log.exception("a record could not be handled", topic=message.topic, offset=message.offset)
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._bury(message, "internal", f"{error!r} at {where.name}:{where.lineno}", type(error).__name__)
        return True

    def _ours(self, message: Any) -> bool:
        """Whether it is this record's turn, in a partition that is ours."""
        return self.app.progress.is_next(message.tp, message.offset) and message.tp in self.app.consumer.assignment()

    async def _schema_known(self, message: Any) -> bool:
        """Wait for the schema of a record while the registry is away, which is not the record's fault.

        Returns:
            Whether it is still this record's turn: waiting may take long, and the partition may be another's by now.
        """
        if REDRIVE_ROUND in header_map(message.headers):
            # Somebody sent it again because something was mended: what was not known then may be known now.
            self.codec.forget_unknown(message.value)
        if self.codec.ready(message.value):
            return True
        wait = 0.2
        waiting = False
        try:
            while not self.codec.ready(message.value):
                try:
                    await asyncio.to_thread(self.codec.learn, message.value)
                except SchemaUnavailableError as error:
                    if not waiting:
                        waiting = True
                        self.metrics.schema_waiting.inc()
                    self.metrics.schema_waits.inc()
                    log.warning("waiting for the schema registry", stage=self.stage, reason=str(error), again_in=wait)
                    await asyncio.sleep(wait)
                    wait = min(wait * 2, _LONGEST_WAIT)
                    if not self._ours(message):
                        return False
        finally:
            if waiting:
                self.metrics.schema_waiting.dec()
        if waiting:
            log.info("the schema registry answers again", stage=self.stage)
        return self._ours(message)

    def _read(self, message: Any) -> Read[R] | None:
        if message.value is None:
            if "compact" not in self.spec.cleanup:
                self._bury(message, "empty", "the record has no value", "DecodeError")
            return None
        try:
            record = self.codec.decode(self.record, message.value)
        except DecodeError as error:
            self._bury(message, error.code, str(error), type(error).__name__)
            return None
        if self.key_of is not None and not self._placed(message, self.key_of(record)):
            return None
        return Read(
            record=record,
            partition=message.partition,
            position=message.offset,
            log_time=datetime.fromtimestamp(message.timestamp, UTC),
            source=f"{message.topic}/{message.partition}/{message.offset}",
        )

    def _placed(self, message: Any, key: str) -> bool:
        """Whether the record is where its key belongs; if not it is sent there, once."""
        right_key = key.encode()
        right = partition_of(right_key, self.spec.partitions)
        if message.key == right_key and message.partition == right:
            return True
        headers = header_map(message.headers)
        if FORWARDED_FROM in headers:
            reason = f"the record belongs under key {key!r} in partition {right} and was forwarded once already"
            self._bury(message, "misplaced", reason, "Misplaced")
            return False
        headers[FORWARDED_FROM] = f"{message.topic}/{message.partition}/{message.offset}".encode()
        size = len(message.value) + sum(len(name) + len(value or b"") for name, value in headers.items())
        if size > self.spec.max_message_bytes - _FRAME_BYTES:
            reason = f"the record belongs under key {key!r} in partition {right} and is too large to be forwarded"
            self._bury(message, "misplaced", reason, "Misplaced")
            return False
        log.warning(
            "forwarded a misplaced record",
            topic=message.topic,
            offset=message.offset,
            key=key,
            partition=right,
        )
        self.metrics.forwarded.labels(topic=self.spec.short).inc()
        self.app.emit(message.topic, key=right_key, value=message.value, headers=headers, partition=right)
        return False

    def _bury(self, message: Any, code: str, reason: str, kind: str) -> None:
        headers = header_map(message.headers)
        headers |= {
            LETTER_TOPIC: message.topic.encode(),
            f"{CONNECT}partition": str(message.partition).encode(),
            f"{CONNECT}offset": str(message.offset).encode(),
            f"{CONNECT}exception.class.name": kind.encode(),
            f"{CONNECT}exception.message": reason.encode(errors="replace")[:1000],
            LETTER_STAGE: self.stage.encode(),
            LETTER_REASON: code.encode(),
        }
        # Kafka's client takes no record without both: an empty key stands for none.
        key = b"" if message.key is None and message.value is None else message.key
        log.warning("dead letter", topic=message.topic, offset=message.offset, code=code, reason=reason)
        self.metrics.dead_letters.labels(topic=self.spec.short, code=code).inc()
        self.app.emit(self.dead_letters, key=key, value=message.value, headers=headers)


def bound_to_log(newest: int, end: int, *, topic: str, partition: int) -> None:
    """Stop if what was folded lies beyond the end of the log: the topic was made anew.

    Args:
        newest: the highest position that was folded, -1 for none.
        end: the log's end offset.
        topic: the topic's name.
        partition: the partition.
    """
    if newest >= end:
        die(
            "what was folded lies beyond the end of its log, so the topic was deleted and made anew",
            topic=topic,
            partition=partition,
            folded=newest,
            end=end,
        )
