"""Whether Kafka can be reached, for the gateway's readiness.

For: one cheap look at the broker's metadata. Must not: create a topic, or keep a connection that nobody closes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from peaktime.errors import BrokerError
from peaktime.kafka import Trouble
from schemas.catalogue import TopicSpec


class KafkaProbe:
    """Callable that returns if the broker answers and has the topic.

    Args:
        options: ``Settings.confluent_options()``.
        spec: the topic that must be there.
        timeout: seconds that one look may take.
    """

    def __init__(self, options: Mapping[str, Any], spec: TopicSpec, timeout: float = 3.0) -> None:
        self._broker = str(options.get("bootstrap.servers", "?"))
        self._spec = spec
        self._timeout = timeout
        self._trouble = Trouble()
        self._client = AdminClient(
            {
                **options,
                "client.id": "peaktime-probe",
                "reconnect.backoff.max.ms": 1000,
                "error_cb": self._trouble,
            },
            logger=logging.getLogger("peaktime.kafka"),
        )

    def __call__(self) -> None:
        """Look once.

        Raises:
            BrokerError: no broker answered in time, or it has no such topic.
        """
        try:
            # All topics, because asking for one by name may create it.
            topics = self._client.list_topics(timeout=self._timeout).topics
        except KafkaException as error:
            reason, remedy = self._trouble.explain(error, "Check that it is up and reachable", self._client)
            raise BrokerError(f"Kafka at {self._broker}", f"no broker answered: {reason}", remedy) from error
        if self._spec.name not in topics:
            raise BrokerError(f"topic {self._spec.name}", "does not exist", "Create it with `peaktime topics ensure`")
