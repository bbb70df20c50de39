"""Every deviation from stock Faust, in one place.

Stock Faust commits what was acknowledged inside the process, whether or not the state that followed from it reached
the log, and it keeps a table's rows after a rebalance took their partition away. Here

* an offset is committed only if everything delivered up to it was handled by a guard, in order of delivery, and the
  table and output records that followed are acknowledged (the barrier); if they are not within half a session, the
  process ends without committing;
* a table keeps nothing itself: it feeds a ``Keeper``, which is emptied on revocation and rebuilt on assignment;
* ``Ownership`` tells whether this process may act on a partition right now.

It must not know what is folded, nor talk to anything but Kafka.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faust
import structlog
from aiokafka.errors import GroupAuthorizationFailedError, IllegalStateError, TopicAuthorizationFailedError
from faust.tables import TableManager
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as stock
from faust.types import TP

from peaktime.kafka import RIGHTS

log = structlog.get_logger(__name__)

#: Exit status of a process that ended itself to be safe; whoever runs it starts it again.
EXIT_UNSAFE = 70
_LONGEST_FETCH = 0.25
_REFUSED = (GroupAuthorizationFailedError, TopicAuthorizationFailedError)
_TURN, _TURNS = 0.002, 50
#: Of one fetch, so that a backlog of the largest records costs no more memory than one of small ones. Stock: 50 MiB.
_FETCH_BYTES = 2 * 1024 * 1024


def die(reason: str, **details: object) -> None:
    """End this process at once, without committing: what was not committed is delivered again."""
    try:
        log.critical("worker ends itself", reason=reason, next="it is safe to start it again", **details)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # In a signal's handler a stream may be busy; the end must not hang on that.
        os._exit(EXIT_UNSAFE)


class Failpoints(Protocol):
    """Places at which tests make a process fail. The default does nothing."""

    def hit(self, name: str) -> None:
        """Called at the place of that name."""

    def stall(self) -> float:
        """Seconds by which a table's record is held back before it is sent."""

    @property
    def barrier(self) -> bool:
        """Whether commits wait for what they cover."""


class NoFailpoints:
    """Production: nothing fails on purpose."""

    barrier = True

    def hit(self, name: str) -> None:
        """Do nothing."""

    def stall(self) -> float:
        """Hold nothing back."""
        return 0.0


class Progress:
    """What was delivered and what was handled, for each partition, in order of delivery.

    Offsets have holes (compaction, transaction markers), so what can be committed follows from the order of delivery
    and not from counting.
    """

    def __init__(self) -> None:
        self._delivered: dict[TP, deque[tuple[int, float]]] = {}
        self._committable: dict[TP, int] = {}

    def reset(self, tps: Iterable[TP]) -> None:
        """Forget these partitions: they were revoked, or reading starts again from what was committed."""
        for tp in tps:
            self._delivered.pop(tp, None)
            self._committable.pop(tp, None)

    def clear(self) -> None:
        """Forget everything."""
        self.reset([*self._delivered, *self._committable])

    def delivered(self, tp: TP, offset: int) -> None:
        """A record is on its way to its agent."""
        self._delivered.setdefault(tp, deque()).append((offset, time.monotonic()))

    def is_next(self, tp: TP, offset: int) -> bool:
        """Whether a record is the next to be handled.

        One that is not was left in a queue from before a rebalance or a seek: it comes again in its turn.
        """
        waiting = self._delivered.get(tp)
        return waiting is not None and len(waiting) > 0 and waiting[0][0] == offset

    def handled(self, tp: TP, offset: int) -> None:
        """A guard is done with the next record."""
        if self.is_next(tp, offset):
            self._delivered[tp].popleft()
            self._committable[tp] = offset + 1

    def committable(self) -> dict[TP, int]:
        """By partition, the offset up to which everything delivered was handled."""
        return dict(self._committable)

    def passed(self, tp: TP, offset: int) -> bool:
        """Whether everything delivered up to and with this offset was handled."""
        return self._committable.get(tp, 0) > offset

    def oldest_wait(self, now: float) -> float:
        """Seconds that the longest waiting record has been delivered and not handled."""
        return max((now - waiting[0][1] for waiting in self._delivered.values() if waiting), default=0.0)

    def idle(self, tp: TP) -> bool:
        """Whether nothing delivered is unhandled."""
        return not self._delivered.get(tp)


class Barrier:
    """The sends that must be on the log before a commit may cover what they follow from."""

    def __init__(self) -> None:
        self._pending: list[asyncio.Future[Any]] = []

    def track(self, future: asyncio.Future[Any]) -> None:
        """Hold the next commit until this send is acknowledged."""
        self._pending.append(future)

    async def settle(self, timeout: float) -> None:  # noqa: ASYNC109  (the signature is given)
        """Wait for all sends so far; end the process if one failed or takes longer than this many seconds."""
        if not self._pending:
            return
        # They are kept until they are done: whoever waits may be cancelled, and the next commit waits for them anew.
        _, late = await asyncio.wait([*self._pending], timeout=timeout)
        if late:
            die("records were not acknowledged in time", waiting=len(late), seconds=timeout)
        done = [future for future in self._pending if future.done()]
        self._pending = [future for future in self._pending if not future.done()]
        for future in done:
            if future.exception() is not None:
                die("a record could not be sent", error=repr(future.exception()))


class Ownership:
    """Whether this process may act on a partition: it is assigned, recovered, read to its end, and not cut off."""

    def __init__(self, session: float) -> None:
        self._session = session
        self._ends: dict[int, dict[TP, int]] = {}
        self._caught_up: set[tuple[int, frozenset[str]]] = set()
        self._heard = 0.0
        self._rebalancing = True

    def heard(self) -> None:
        """The group's coordinator answered: it still counts on us."""
        self._heard = time.monotonic()

    def revoked(self) -> None:
        """All partitions are gone until they are assigned again."""
        self._rebalancing = True
        self._ends.clear()
        self._caught_up.clear()

    def assigned(self, ends: Mapping[TP, int]) -> None:
        """The state of these partitions is rebuilt; their ends as seen now."""
        self._ends.clear()
        self._caught_up.clear()
        for tp, end in ends.items():
            self._ends.setdefault(tp.partition, {})[tp] = end
        self._rebalancing = False
        self.heard()

    @property
    def settled(self) -> bool:
        """Whether this process has taken over its partitions, be there any or not."""
        return not self._rebalancing

    def partitions(self) -> set[int]:
        """The partitions that are assigned and rebuilt."""
        return set() if self._rebalancing else set(self._ends)

    def holds(self, partition: int) -> bool:
        """Whether the partition is ours by all we know at this instant."""
        fresh = time.monotonic() - self._heard < self._session
        return fresh and not self._rebalancing and partition in self._ends

    async def read_to_end(
        self,
        partition: int,
        position: Callable[[TP], Any],
        progress: Progress,
        topics: set[str],
    ) -> bool:
        """Whether what these topics held at assignment is folded, and nothing delivered of them is unhandled."""
        if not self.holds(partition):
            return False
        ends = {tp: end for tp, end in self._ends.get(partition, {}).items() if tp.topic in topics}
        if (partition, frozenset(topics)) not in self._caught_up:
            try:
                for tp, end in ends.items():
                    if end > 0 and (await position(tp) or 0) < end:
                        return False
            except IllegalStateError:
                # It was taken from us while we asked.
                return False
            if not self.holds(partition):
                return False
            self._caught_up.add((partition, frozenset(topics)))
        # What was delivered is handled within moments, unless much more is coming: then this is asked again later.
        for _ in range(_TURNS):
            if all(progress.idle(tp) for tp in ends):
                return self.holds(partition)
            await asyncio.sleep(_TURN)
        return False


class Keeper(Protocol):
    """Who keeps a table's rows: by partition, in whatever form it likes."""

    def clear(self) -> None:
        """Forget all rows."""

    def restore(self, partition: int, key: bytes, value: bytes | None) -> bytes | None:
        """Take a row from the log; if a later one is here already, that one, so that it is written again."""


class Table(faust.Table):  # type: ignore[misc]
    """A table whose rows live in its keeper, and whose records are tracked by the barrier."""

    keeper: Keeper

    def __init__(self, app: App, *args: Any, keeper: Keeper, **kwargs: Any) -> None:
        super().__init__(app, *args, **kwargs)
        self.keeper = keeper
        self._again: dict[tuple[int, bytes], bytes] = {}

    def info(self) -> Mapping[str, Any]:
        """The arguments to make this table again."""
        return {**super().info(), "keeper": self.keeper}

    def write(
        self,
        partition: int,
        key: bytes,
        value: bytes | None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Put a row on the log; the keeper has it already."""
        app = self.app
        app.failpoints.hit("table-write")
        stall = app.failpoints.stall()
        if stall:
            held = app.loop.create_future()
            app.barrier.track(held)
            app.loop.call_later(stall, self._send_held, held, partition, key, value, headers)
            return
        app.barrier.track(self._send(partition, key, value, headers))

    def _send_held(self, held: asyncio.Future[Any], *record: Any) -> None:
        self.app.barrier.track(self._send(*record))
        held.set_result(None)

    def _send(
        self, partition: int, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None,
    ) -> asyncio.Future[Any]:  # fmt: skip
        """What stock's ``send_changelog`` does, with headers."""
        sent: asyncio.Future[Any] = self.changelog_topic.send_soon(
            key=key,
            value=value,
            partition=partition,
            headers=dict(headers or {}),
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            callback=self._on_changelog_sent,
            eager_partitioning=True,
        )
        return sent

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Give recovered records to the keeper, in order."""
        for event in batch:
            message = event.message
            later = self.keeper.restore(message.partition, message.key, message.value)
            place = (message.partition, message.key)
            if later is not None:
                self._again[place] = later
            else:
                self._again.pop(place, None)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Write rows again that an older one came after: a writer that was cut off must not have the last word."""
        await super().on_recovery_completed(active_tps, standby_tps)
        owned = {tp.partition for tp in active_tps}
        again, self._again = self._again, {}
        for (partition, key), value in again.items():
            if partition in owned:
                log.warning("an older record came after a newer one; written again", table=self.name, key=key)
                self.write(partition, key, value)


class _Recovery(Recovery):  # type: ignore[misc]
    """Waits for Kafka as long as it takes; a rebalance or the worker's end breaks that off."""

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ARG002, ASYNC109  (stock's signature)
        # Stock takes running out of time for being stopped, and never rebuilds anything again: the worker would keep
        # its partitions and read nothing.
        await super()._wait(coro)


class _Tables(TableManager):  # type: ignore[misc]
    """Has the recovery above."""

    _recovery: Recovery | None

    @property
    def recovery(self) -> Recovery:
        """Made when it is first asked for, as stock's is."""
        if self._recovery is None:
            self._recovery = _Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class _ConsumerThread(stock.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The consumer's thread: listens to heartbeats, and fetches as promptly as the broker lets it."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_bytes = _FETCH_BYTES
        # The mock cluster does not wake a parked fetch, so a long wait would be paid at every hop.
        if self.app.embedded:
            consumer._fetch_max_wait_ms = 20
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        coordinator = self._consumer._coordinator
        beat = coordinator._do_heartbeat

        async def noted() -> bool:
            alive: bool = await beat()
            if alive:
                self.app.ownership.heard()
            return alive

        coordinator._do_heartbeat = noted
        push = coordinator._push_error_to_user

        async def told(error: Exception) -> None:
            # Stock Faust looks for it only while it has partitions, and these errors keep it from getting any.
            if isinstance(error, _REFUSED):
                die("Kafka refuses the worker", error=repr(error), remedy=RIGHTS)
            log.warning("trouble with the group", error=repr(error))
            await push(error)

        coordinator._push_error_to_user = told


class _Consumer(stock.Consumer):  # type: ignore[misc]
    """Commits what was handled and is on the log, and nothing else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._draining = False
        self._parked = asyncio.Event()
        self._seeking = asyncio.Lock()
        deliver: Any = self.callback  # type: ignore[has-type]
        progress = self.app.progress

        async def noted(message: Any) -> None:
            if not self._is_changelog_tp(message.tp):
                progress.delivered(message.tp, message.offset)
            await deliver(message)

        self.callback = noted

    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self.app.ownership.revoked()
        await super().on_partitions_revoked(revoked)
        await self._commit_handled()
        await self.app.barrier.settle(self.app.patience)
        self.app.progress.clear()
        self.app.on_revoked()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        # Rows are rebuilt whole: what was kept of a partition may miss what another worker wrote meanwhile.
        for table in self.app.tables.values():
            table.keeper.clear()
        self.app.tables.recovery.active_offsets.clear()
        self.app.assigned_in = self.app.rebalancing_count
        await super().on_partitions_assigned(assigned, generation_id)

    async def _drain_messages(self, fetcher: Any) -> None:
        self._draining = True
        try:
            await super()._drain_messages(fetcher)
        finally:
            self._draining = False
            self._parked.set()

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109  (stock's signature)
        if not self.flow_active:
            self._parked.set()
        return await super()._wait_next_records(timeout)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109  (the same)
        # A short wait, because a seek waits for it.
        return await super()._getmany(active_partitions, min(timeout, _LONGEST_FETCH))

    async def perform_seek(self) -> None:
        """Read on from what was handled: whatever was dropped on the way comes again, and nothing else does.

        A row is folded once whatever comes again, but a misplaced record would be forwarded anew, and buried anew one
        that cannot be read. A partition without a commit is read from its beginning.
        """
        # One at a time: what is delivered after one seek must not be forgotten at the end of another.
        async with self._quiet(), self._seeking:
            await self._commit_handled()
            await self._seek_to_committed()

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what was handled by now. Stock lets a commit that began earlier, and knows less, do for it."""
        # Not the future itself: a time limit on whoever waits here would cancel it for all.
        while self._commit_fut is not None:
            await asyncio.wait([self._commit_fut])
        committed: bool = await super().commit(topics, start_new_transaction)
        return committed

    async def _commit_handled(self) -> None:
        """Commit until nothing handled is left; what is left if the broker refuses or is away comes again."""
        try:
            async with asyncio.timeout(self.app.patience):
                while self._filter_committable_offsets(self.app.progress.committable()) and await self.commit():
                    pass
        except TimeoutError:
            log.warning("no commit in time: what was handled since the last one comes again")

    @asynccontextmanager
    async def _quiet(self) -> AsyncIterator[None]:
        """Deliver nothing meanwhile: a record fetched before a seek and delivered after it would be out of turn."""
        flowing, rebalances = self.flow_active, self.app.rebalancing_count
        if flowing:
            self._parked.clear()
            self.stop_flow()
            if self._draining:
                await self._parked.wait()
        yield
        # In a rebalance stock Faust has stopped it as well, and lets it flow when positions are right again.
        if flowing and self.app.rebalancing_count == rebalances:
            self.resume_flow()

    async def _seek_to_committed(self) -> None:
        self.app.progress.clear()
        if not self.assignment():
            return
        # What stock counts as committed may have been refused: what the broker has is asked for anew.
        for tp in self.assignment():
            self._committed_offset.pop(tp, None)
        await super().perform_seek()
        fresh = [tp for tp in self.assignment() if self._committed_offset[tp] is None and not self._is_changelog_tp(tp)]
        if fresh:
            await self._thread.seek_to_beginning(*map(stock.ensure_aiokafka_TP, fresh))
        self.app.progress.clear()

    async def verify_all_partitions_active(self) -> None:
        """Stock's check raises while positions are not known yet; ``processors.health`` watches what is handled."""

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Holes in the offsets are no matter: progress goes by the order of delivery."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> list[TP]:  # noqa: ARG002  (the signature is given)
        for tp in list(self._acked):
            self._acked[tp].clear()
            self._acked_index[tp].clear()
        return list(self.app.progress.committable())

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        reached = self.app.progress.committable()
        return {tp: reached[tp] for tp in tps if tp in reached and self._should_commit(tp, reached[tp])}

    async def _handle_attached(self, commit_offsets: Mapping[TP, int]) -> None:
        await super()._handle_attached(commit_offsets)
        self.app.failpoints.hit("flush")
        if self.app.failpoints.barrier:
            await self.app.barrier.settle(self.app.patience)
        self.app.failpoints.hit("commit")


class _Transport(stock.Transport):  # type: ignore[misc]
    Consumer = _Consumer


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How an app is connected: times in seconds; ``embedded`` for librdkafka's mock cluster."""

    bootstrap: str
    session: float
    heartbeat: float
    commit_interval: float
    partitions: int
    embedded: bool = False
    instance_id: str | None = None
    credentials: Any = None


def credentials_of(
    mechanism: str | None,
    username: str | None,
    password: str | None,
    tls: ssl.SSLContext | None,
) -> Any:
    """What a ``Link`` logs in with; None if Kafka is spoken to in the clear and without a name.

    Args:
        mechanism: of SASL; None without it.
        username: only with a mechanism.
        password: only with a mechanism.
        tls: what TLS trusts; None without it.
    """
    if mechanism is not None:
        return faust.SASLCredentials(mechanism=mechanism, username=username, password=password, ssl_context=tls)
    return faust.SSLCredentials(tls) if tls is not None else None


class App(faust.App):  # type: ignore[misc]
    """A Faust app with the deviations above.

    Attributes:
        progress: what was delivered and handled.
        barrier: the sends that a commit waits for.
        ownership: what this process may act on.
        embedded: whether the broker is librdkafka's mock cluster.
        patience: seconds that a commit waits for the barrier: half a session.
        failpoints: places at which tests make it fail.
        revocations: called when partitions are gone.
        takeovers: awaited when rows are rebuilt, before anything may act on them.
    """

    def __init__(self, name: str, link: Link, *, failpoints: Failpoints | None = None) -> None:
        self.progress = Progress()
        self.barrier = Barrier()
        self.ownership = Ownership(link.session)
        self.embedded = link.embedded
        self.patience = link.session / 2
        self.failpoints: Failpoints = failpoints or NoFailpoints()
        self.revocations: list[Callable[[], None]] = []
        self.takeovers: list[Callable[[], Awaitable[None]]] = []
        #: Of how many rebalances the last was that gave partitions.
        self.assigned_in = 0
        super().__init__(
            name,
            broker=[f"kafka://{server}" for server in link.bootstrap.split(",")],
            store="memory://",
            Table=Table,
            TableManager=_Tables,
            topic_partitions=link.partitions,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            web_enabled=False,
            datadir=Path(tempfile.gettempdir()) / f"peaktime-{name}",
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            broker_session_timeout=link.session,
            broker_heartbeat_interval=link.heartbeat,
            broker_request_timeout=max(link.session * 1.5, 10.0),
            broker_commit_interval=link.commit_interval,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=link.instance_id,
            producer_max_request_size=4 * 1024 * 1024,
            producer_linger=0.0,
            **({"broker_credentials": link.credentials} if link.credentials is not None else {}),
        )

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def on_rebalance_start(self) -> None:
        """Called from the consumer's thread as soon as a rebalance is known: stop acting at once."""
        self.ownership.revoked()
        super().on_rebalance_start()

    def on_rebalance_end(self) -> None:
        """Rows are rebuilt: take over as soon as those who keep them agree."""
        if self.rebalancing_count != self.assigned_in:
            # The next rebalance has begun: these rows are of the one before, and it ends with rows of its own.
            return
        super().on_rebalance_end()
        self.add_future(self._take_over(self.consumer_generation_id))

    async def _take_over(self, generation: int) -> None:
        for ask in self.takeovers:
            await ask()
        sources = [tp for tp in self.consumer.assignment() if tp.topic not in self.tables.changelog_topics]
        ends = await self.consumer.highwaters(*sources) if sources else {}
        if not self._still(generation):
            return
        # What stock Faust delivered while it was still opening its queues may have been dropped there.
        try:
            await self.consumer.perform_seek()
        except (IllegalStateError, AssertionError):
            # It is the client's way of saying that a partition is not ours any more.
            if self._still(generation):
                raise
        # A rebalance may have begun meanwhile: then they are not ours, and it ends with a take-over of its own.
        if self._still(generation):
            self.ownership.assigned({tp: end or 0 for tp, end in ends.items()})
            log.info("partitions taken over", group=self.conf.id, partitions=sorted(self.ownership.partitions()))

    def _still(self, generation: int) -> bool:
        """Whether no other rebalance has begun since that generation's."""
        return bool(self.consumer_generation_id == generation and not self.rebalancing)

    def on_revoked(self) -> None:
        """Tell those who keep something about partitions that they are gone."""
        for tell in self.revocations:
            tell()

    def emit(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Callable[[], bool]:
        """Send a record that the next commit waits for; tells whether it was sent, read again here, and handled."""
        self.failpoints.hit("send")
        channel = self.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        sent = channel.send_soon(key=key, value=value, headers=dict(headers or {}), partition=partition)
        self.barrier.track(sent)

        def handled() -> bool:
            if not sent.done() or sent.exception() is not None:
                return False
            place = sent.result()
            return self.progress.passed(TP(place.topic, place.partition), place.offset)

        return handled


class Watchdog:
    """Ends a process that was frozen for longer than a session: another has taken over, and what is queued is stale."""

    def __init__(self, session: float) -> None:
        self._session = session
        self._stop = threading.Event()
        self._seen = time.monotonic(), time.time()

    def start(self) -> None:
        """Watch from a thread of its own, so that a blocked event loop is seen as well. To be called in the main one.

        A process that goes on after SIGSTOP is told so by a signal, which the main thread handles before it sends
        anything; the thread may come too late for that.
        """
        self._seen = time.monotonic(), time.time()
        signal.signal(signal.SIGCONT, lambda _number, _frame: self._check())
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _check(self) -> None:
        monotonic, wall = self._seen
        later, wall_later = time.monotonic(), time.time()
        if later - monotonic > self._session or wall_later - wall > self._session:
            die("this process was stopped for longer than its session", seconds=round(wall_later - wall, 1))
        self._seen = later, wall_later

    def _watch(self) -> None:
        tick = min(0.25, self._session / 4)
        while not self._stop.wait(tick):
            self._check()
