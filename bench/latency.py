"""How long from a request to its CronWorkflow, beside the sum of a bare Kafka hop and a bare write in the same run.

Run: ``PYTHONPATH=tests python bench/latency.py [requests]``. The aim is a median of at most twice the sum.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from datetime import timedelta

from common import PATH, Sightings, machine, row, world
from confluent_kafka import Consumer, Producer, TopicPartition
from support.engines.kubernetes import http_client
from support.site import eventually, minute, request


def bare_hop(bootstrap: str, topic: str, count: int) -> list[float]:
    """Produce with acks=all, until a waiting consumer has the record."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0})
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-hop", "enable.auto.commit": False})
    end = consumer.get_watermark_offsets(TopicPartition(topic, 3), 10)[1]
    consumer.assign([TopicPartition(topic, 3, end)])
    taken = []
    for number in range(count + 20):
        started = time.monotonic()
        producer.produce(topic, partition=3, key=b"hop", value=b"x" * 300)
        producer.poll(0)
        while (message := consumer.poll(1)) is None or message.key() != b"hop":
            pass
        if number >= 20:
            taken.append(time.monotonic() - started)
        producer.flush()
    consumer.close()
    return taken


def bare_write(api, namespace: str, manifest: dict, count: int) -> list[float]:
    """POST a CronWorkflow like ours and wait for the answer."""
    client = http_client(api.kubeconfig())
    taken = []
    for number in range(count + 20):
        body = copy.deepcopy(manifest)
        body["metadata"] = {"name": f"bare-{number}", "labels": body["metadata"]["labels"]}
        body["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
        started = time.monotonic()
        client.post(PATH.format(namespace), json=body).raise_for_status()
        if number >= 20:
            taken.append(time.monotonic() - started)
    return taken


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    targets = [f"svc{number}" for number in range(10)]
    with world(targets) as site:
        sightings = Sightings(site.api, site.namespace)
        first = minute(timedelta(days=2))
        taken = []
        for number in range(count + 20):
            wanted = request(target=targets[number % 10], starts_at=first + timedelta(hours=number // 10))
            name = f"peaktime-create-{wanted.target}-common-common-{wanted.event_date.translate({45: None, 58: None, 84: None})}"
            started = time.monotonic()
            site.publish(wanted)
            eventually(name, lambda n=name: n in sightings.seen, 30)
            if number >= 20:
                taken.append(sightings.seen[name] - started)
        manifest = site.api.call("GET", PATH.format(site.namespace) + f"/{name}")
        hop = bare_hop(site.bootstrap, site.catalogue.notifications.name, count)
        with site.api.new_namespace() as other:
            write = bare_write(site.api, other, manifest, count)
    bare = statistics.median(hop) + statistics.median(write)
    print(machine())
    print(row("publish → CronWorkflow visible to a watch", taken))
    print(row("bare Kafka hop", hop))
    print(row("bare write to the API server", write))
    print(f"{'p50 / (bare hop + bare write)':<44} {statistics.median(taken) / bare:7.2f}      (aim: at most 2)")


if __name__ == "__main__":
    main()
