"""Why a Kafka client cannot connect, and what to do about it.

For: every client that is not Faust's. librdkafka says "timed out" to the caller, and the reason (a wrong password, an
authority that nobody knows) to a callback only: ``Trouble`` is that callback. Must not: connect, or know a setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError, KafkaException

LOGIN = "Check PEAKTIME_KAFKA_USERNAME, PEAKTIME_KAFKA_PASSWORD and PEAKTIME_KAFKA_SASL_MECHANISM"
TLS = "Check PEAKTIME_KAFKA_CA_FILE, and that the broker's certificate names the host in PEAKTIME_KAFKA_BOOTSTRAP"
RIGHTS = "Give this user the rights that the catalogue states: `peaktime topics ensure --acls`"
_REMEDIES = {
    KafkaError._AUTHENTICATION: LOGIN,  # noqa: SLF001  (its only name)
    KafkaError._SSL: TLS,  # noqa: SLF001  (its only name)
}
_UNAUTHORIZED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
#: A complaint that is older was about something else: what works now may have been refused an hour ago.
_FRESH_SECONDS = 30.0
_TIMING = re.compile(r" \(after \d+ms in state \w+\)")


class Trouble:
    """What a client last complained of. Give it to the client as ``error_cb``.

    Args:
        told: called with what refuses us and what to do, each time that a login or TLS fails.
        also: called with every error, as an ``error_cb`` would be.
    """

    def __init__(
        self,
        told: Callable[[str, str], None] | None = None,
        also: Callable[[KafkaError], None] | None = None,
    ) -> None:
        self._told = told
        self._also = also
        self._last: tuple[float, str, str] | None = None

    def __call__(self, error: KafkaError) -> None:
        """Note an error of the client."""
        remedy = _REMEDIES.get(error.code())
        if error.fatal():
            self._last = (monotonic(), in_words(error), RIGHTS if unauthorized(error) else "Start this program again")
        if remedy is not None:
            self._last = (monotonic(), in_words(error), remedy)
            if self._told is not None:
                self._told(*self._last[1:])
        if self._also is not None:
            self._also(error)

    def explain(self, error: Exception | KafkaError | None, remedy: str, client: Any = None) -> tuple[str, str]:
        """Reason and remedy of an error of the client.

        Args:
            error: what the caller was told.
            remedy: what to do if there is nothing better to say.
            client: asked for what it has not told its callback yet; one with ``poll``.
        """
        cause = error.args[0] if isinstance(error, KafkaException) and error.args else error
        if isinstance(cause, KafkaError) and cause.code() >= 0:
            return in_words(cause), RIGHTS if unauthorized(cause) else remedy
        if client is not None:
            client.poll(0)
        if self._last is not None and monotonic() - self._last[0] < _FRESH_SECONDS:
            return self._last[1:]
        return in_words(cause), remedy


def unauthorized(error: object) -> bool:
    """Whether the broker says that this user may not do that."""
    return isinstance(error, KafkaError) and error.code() in _UNAUTHORIZED


def in_words(error: object) -> str:
    """An error of a client as text, without what differs each time."""
    return _TIMING.sub("", error.str() if isinstance(error, KafkaError) else str(error))
