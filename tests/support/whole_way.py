"""A real worker on the embedded broker, driven until it is quiet; for the tests of what reads the log afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from confluent_kafka import Consumer, Producer, TopicPartition

from peaktime.sandbox.broker import PARTITIONS, EmbeddedBroker
from processors.replay.log import partition_of
from producers.publish import Publisher
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import RequestAction, ScaleRequest

CATALOGUE = load_catalogue("peaktime.").with_partitions(PARTITIONS)
TARGET = "infra"


def soon(hours=0):
    """A whole hour a few days ahead."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=3, hours=hours)


def asked(request_id, hours=0, **fields):
    """A request for an event that starts so many hours after ``soon()``."""
    starts = soon(hours)
    values = {
        "request_id": request_id,
        "action": RequestAction.SCALE_OUT,
        "target": TARGET,
        "event_date": starts.strftime("%Y-%m-%dT%H:%M"),
        "starts_at": starts,
        "ends_at": starts + timedelta(minutes=30),
        "title": "봄 행사",
        "owner": "kim",
        "requested_at": datetime.now(UTC).replace(microsecond=0),
    }
    return ScaleRequest(**(values | fields))


class World:
    """Everything of one broker."""

    def __init__(self, broker, folder):
        self.bootstrap = broker.bootstrap
        self.folder = folder
        self.options = {"bootstrap.servers": broker.bootstrap}
        self.codec = Codec()
        self.publisher = Publisher(self.options, self.codec, CATALOGUE, timeout=10)
        self.raw = Producer({**self.options, "partitioner": "murmur2_random"})

    def send(self, request):
        """Publish a request where it belongs."""
        return self.publisher.publish(CATALOGUE.requests, request.target, request)

    def put(self, topic, key, value, partition=None, headers=None):
        """Write bytes anywhere."""
        where = {} if partition is None else {"partition": partition}
        self.raw.produce(topic, key=key, value=value, headers=headers, **where)
        assert self.raw.flush(10) == 0

    def environment(self, **settings):
        """The environment of a command."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("PEAKTIME_")}
        return kept | {
            "PEAKTIME_KAFKA_BOOTSTRAP": self.bootstrap,
            "PEAKTIME_EMBEDDED": "true",
            "PEAKTIME_SESSION_TIMEOUT": "4",
            "PEAKTIME_COMMIT_INTERVAL": "0.2",
            "PEAKTIME_CLUSTER": f"directory:{self.folder}",
            "PEAKTIME_LOG_LEVEL": "warning",
            **settings,
        }

    def start(self, *arguments, **settings):
        """Start a command in a process of its own."""
        run = f"import sys; from peaktime.cli import main; sys.argv[1:] = {list(arguments)!r}; main()"
        return subprocess.Popen([sys.executable, "-c", run], env=self.environment(**settings), text=True)

    def command(self, *arguments, script="from peaktime.cli import main; main()"):
        """Run a command to its end."""
        run = f"import sys; sys.argv[1:] = {list(arguments)!r}; {script}"
        return subprocess.run(
            [sys.executable, "-c", run],
            env=self.environment(),
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def lag(self, group, topics):
        """How many records a group has not committed, and how many there are."""
        consumer = Consumer({**self.options, "group.id": group})
        try:
            places = [TopicPartition(topic, p) for topic in topics for p in range(PARTITIONS)]
            ends = {(p.topic, p.partition): consumer.get_watermark_offsets(p, 10)[1] for p in places}
            done = {(p.topic, p.partition): max(0, p.offset) for p in consumer.committed(places, 10)}
            return sum(end - done[place] for place, end in ends.items()), sum(ends.values())
        finally:
            consumer.close()

    def until_quiet(self, ready=lambda: True, within=60):
        """Wait until everything is folded, announced and committed, and nothing new came of it for a while."""
        fold = [spec.name for spec in (CATALOGUE.requests, CATALOGUE.outcomes, CATALOGUE.calendars)]
        announce = [
            spec.name
            for spec in (CATALOGUE.entries, CATALOGUE.facts, CATALOGUE.calendar_states, CATALOGUE.dead_letters)
        ]
        deadline = time.monotonic() + within
        before, since = None, time.monotonic()
        while time.monotonic() < deadline:
            state = self.lag("peaktime-fold", fold), self.lag("peaktime-announce", announce)
            if state != before or state[0][0] or state[1][0] or not ready():
                before, since = state, time.monotonic()
            elif time.monotonic() - since > 1.5:
                return
        raise AssertionError(f"not quiet within {within} s: {before}")

    @contextmanager
    def worker(self, **settings):
        """A worker; ends with SIGTERM."""
        process = self.start("worker", **settings)
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)


@contextmanager
def world(folder):
    """An embedded broker with all topics."""
    with EmbeddedBroker() as broker:
        broker.create(spec.name for spec in CATALOGUE)
        made = World(broker, folder)
        try:
            yield made
        finally:
            made.publisher.close()
            made.raw.close(5)


def elsewhere(key):
    """A partition that is not the key's."""
    return (partition_of(key.encode(), PARTITIONS) + 1) % PARTITIONS
