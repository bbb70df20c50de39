"""All topics as one stream of records, for the demo to look at.

For: a plain consumer without a group, so that it disturbs nobody. Must not: write, commit, or know what a record means.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from peaktime.errors import BrokerError, DecodeError
from schemas.catalogue import Catalogue
from schemas.codec import Codec

_BATCH = 500
_PATIENCE = 10.0
_quiet = logging.getLogger("peaktime.demo.kafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One record as it stands on its topic.

    Attributes:
        topic: short name in the catalogue, e.g. ``entries``.
        partition: where it stands.
        offset: where it stands.
        key: its key as text.
        record: the typed record; None for a tombstone, for raw bytes, and for what cannot be read.
        headers: as text.
        unreadable: why it cannot be read; empty if it can.
    """

    topic: str
    partition: int
    offset: int
    key: str = ""
    record: Any = None
    headers: Mapping[str, str]
    unreadable: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        return self.partition, self.offset


class TopicReader:
    """Reads every topic of the catalogue from its beginning.

    Args:
        options: ``Settings.confluent_options()``.
        catalogue: the topics.
        codec: decodes them.
    """

    def __init__(self, options: Mapping[str, Any], catalogue: Catalogue, codec: Codec) -> None:
        self._catalogue, self._codec = catalogue, codec
        self._consumer = Consumer(
            {
                **options,
                "group.id": f"peaktime-demo-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            },
            logger=_quiet,
        )
        known = self._consumer.list_topics(timeout=_PATIENCE).topics
        self._partitions = [
            TopicPartition(spec.name, number, OFFSET_BEGINNING)
            for spec in catalogue
            for number in known[spec.name].partitions
        ]
        self._consumer.assign(self._partitions)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._consumer.close()

    def poll(self, seconds: float) -> list[Seen]:
        """What came since the last time, waiting at most so long for the first of it.

        Raises:
            BrokerError: the broker is gone.
        """
        # A consume() for many would wait for many: the first is waited for alone.
        first = self._consumer.consume(1, seconds)
        messages = [*first, *self._consumer.consume(_BATCH, 0)] if first else []
        return [self._seen(message) for message in messages]

    def read_to_ends(self) -> list[Seen]:
        """Everything that the topics hold at this moment, each partition in order.

        Raises:
            BrokerError: that cannot be read.
        """
        ends = {}
        for one in self._partitions:
            low, high = self._consumer.get_watermark_offsets(one, timeout=_PATIENCE)
            if high > low:
                ends[one.topic, one.partition] = high
        found: list[Seen] = []
        deadline = time.monotonic() + _PATIENCE
        while ends:
            if time.monotonic() > deadline:
                raise BrokerError("the topics", "cannot be read to their ends", "Run the demo again")
            for message in self._consumer.consume(_BATCH, 0.1):
                found.append(self._seen(message))
                place = message.topic(), message.partition()
                if place in ends and message.offset() + 1 >= ends[place]:
                    del ends[place]
        return found

    def _seen(self, message: Message) -> Seen:
        if message.error() is not None:
            raise BrokerError("the embedded broker", message.error().str(), "Run the demo again")
        spec = self._catalogue.by_name(message.topic())
        if spec is None:
            raise KafkaException(f"a topic that was not asked for: {message.topic()}")
        record, unreadable = None, ""
        if spec.record is not None and message.value() is not None:
            try:
                record = self._codec.decode(spec.record, message.value())
            except DecodeError as error:
                unreadable = str(error)
        return Seen(
            topic=spec.short,
            partition=message.partition(),
            offset=message.offset(),
            key=_text(message.key()),
            record=record,
            headers={name: _text(value) for name, value in message.headers() or ()},
            unreadable=unreadable,
        )


def _text(value: bytes | str | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
