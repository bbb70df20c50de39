"""The last state of a calendar, as it stands on the bus.

For: the importer, which judges a feed against it. Must not: join a group, commit, or write.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from peaktime.errors import BrokerError
from peaktime.kafka import Trouble, unauthorized
from schemas.catalogue import TopicSpec
from schemas.codec import Codec
from schemas.records import CalendarState

_POLL_SECONDS = 0.5


def last_state(
    options: Mapping[str, Any],
    codec: Codec,
    spec: TopicSpec,
    calendar_id: str,
    timeout: float,
) -> CalendarState | None:
    """The state at the highest position among those on the topic; None if the calendar has none.

    Args:
        options: ``Settings.confluent_options()``.
        codec: reads the records.
        spec: the topic of calendar states.
        calendar_id: whose.
        timeout: seconds for all of it.

    Raises:
        BrokerError: Kafka cannot be reached, lacks the topic, or does not come to its end in time.
        DecodeError: a state cannot be read.
    """
    deadline = monotonic() + timeout
    trouble = Trouble()
    consumer = Consumer(
        {
            **options,
            # Offsets are given and none is committed, so the group is only a name that the client insists on.
            "group.id": f"peaktime-import-{uuid4()}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            # The end of a partition is told after a fetch that found nothing, so that one must not wait.
            "fetch.wait.max.ms": 10,
            "client.id": "peaktime-importer",
            "error_cb": trouble,
        },
        logger=logging.getLogger("peaktime.kafka"),
    )
    try:
        return _read(consumer, codec, spec, calendar_id, deadline)
    except KafkaException as error:
        reason, remedy = trouble.explain(error, "Check that Kafka is up and reachable, and try again", consumer)
        raise BrokerError(f"topic {spec.name} at {options.get('bootstrap.servers', '?')}", reason, remedy) from error
    finally:
        consumer.close()


def _read(consumer: Consumer, codec: Codec, spec: TopicSpec, calendar_id: str, deadline: float) -> CalendarState | None:
    about = consumer.list_topics(spec.name, timeout=max(0.1, deadline - monotonic())).topics[spec.name]
    if unauthorized(about.error):
        raise KafkaException(about.error)
    if about.error is not None or not about.partitions:
        remedy = "Create the topics with `peaktime topics ensure`"
        raise BrokerError(f"topic {spec.name}", "is not there", remedy)
    consumer.assign([TopicPartition(spec.name, number, 0) for number in about.partitions])
    left = set(about.partitions)
    found: CalendarState | None = None
    while left:
        message = consumer.poll(_POLL_SECONDS)
        if message is None:
            if monotonic() > deadline:
                raise BrokerError(f"topic {spec.name}", "could not be read to its end in time", "Try again later")
            continue
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  (its only name)
                left.discard(message.partition())
            elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # which is no matter: no group is joined
                raise KafkaException(error)
        elif message.key() == calendar_id.encode() and message.value() is not None:
            state = codec.decode(CalendarState, message.value())
            if found is None or state.position >= found.position:
                found = state
    return found
