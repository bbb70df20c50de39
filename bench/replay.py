"""How fast and in how much memory a log is replayed, beside a bare reader of the same topic, one core each.

Run: ``PYTHONPATH=tests python bench/replay.py [requests]``. The aims are 60 % of the bare rate, and memory that grows
with the live entries only: a quarter of the log, with the same number of events a day, has about as many of them.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
from common import machine
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from support.engines.kafka import start_kafka
from support.requests_log import generate

from processors.replay.findings import Groups, Scope
from processors.replay.log import partition_of
from processors.replay.reader import LogReader
from processors.replay.refold import Refold
from processors.replay.session import Session
from producers.topics import ensure_topics
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.definitions import parsed

PER_DAY = 560
TARGETS = [f"svc{number}" for number in range(50)]
REPEATS = 3


def took(started: float, worked: float) -> dict:
    """Seconds by the clock, and of the core: others may be busy on this machine."""
    return {"seconds": time.perf_counter() - started, "core": time.process_time() - worked}


def bare(bootstrap: str, prefix: str) -> dict:
    """Read every record into a dict, and nothing else."""
    topic, schema = load_catalogue(prefix).requests.name, parsed("ScaleRequest")
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bare", "enable.auto.commit": False})
    numbers = consumer.list_topics(topic, 10).topics[topic].partitions
    left = sum(consumer.get_watermark_offsets(TopicPartition(topic, n), 10)[1] for n in numbers)
    consumer.assign([TopicPartition(topic, n, 0) for n in numbers])
    started, worked, read, broken = time.perf_counter(), time.process_time(), 0, 0
    while read < left:
        for message in consumer.consume(10_000, 0.5):
            read += 1
            try:
                fastavro.schemaless_reader(io.BytesIO(message.value()[10:]), schema)
            except Exception:  # noqa: BLE001  (whatever it is: some records are no records)
                broken += 1
    return {"records": read, "broken": broken, **took(started, worked)}


def folded(bootstrap: str, prefix: str) -> dict:
    """Read and fold again."""
    catalogue = load_catalogue(prefix)
    with LogReader({"bootstrap.servers": bootstrap}) as log:
        spans = log.spans([catalogue.requests.name])
        refold = Refold(Codec(), catalogue.with_partitions(log.partitions(catalogue.requests.name)))
        started, worked, read = time.perf_counter(), time.process_time(), 0
        for raw in log.read(spans):
            refold.take(raw)
            read += 1
        times = took(started, worked)
    return {"records": read, "live": sum(1 for _ in refold.entries()), **times}


def session(bootstrap: str, prefix: str) -> dict:
    """All that ``peaktime audit at`` does."""
    groups = Groups(fold="f", announce="a", sink="s")
    with LogReader({"bootstrap.servers": bootstrap}) as log:
        started, worked = time.perf_counter(), time.process_time()
        report = Session(log, Codec(), load_catalogue(prefix), groups, Scope(compare=False)).run()
        times = took(started, worked)
    return {"records": report.accounts.read, "live": len(report.entries), **times}


WAYS = {"bare": bare, "folded": folded, "session": session}


def child(way: str, bootstrap: str, prefix: str) -> None:
    found = WAYS[way](bootstrap, prefix)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps({**found, "peak": int(status["VmHWM"].split()[0]) / 1024}))


def measured(way: str, bootstrap: str, prefix: str) -> dict:
    """In a process of its own, on one core."""
    core = max(os.sched_getaffinity(0))
    run = subprocess.run(
        [sys.executable, __file__, "--child", way, bootstrap, prefix],
        stdout=subprocess.PIPE, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    return json.loads(run.stdout)


def write(bootstrap: str, prefix: str, count: int) -> None:
    """A log of so many requests, whose log times are those of the generator: months, up to now."""
    catalogue = load_catalogue(prefix)
    ensure_topics({"bootstrap.servers": bootstrap}, catalogue)
    topic = catalogue.requests.name
    stamped = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    resources = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[stamped])]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.incremental_alter_configs(resources).values():
        future.result(30)
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": 0, "linger.ms": 50})
    partitions, failed = catalogue.requests.partitions, []

    def delivered(error, _message) -> None:
        if error is not None:
            failed.append(error)

    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=count / PER_DAY)
    for sent in generate(1, count, start=start, per_day=PER_DAY, targets=TARGETS):
        number = partition_of(sent.key, partitions)
        millis = round(sent.at.timestamp() * 1000)
        producer.produce(
            topic, key=sent.key, value=sent.value, partition=number, timestamp=millis, on_delivery=delivered
        )
        producer.poll(0)
    assert producer.flush(120) == 0
    assert failed == []


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    kafka = start_kafka()
    try:
        for prefix, size in (("whole.", count), ("quarter.", count // 4)):
            write(kafka.bootstrap, prefix, size)
        rows = {(way, "whole."): [] for way in WAYS}
        for _ in range(REPEATS):
            for way in WAYS:
                rows[way, "whole."].append(measured(way, kafka.bootstrap, "whole."))
        for way in WAYS:
            rows[way, "quarter."] = [measured(way, kafka.bootstrap, "quarter.")]
    finally:
        kafka.stop()
    print(machine())
    rates = {}
    for (way, _), found in rows.items():
        rate, core = (statistics.median(row["records"] / row[by] for row in found) for by in ("seconds", "core"))
        rates.setdefault(way, core)
        live = f"   {found[0]['live']} live entries" if "live" in found[0] else ""
        peak = max(row["peak"] for row in found)
        print(
            f"{way:<8} {found[0]['records']:>8} records   {rate:8,.0f} a second   {core:8,.0f} a second of the core"
            f"   peak {peak:6.1f} MiB{live}",
        )
    print(
        f"{'folded to bare, by seconds of the core':<44} {rates['folded'] / rates['bare']:7.2f}      (aim: at least 0.6)"
    )
    print(f"{'session to bare':<44} {rates['session'] / rates['bare']:7.2f}")


if __name__ == "__main__":
    child(*sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
