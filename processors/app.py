"""The composition root of the workers: the only place where their parts are put together.

It reads no environment (settings are given) and decides nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, time, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from peaktime.calendars import load_calendars
from peaktime.configuration import configuration_of
from peaktime.core.capacity import Profiles
from peaktime.core.plan import Circumstances
from peaktime.errors import BrokerError, ClusterError, SchemaUnavailableError
from peaktime.kafka import Trouble
from peaktime.metrics import Metrics
from peaktime.profiles import load_profiles
from peaktime.sandbox.clock import RealClock, SandboxClock
from peaktime.sandbox.failpoints import SandboxFailpoints
from peaktime.settings import Settings
from processors.announce.agents import Announce
from processors.driver import App, Failpoints, Link, NoFailpoints, Watchdog, credentials_of, die
from processors.fold.agents import Folds
from processors.fold.counted import count
from processors.guard import partition_of
from processors.health import Health
from processors.reconcile.cluster import Cluster
from processors.reconcile.decide import Clock
from processors.reconcile.directory import Directory
from processors.reconcile.kubernetes import Kubernetes
from processors.reconcile.loop import Loop
from processors.reconcile.manners import Manners
from processors.reconcile.stale import StaleCalendars
from schemas.catalogue import Catalogue, load_catalogue
from schemas.codec import Codec
from schemas.definitions import schema_json
from schemas.headers import worker_headers
from schemas.records import Outcome
from schemas.registry import SchemaRegistry

log = structlog.get_logger(__name__)

PARTS = ("fold", "reconcile", "announce")
#: Whose rights in the catalogue this process has.
ROLE = "worker"
#: SIGTERM to exit, at most (s). Cutting it short is safe, because SIGKILL is.
_STOP_WITHIN = 8.0
_TICK = 0.5
#: Seconds between two counts of what this worker holds.
_COUNTED_EVERY = 10.0
_LONGEST_WAIT = 10.0


def codec_of(settings: Settings) -> tuple[Codec, SchemaRegistry | None]:
    """The codec of a process, with its registry if one is set."""
    if settings.schema_registry_url is None:
        return Codec(), None
    password = settings.schema_registry_password
    registry = SchemaRegistry(
        settings.schema_registry_url,
        username=settings.schema_registry_username,
        password=password.get_secret_value() if password is not None else None,
        ca_file=settings.schema_registry_ca_file,
    )
    return Codec(registry), registry


def clock_of(settings: Settings) -> Clock:
    """The clock of a process: the machine's, or the sandbox's."""
    return RealClock() if settings.clock_file is None else SandboxClock(settings.clock_file)


def cluster_of(settings: Settings, profiles: Profiles, metrics: Metrics) -> Cluster:
    """The cluster that the settings name."""
    kind, _, path = settings.cluster.partition(":")
    if kind == "directory":
        return Directory(Path(path))
    namespaces = {settings.namespace, *(p.namespace for p in profiles.by_name.values() if p.namespace)}
    return Kubernetes(
        namespaces=namespaces,
        kubeconfig=settings.kubeconfig,
        metrics=metrics,
    )


def circumstances_of(settings: Settings, reporter: str = "") -> Circumstances:
    """What all plans need to know of the settings; the time is to be replaced at each look.

    Args:
        settings: of this process.
        reporter: who this worker is.
    """
    remind_before = timedelta(minutes=settings.remind_before)
    return Circumstances(
        now=datetime.now(UTC),
        grace=timedelta(seconds=settings.grace),
        namespace=settings.namespace,
        reporter=reporter,
        link_template=settings.link_template,
        ready_before=timedelta(minutes=settings.ready_before),
        remind_before=remind_before or None,
        digest_at=None if settings.digest_at == "never" else time.fromisoformat(settings.digest_at),
        digest_days=settings.digest_days,
    )


class Worker:
    """One process with the folds, the reconcile loop and the announcing, or a part of them."""

    def __init__(self, settings: Settings, parts: Iterable[str] = PARTS) -> None:
        """Read the configuration; nothing is opened yet.

        Raises:
            ProfilesError: the profiles are wrong.
            CalendarsError: the calendars are wrong.
        """
        self._settings = settings
        self._parts = frozenset(parts)
        self._profiles = load_profiles(settings.profiles)
        self._calendars = load_calendars(settings.calendars)
        self._metrics = Metrics()
        self._stop = asyncio.Event()
        self._failpoints: Failpoints = SandboxFailpoints(settings.failpoints) if settings.failpoints else NoFailpoints()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT; the exit status: 0 when asked to stop, 1 after a crash."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._ask_to_stop)
        watchdog = Watchdog(self._settings.session_timeout)
        watchdog.start()
        codec, registry = codec_of(self._settings)
        catalogue = load_catalogue(self._settings.topic_prefix)
        apps: list[App] = []
        # Before anything that may have to wait: one that waits for the registry or for Kafka lives, and is not ready.
        health = Health(self._metrics, apps, self._settings.session_timeout)
        if self._settings.metrics_port is not None:
            await health.start(self._settings.metrics_host, self._settings.metrics_port)
        try:
            if registry is not None:
                await self._register(registry, catalogue)
            partitions = await self._partitions(catalogue)
            if self._stop.is_set():
                return 0
            return await self._serve(codec, catalogue.with_partitions(partitions), partitions, apps)
        finally:
            await health.stop()

    async def _serve(self, codec: Codec, catalogue: Catalogue, partitions: int, apps: list[App]) -> int:
        closing: list[Callable[[], Awaitable[Any]]] = []
        background: list[asyncio.Task[Any]] = []
        if self._parts & {"fold", "reconcile"}:
            app = App(self._settings.group("fold"), self._link("fold", partitions), failpoints=self._failpoints)
            apps.append(app)
            await self._converge(app, codec, catalogue, partitions, closing, background)
        if "announce" in self._parts:
            app = App(self._settings.group("announce"), self._link("announce", partitions), failpoints=self._failpoints)
            Announce(app, codec, catalogue, self._metrics, self._profiles.zone)
            apps.append(app)
        for app in apps:
            app.finalize()
        await asyncio.gather(*(app.start() for app in apps))
        log.info("worker started", parts=sorted(self._parts), partitions=partitions, cluster=self._settings.cluster)
        crashed = [asyncio.create_task(app._crashed.wait()) for app in apps]  # noqa: SLF001  (the library offers no public way)
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait([stopped, *crashed, *background], return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.is_set():
            reasons = [repr(app.crash_reason) for app in apps if app.crashed]
            reasons += [f"{task.get_name()}: {task.exception()!r}" for task in background if task.done()]
            die("a part of the worker failed", error="; ".join(reasons))
        for task in (*crashed, *background):
            task.cancel()
        for close in closing:
            await close()
        for app in reversed(apps):
            await app.stop()
        log.info("worker stopped")
        return 0

    async def _converge(
        self,
        app: App,
        codec: Codec,
        catalogue: Catalogue,
        partitions: int,
        closing: list[Callable[[], Awaitable[Any]]],
        background: list[asyncio.Task[Any]],
    ) -> None:
        """Declare the folds and, if it is asked for, the reconcile loop on the fold app."""
        looks = app.channel()
        waiting: set[str] = set()

        def wake(target: str, **_: object) -> None:
            if target not in waiting:
                waiting.add(target)
                app.add_future(looks.send(value=target))

        folds = Folds(app, codec, catalogue, self._metrics)
        if "reconcile" not in self._parts:
            return
        cluster = cluster_of(self._settings, self._profiles, self._metrics)
        sources = {catalogue.requests.name, catalogue.outcomes.name}

        async def may_act(partition: int) -> bool:
            return await app.ownership.read_to_end(partition, app.consumer.position, app.progress, sources)

        async def snapshots_read(partition: int) -> bool:
            snapshots = {catalogue.calendars.name}
            return await app.ownership.read_to_end(partition, app.consumer.position, app.progress, snapshots)

        def report(outcome: Outcome) -> Callable[[], bool]:
            value = codec.encode(outcome, catalogue.outcomes.name)
            headers = worker_headers(outcome, "reconcile")
            return app.emit(catalogue.outcomes.name, key=outcome.target.encode(), value=value, headers=headers)

        def target_partition(target: str) -> int:
            return partition_of(target.encode(), partitions)

        settings = self._settings
        clock, reporter = clock_of(settings), settings.worker_id or f"{socket.gethostname()}/{os.getpid()}"
        stale = StaleCalendars(
            calendars=folds.calendars,
            facts=folds.facts,
            clock=clock,
            zone=self._profiles.zone,
            may_report=snapshots_read,
            report=report,
            partition_of=target_partition,
            metrics=self._metrics,
            reporter=reporter,
        )
        loop = Loop(
            entries=folds.entries,
            facts=folds.facts,
            profiles=self._profiles,
            cluster=cluster,
            clock=clock,
            circumstances=circumstances_of(settings, reporter),
            # It is asked for at every look, and a process keeps its files as it read them.
            configuration=cache(
                partial(configuration_of, settings=settings, profiles=self._profiles, calendars=self._calendars),
            ),
            may_act=may_act,
            holds=app.ownership.holds,
            report=report,
            partition_of=target_partition,
            metrics=self._metrics,
            manners=Manners(qps=settings.kubernetes_qps, burst=settings.kubernetes_burst),
            in_flight=settings.kubernetes_in_flight,
            resync=settings.resync_interval,
        )

        folds.told += [loop.folded, wake]

        async def converge(stream: Any) -> None:
            async for target in stream:
                waiting.discard(target)
                loop.wake(target)

        def forget() -> None:
            waiting.clear()
            loop.forget()
            stale.forget()

        async def tick() -> None:
            while True:
                await asyncio.sleep(_TICK if not settings.embedded else _TICK / 5)
                loop.wake_due()
                await stale.look()

        app.agent(looks, name="reconcile")(converge)
        app.revocations.append(forget)
        try:
            await cluster.start(wake)
        except ClusterError:
            await cluster.stop()
            raise
        background.append(asyncio.create_task(tick(), name="tick"))
        background.append(asyncio.create_task(self._count(folds), name="count"))
        closing += [loop.stop, cluster.stop]

    async def _count(self, folds: Folds) -> None:
        while True:
            count(folds.entries, folds.facts, self._metrics)
            await asyncio.sleep(_COUNTED_EVERY)

    def _link(self, part: str, partitions: int) -> Link:
        settings = self._settings
        sasl, password = settings.kafka_security_protocol.startswith("SASL"), settings.kafka_password
        return Link(
            bootstrap=settings.kafka_bootstrap,
            session=settings.session_timeout,
            heartbeat=settings.heartbeat,
            commit_interval=settings.commit_interval,
            partitions=partitions,
            embedded=settings.embedded,
            instance_id=f"{settings.worker_id}-{part}" if settings.worker_id else None,
            credentials=credentials_of(
                settings.sasl_mechanism if sasl else None,
                settings.kafka_username,
                password.get_secret_value() if password is not None else None,
                settings.kafka_tls(),
            ),
        )

    def _ask_to_stop(self) -> None:
        self._stop.set()
        timer = threading.Timer(_STOP_WITHIN, os._exit, args=(0,))
        timer.daemon = True
        timer.start()

    async def _register(self, registry: SchemaRegistry, catalogue: Catalogue) -> None:
        """Know the ids of all schemas that this process writes, before it folds anything."""
        wait = 0.5
        while not self._stop.is_set():
            try:
                for spec in catalogue:
                    if spec.record is not None:
                        await asyncio.to_thread(registry.id_of, spec.subject, schema_json(spec.record.__name__))
            except SchemaUnavailableError as error:
                self._metrics.schema_waiting.set(1)
                self._metrics.schema_waits.inc()
                log.warning("waiting for the schema registry", reason=str(error), again_in=wait)
                await self._pause(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            else:
                self._metrics.schema_waiting.set(0)
                return

    async def _partitions(self, catalogue: Catalogue) -> int:
        """The partition count that all topics share; waits while Kafka is away.

        Raises:
            BrokerError: a topic is missing, or the counts differ.
        """
        trouble = Trouble()
        client = AdminClient({**self._settings.confluent_options(), "log_level": 0, "error_cb": trouble})
        # Others' topics are not shown to a user that has the rights of a worker only.
        needed = [spec for spec in catalogue if ROLE in {*spec.writers, *spec.readers}]
        wait = 0.5
        while not self._stop.is_set():
            try:
                found = (await asyncio.to_thread(client.list_topics, None, 5.0)).topics
            except KafkaException as error:
                reason, remedy = trouble.explain(error, "Check that Kafka is up and reachable", client)
                bootstrap = self._settings.kafka_bootstrap
                log.warning("waiting for Kafka", bootstrap=bootstrap, reason=reason, next=remedy)
                await self._pause(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            missing = [spec.name for spec in needed if spec.name not in found]
            if missing:
                raise BrokerError(
                    self._settings.kafka_bootstrap,
                    f"has no topic {', '.join(missing)}, or does not show it to this user",
                    "Run `peaktime topics ensure`, with --acls if the broker asks for rights",
                )
            counts = {spec.name: len(found[spec.name].partitions) for spec in needed}
            if len(set(counts.values())) != 1:
                raise BrokerError(
                    self._settings.kafka_bootstrap,
                    f"the topics have different partition counts: {counts}",
                    "Make them anew with equal counts; a worker owns a target whole only then",
                )
            return next(iter(counts.values()))
        return 0

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
