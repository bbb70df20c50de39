"""The sink: reads notifications, posts each once, records the delivery, and only then commits.

For: invariant I3. A notification is posted at least once; twice only where a post was under way when the process died
and Slack cannot say whether it arrived. Must not: decide what is told, or lose a message because Slack is away.

Each message goes gather (what is known) → ``decide`` → apply. The one place that tries again is ``_patiently``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from peaktime.errors import BrokerError, DecodeError, PeaktimeError, SchemaUnavailableError
from peaktime.kafka import RIGHTS, unauthorized
from peaktime.metrics import Metrics
from processors.slack.client import THREAD_GONE, Posted, Poster
from processors.slack.errors import RateLimitedError, RefusedError, UnavailableError, UnpostableError
from processors.slack.known import Known, Look, Skip, decide
from processors.slack.log import SinkLog, client_log, client_trouble
from schemas.catalogue import TopicSpec
from schemas.codec import Codec
from schemas.records import Delivery, Notification, NotificationKind

T = TypeVar("T")

#: How far Slack's clock may be behind the log's, when a message is looked for.
_CLOCKS_APART = timedelta(minutes=10)
#: Waits below this are slept through; longer ones keep polling, so that the group does not wait for us.
_SHORT_WAIT = 2.0
_POLL = 0.2
#: Somebody else has the partition now, or soon will; what we did not commit is theirs.
_NOT_OURS = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001  (the library offers no public way)
    KafkaError._STATE,  # noqa: SLF001  (the library offers no public way)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait between tries (seconds).

    Attributes:
        first: before the first repetition; doubled each time.
        longest: at most.
        slow: while token, rights or channel are wrong.
    """

    first: float = 0.5
    longest: float = 30.0
    slow: float = 60.0


class _StoppedError(Exception):
    """The process is to end; what is not committed is for the next one."""


class _RevokedError(Exception):
    """The partitions were given to somebody; what is not committed is theirs."""


class SlackSink:
    """One consumer of the group, which posts.

    Args:
        options: connection of every client (``Settings.confluent_options()``).
        group: consumer group id.
        topic: the topic of notifications.
        codec: decodes notifications.
        poster: where they go.
        log: where deliveries and dead letters are kept.
        metrics: what is counted.
        stop: set to end; what is being posted is finished first.
        consumer_options: further librdkafka options of the consumer; they win.
        patience: how long to wait between tries.
    """

    def __init__(
        self,
        *,
        options: Mapping[str, Any],
        group: str,
        topic: TopicSpec,
        codec: Codec,
        poster: Poster,
        log: SinkLog,
        metrics: Metrics,
        stop: threading.Event,
        consumer_options: Mapping[str, Any] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._topic = topic.name
        self._short = topic.short
        self._codec = codec
        self._poster = poster
        self._sink_log = log
        self._metrics = metrics
        self._stop = stop
        self._patience = patience or Patience()
        self._known = Known()
        self._in_doubt: set[int] = set()
        self._behind = True
        self._epoch = 0
        self._waiting = False
        self._next_post = 0.0
        self._attempts = 0
        self._active = time.monotonic()
        self._log = structlog.get_logger(__name__)
        self._consumer = Consumer(
            {
                **options,
                "client.id": "peaktime-slack-sink",
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "error_cb": client_trouble(),
                **(consumer_options or {}),
            },
            logger=client_log,
        )

    def run(self, until_idle: float | None = None) -> None:
        """Post until stopped.

        Args:
            until_idle: end after so many seconds without a message, once partitions are assigned; None: never.

        Raises:
            BrokerError: Kafka refuses for good.
        """
        self._consumer.subscribe(
            [self._topic],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._revoked,
        )
        try:
            while not self._stop.is_set():
                message = self._consumer.poll(_POLL)
                if message is None:
                    if until_idle is not None and self._epoch and time.monotonic() - self._active > until_idle:
                        break
                    continue
                if self._is_error(message):
                    continue
                try:
                    self._handle(message)
                except _RevokedError:
                    self._log.info("partitions were revoked; the message is left to their next owner")
                self._active = time.monotonic()
        except _StoppedError:
            self._log.info("stopped before the message was posted; it is the first of the next start")
        finally:
            self._consumer.close()
            self._sink_log.close()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._epoch += 1
        self._behind = True
        # Whoever had these partitions before may have died between its post and its record of it.
        self._in_doubt |= {partition.partition for partition in partitions}
        self._active = time.monotonic()
        consumer.assign(partitions)
        if self._waiting:
            consumer.pause(partitions)
        else:
            # Revoked while they were paused, they come back paused.
            consumer.resume(partitions)

    def _revoked(self, consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._epoch += 1
        self._in_doubt.clear()
        consumer.unassign()

    def _is_error(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.fatal():
            raise BrokerError(f"topic {self._topic}", error.str(), "Start the sink again")
        remedy = RIGHTS if unauthorized(error) else ""
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            remedy = "create the topics with `peaktime topics ensure`"
        self._log.warning("reading notifications", error=error.str(), remedy=remedy)
        return True

    def _handle(self, message: Message) -> None:
        """Post one message, record it, commit it."""
        epoch = self._epoch
        self._attempts = 0
        self._metrics.records_read.labels(self._short).inc()
        try:
            notification = self._patiently(lambda: self._read(message), epoch)
            self._deliver(notification, message, epoch)
        except DecodeError as error:
            self._put_aside(message, error, epoch, code=error.code)
        self._patiently(lambda: self._commit(message), epoch)

    def _deliver(self, notification: Notification, message: Message, epoch: int) -> None:
        try:
            posted = self._patiently(lambda: self._attempt(notification, message), epoch)
        except UnpostableError as error:
            self._count("unpostable")
            if notification.kind is NotificationKind.DEAD_LETTER:
                # A dead letter is told by a notification: another one about that would go round for ever.
                self._log.error("a dead letter cannot be told", about=notification.source, error=str(error))
            else:
                self._put_aside(message, error, epoch, code=error.code)
            return
        if posted is not None:
            self._record(notification, posted)

    def _read(self, message: Message) -> Notification:
        if self._behind:
            count = self._sink_log.catch_up(self._known)
            self._behind = False
            self._log.info("deliveries read", new=count, known=len(self._known))
        return self._codec.decode(Notification, message.value())

    def _attempt(self, notification: Notification, message: Message) -> Posted | None:
        """Decide, and do it once: the post that was made or found, None if there was nothing to do."""
        channel = self._poster.open()
        partition = message.partition()
        step = decide(notification, self._known, channel=channel, in_doubt=partition in self._in_doubt)
        if isinstance(step, Skip):
            self._count("skipped")
            return None
        if isinstance(step, Look):
            since = min(notification.decided_at, _appended(message, notification)) - _CLOCKS_APART
            found = self._poster.find(notification.notification_id, step.thread_ts, since)
            self._in_doubt.discard(partition)
            if found is not None:
                self._count("found")
                return Posted(channel=channel, ts=found, thread_ts=step.thread_ts or found)
        return self._post(notification, step.thread_ts, partition)

    def _post(self, notification: Notification, thread_ts: str | None, partition: int) -> Posted:
        # From here until the delivery is recorded nobody else can know about this post.
        self._in_doubt.discard(partition)
        try:
            try:
                posted = self._post_once(notification, thread_ts, plain=False)
            except UnpostableError as error:
                self._log.warning("posted as plain text instead", id=notification.notification_id, error=str(error))
                root = None if error.code in THREAD_GONE else thread_ts
                posted = self._post_once(notification, root, plain=True)
        except UnavailableError as error:
            if error.maybe_posted:
                self._metrics.ambiguous_posts.labels(self._poster.sink).inc()
                self._in_doubt.add(partition)
            raise
        self._count("posted")
        self._metrics.delivery_seconds.observe(max(0.0, (datetime.now(UTC) - notification.decided_at).total_seconds()))
        return posted

    def _post_once(self, notification: Notification, thread_ts: str | None, *, plain: bool) -> Posted:
        pause = self._next_post - time.monotonic()
        if pause > 0 and self._stop.wait(pause):
            raise _StoppedError
        self._attempts += 1
        self._next_post = time.monotonic() + self._poster.interval
        return self._poster.post(notification, thread_ts, plain=plain)

    def _record(self, notification: Notification, posted: Posted) -> None:
        delivery = Delivery(
            notification_id=notification.notification_id,
            thread=notification.thread,
            sink=self._poster.sink,
            channel=posted.channel,
            ts=posted.ts,
            thread_ts=posted.thread_ts,
            delivered_at=_to_milliseconds(datetime.now(UTC)),
            attempts=max(1, self._attempts),
            permalink=self._poster.permalink(posted),
        )
        # Known before it is written: should the partition come back to us at once, it is not posted again.
        self._known.add(delivery)
        self._patiently(lambda: self._sink_log.write(delivery), None)

    def _put_aside(self, message: Message, error: PeaktimeError, epoch: int, *, code: str) -> None:
        self._log.error(
            "a notification is put aside as a dead letter",
            code=code,
            reason=str(error),
            partition=message.partition(),
            offset=message.offset(),
        )
        self._patiently(lambda: self._sink_log.put_aside(message, error, code=code), epoch)
        self._metrics.dead_letters.labels(self._short, code).inc()

    def _commit(self, message: Message) -> None:
        try:
            self._consumer.commit(message=message, asynchronous=False)
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() in _NOT_OURS:
                self._metrics.commits.labels("lost").inc()
                raise _RevokedError from error
            self._metrics.commits.labels("failed").inc()
            raise BrokerError(f"group of topic {self._topic}", cause.str(), "Check that Kafka is up") from error
        self._metrics.commits.labels("done").inc()

    def _patiently(self, step: Callable[[], T], epoch: int | None) -> T:
        """Take a step until it succeeds, or fails in a way that waiting does not mend.

        Args:
            step: raises PeaktimeError if it failed.
            epoch: give up when partitions have changed hands since; None: never.

        Raises:
            DecodeError, UnpostableError: waiting would not help.
        """
        failures = 0
        while True:
            try:
                return step()
            except (DecodeError, UnpostableError):
                raise
            except PeaktimeError as error:
                delay = self._delay(error, failures)
                failures += 1
            self._wait(delay, epoch)

    def _delay(self, error: PeaktimeError, failures: int) -> float:
        if isinstance(error, RateLimitedError):
            self._count("rate-limited")
            self._log.info("rate limited", seconds=error.retry_after)
            return error.retry_after
        if isinstance(error, RefusedError):
            self._count("refused")
            self._log.error("nothing can be posted", error=str(error), tried_again_in=self._patience.slow)
            return self._patience.slow
        if isinstance(error, SchemaUnavailableError):
            self._metrics.schema_waits.inc()
        elif isinstance(error, UnavailableError):
            self._count("unavailable")
        delay = min(self._patience.longest, self._patience.first * 2.0 ** min(failures, 30))
        self._log.warning("tried again", error=str(error), seconds=round(delay, 1), failures=failures + 1)
        return delay * random.uniform(0.8, 1.2)

    def _wait(self, seconds: float, epoch: int | None) -> None:
        """Wait without leaving the group. Raises _StoppedError, and _RevokedError if the epoch is over."""
        if seconds < _SHORT_WAIT:
            if self._stop.wait(seconds):
                raise _StoppedError
            return
        until = time.monotonic() + seconds
        self._waiting = True
        self._consumer.pause(self._consumer.assignment())
        try:
            while (left := until - time.monotonic()) > 0:
                message = self._consumer.poll(min(_POLL, left))
                if message is not None:
                    self._is_error(message)
                if self._stop.is_set():
                    raise _StoppedError
                if epoch is not None and epoch != self._epoch:
                    raise _RevokedError
        finally:
            self._waiting = False
            self._consumer.resume(self._consumer.assignment())

    def _count(self, result: str) -> None:
        self._metrics.deliveries.labels(self._poster.sink, result).inc()


def _appended(message: Message, notification: Notification) -> datetime:
    """When the notification came onto the log, as far as its record says."""
    _, milliseconds = message.timestamp()
    if milliseconds <= 0:
        return notification.decided_at
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _to_milliseconds(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
