"""A small site for tests: topics on some broker, a cluster, and peaktime's programs run on them as users run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from producers.publish import Publication, Publisher
from producers.topics import ensure_topics
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import RequestAction, ScaleRequest
from schemas.registry import SchemaRegistry

_LEADERLESS = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
PEAKTIME = [sys.executable, "-m", "peaktime"]


def eventually(what: str, condition: Callable[[], object], seconds: float = 60.0):
    """What the condition gives once it is true; fails after the deadline, saying what was waited for and last seen."""
    deadline = time.monotonic() + seconds
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}; last seen: {seen!r}")
        time.sleep(0.05)


class Program:
    """A peaktime program as a process, with its log in a file."""

    def __init__(self, arguments, env, log: Path) -> None:
        self.log = log
        self._handle = log.open("ab")
        # Killed by the kernel when the tests end, however they end.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *PEAKTIME, *arguments],
            env=env,
            stdout=self._handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 15) -> int:
        self.process.terminate()
        return self.process.wait(seconds)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def close(self) -> None:
        if self.running:
            self.kill()
        self._handle.close()


class Site:
    """Topics with a prefix of their own on a broker, and programs with the settings that fit."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, **settings: object) -> None:
        self.bootstrap, self.prefix, self.folder = bootstrap, prefix, folder
        self.catalogue = load_catalogue(prefix)
        url = settings.get("schema_registry_url")
        self._registry = SchemaRegistry(str(url)) if url else None
        self.codec = Codec(self._registry)
        self.settings = {
            "kafka_bootstrap": bootstrap,
            "topic_prefix": prefix,
            "group_prefix": prefix.replace(".", "-"),
            "session_timeout": 3,
            "commit_interval": 0.3,
            "log_level": "info",
            # What the clock alone makes peaktime say is left out, except where a test is about it.
            "remind_before": 0,
            "ready_before": 0,
            "digest_at": "never",
            **settings,
        }
        self.programs: list[Program] = []
        self.publisher = Publisher({"bootstrap.servers": bootstrap}, self.codec, self.catalogue, timeout=30)

    def env(self, **more: object) -> dict[str, str]:
        ours = {f"PEAKTIME_{name.upper()}": str(value) for name, value in {**self.settings, **more}.items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PEAKTIME_")}
        return {**kept, **ours}

    def ensure_topics(self) -> None:
        ensure_topics({"bootstrap.servers": self.bootstrap}, self.catalogue)

    def start(self, *arguments: str, **settings: object) -> Program:
        log = self.folder / f"{arguments[0]}-{len(self.programs)}.log"
        program = Program(arguments, self.env(**settings), log)
        self.programs.append(program)
        return program

    def run(self, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PEAKTIME, *arguments],
            env=self.env(**settings),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def request(self, **fields: object) -> ScaleRequest:
        return request(**fields)

    def publish(self, *requests: ScaleRequest) -> None:
        spec = self.catalogue.requests
        self.publisher.publish_many(Publication(spec=spec, key=r.target, record=r) for r in requests)

    def read(self, spec, cls=None):
        """All records of a topic to its end, in order by partition: (key, record or bytes, message)."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"{self.prefix}reader-{uuid.uuid4()}",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            },
        )
        try:
            partitions = consumer.list_topics(spec.name, 10).topics[spec.name].partitions
            waiting = {}
            for number in partitions:
                low, high = eventually("a leader", lambda n=number: self._ends(consumer, spec.name, n))
                if high > low:
                    waiting[number] = high
            consumer.assign([TopicPartition(spec.name, number, 0) for number in waiting])
            found = []
            deadline = time.monotonic() + 60
            while waiting and time.monotonic() < deadline:
                for message in consumer.consume(1000, 0.2):
                    if message.error():
                        continue
                    value = message.value()
                    record = self.codec.decode(cls or spec.record, value) if (cls or spec.record) and value else value
                    found.append((message.key(), record, message))
                for number in list(waiting):
                    if consumer.position([TopicPartition(spec.name, number)])[0].offset >= waiting[number]:
                        del waiting[number]
            assert not waiting, f"{spec.name}: not read to the end: {waiting}"
        finally:
            consumer.close()
        return found

    @staticmethod
    def _ends(consumer, topic: str, partition: int):
        """The offsets at both ends; nothing while a new topic's leader is not known yet."""
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].code() not in _LEADERLESS:
                raise
            return None

    def records(self, spec):
        return [record for _, record, _ in self.read(spec)]

    def latest(self, spec):
        """The last record of each key, as a compacted topic shows it."""
        rows = {key: record for key, record, _ in self.read(spec)}
        return {key: record for key, record in rows.items() if record is not None}

    def close(self) -> None:
        for program in self.programs:
            program.close()
        self.publisher.close()
        if self._registry is not None:
            self._registry.close()


@contextmanager
def site(bootstrap: str, prefix: str, folder: Path, **settings: object) -> Iterator[Site]:
    opened = Site(bootstrap, prefix, folder, **settings)
    try:
        yield opened
    finally:
        opened.close()


def minute(ahead: timedelta = timedelta()) -> datetime:
    """A whole minute from now."""
    return datetime.now(UTC).replace(second=0, microsecond=0) + ahead


def request(**fields: object) -> ScaleRequest:
    """A scale-out in three days for half an hour, changed as asked."""
    starts = fields.pop("starts_at", None) or minute(timedelta(days=3))
    action = fields.pop("action", RequestAction.SCALE_OUT)
    defaults = {
        "request_id": str(uuid.uuid4()),
        "action": action,
        "target": "infra",
        "event_date": starts.strftime("%Y-%m-%dT%H:%M"),
        "starts_at": starts if action is RequestAction.SCALE_OUT else None,
        "ends_at": starts + timedelta(minutes=30) if action is not RequestAction.DELETE else None,
        "title": "봄 맞이 행사",
        "owner": "kim",
        "requested_at": datetime.now(UTC),
    }
    return ScaleRequest(**{**defaults, **fields})
