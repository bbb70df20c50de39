"""What 10,000 entries in one target, beside 200 other targets, cost: a change, an idle minute, memory, a start.

Run: ``PYTHONPATH=tests python bench/scale.py [entries]``; it takes about ten minutes. The aims: a change in the target
of many entries is visible as fast as in one of ten (ratio under 1.5); an idle worker makes no list call in a minute and
uses under 5 % of a core.
"""

from __future__ import annotations

import copy
import gc
import os
import random
import re
import statistics
import sys
import time
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from common import Sightings, machine, row, world
from confluent_kafka import Consumer, TopicPartition
from support.asking import profiles
from support.engines.kubernetes import http_client
from support.site import eventually, minute, request

from peaktime.core.actions import Circumstances, Observed
from peaktime.core.desired import desired
from peaktime.core.outcomes import Facts
from peaktime.core.plan import plan
from peaktime.core.requests import Entries
from schemas.records import RequestAction

OTHERS = 200
SAMPLES = 120
#: Of each entry in the big target: its scale-out, and its scale-in.
SIDES = 2
YEAR = timedelta(days=330)
IDLE = 60.0
FIRST = minute(timedelta(days=2))


def asked(target: str, number: int, of: int, **fields):
    """Both requests of the event with this number, of so many spread over a year."""
    starts = FIRST + timedelta(minutes=int(number * YEAR.total_seconds() / 60 / of))
    date = starts.strftime("%Y-%m-%dT%H:%M")
    return [
        request(target=target, starts_at=starts, event_date=date, ends_at=starts + timedelta(minutes=20), **fields),
        request(
            target=target, action=RequestAction.SCALE_IN, starts_at=starts, event_date=date,
            ends_at=starts + timedelta(minutes=20), **fields,
        ),
    ]  # fmt: skip


def apart(each):
    """A request as today's PA may send it: by an event date of its own, without the other side's time."""
    when = each.starts_at or each.ends_at
    return replace(each, event_date=when.strftime("%Y-%m-%dT%H:%M"), ends_at=None if each.starts_at else each.ends_at)


# -- without engines: folding and memory --


def fold_rate(count: int, *, one_sided: bool = False) -> float:
    """Requests folded a second, the last 1,000 of so many entries in one target."""
    entries, now = Entries(), datetime.now(UTC)
    requests = [each for number in range(count) for each in asked("infra", number, count)]
    if one_sided:
        requests = [apart(each) for each in requests]
    last = requests[-1000:]
    for position, each in enumerate(requests[: -len(last)]):
        entries.fold(each, position, now)
    started = time.perf_counter()
    for position, each in enumerate(last, len(requests)):
        entries.fold(each, position, now)
    return len(last) / (time.perf_counter() - started)


def held(make) -> tuple[object, int]:
    """What is made, and the bytes that it holds."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return made, size


def memory(count: int) -> None:
    """Bytes per entry, per fact, and per object as the watch gives it."""
    now = datetime.now(UTC)
    texts = [each for number in range(count) for each in asked("infra", number, count)]

    def folded() -> Entries:
        entries = Entries()
        for position, each in enumerate(texts):
            entries.fold(copy.deepcopy(each), position, now)
        return entries

    entries, size = held(folded)
    at = Circumstances(now=now, grace=timedelta(seconds=60), namespace="peaktime")
    crons: dict = {}
    facts = Facts()
    for _ in range(2):
        want = desired("infra", entries, facts, profiles(), now, grace=at.grace)
        made = plan(want, Observed(cron_workflows=crons), entries, facts, profiles(), at)
        for write in made.writes:
            crons[write.manifest["metadata"]["name"]] = {
                **write.manifest,
                "metadata": {**write.manifest["metadata"], "resourceVersion": "1"},
            }
    reports = made.reports

    def reported() -> Facts:
        facts = Facts()
        for position, report in enumerate(reports):
            facts.fold(copy.deepcopy(report), position, now)
        return facts

    facts, fact_size = held(reported)
    print(f"{'an entry, folded (both requests)':<58} {size / count / 1024:7.2f} KiB")
    print(
        f"{'a fact, folded':<58} {fact_size / len(facts.by_subject) / 1024:7.2f} KiB, {len(facts.by_subject) / count:.0f} for each entry"
    )


# -- with engines --


class Process:
    """What the kernel knows of a process."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)

    @property
    def seconds(self) -> float:
        """CPU time so far."""
        fields = (self._folder / "stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def mib(self) -> float:
        """Resident memory."""
        return int(re.search(r"VmRSS:\s+(\d+)", (self._folder / "status").read_text())[1]) / 1024


class Calls:
    """What the API server itself has counted of calls for Argo's kinds, by verb."""

    def __init__(self, api) -> None:
        self._client = http_client(api.kubeconfig())

    def __call__(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in self._client.get("/metrics").text.splitlines():
            if line.startswith("apiserver_request_total{") and 'group="argoproj.io"' in line:
                verb = re.search(r'verb="(\w+)"', line)[1]
                found[verb] = found.get(verb, 0) + int(float(line.rpartition(" ")[2]))
        return found


def idle(name: str, worker: Process, calls: Calls) -> None:
    """A minute in which nothing happens; the dry runs of the profiles, once after each start, are over by then."""
    posts = -1
    while posts != (posts := calls().get("POST", 0)):
        time.sleep(5)
    before, began, took = calls(), time.monotonic(), worker.seconds
    time.sleep(IDLE)
    share = (worker.seconds - took) / (time.monotonic() - began)
    after = calls()
    made = {verb: count - before.get(verb, 0) for verb, count in after.items() if count != before.get(verb, 0)}
    print(f"{f'an idle minute, {name}: share of a core':<58} {share * 100:7.2f} %    (aim: under 5 %)")
    print(f"{'  list calls in it':<58} {made.pop('LIST', 0):7d}      (aim: 0); others: {made or 'none'}")
    print(f"{'  resident memory':<58} {worker.mib:7.1f} MiB")


def change(site, sightings: Sightings, target: str, of: int) -> float:
    """Seconds from publishing a change to seeing its CronWorkflow; it is taken back afterwards.

    Args:
        site: where.
        sightings: by whom it is seen.
        target: of what.
        of: entries in the big target: the change lies between two of them, and has its own name in the cluster.
    """
    starts = FIRST + timedelta(minutes=int(random.randrange(of) * YEAR.total_seconds() / 60 / of) + 25)
    date = starts.strftime("%Y-%m-%dT%H:%M")
    name = f"peaktime-create-{target}-common-common-{date.translate({45: None, 58: None, 84: None})}-op"
    fields = {"target": target, "event_date": date, "origin": "op"}
    sightings.seen.pop(name, None)
    sightings.gone.pop(name, None)
    began = time.monotonic()
    site.publish(request(starts_at=starts, ends_at=starts + timedelta(minutes=10), **fields))
    eventually(name, lambda: name in sightings.seen, 60)
    taken = sightings.seen[name] - began
    site.publish(request(action=RequestAction.DELETE, starts_at=starts, **fields))
    eventually(f"{name} to be gone", lambda: name in sightings.gone, 60)
    return taken


def started(site, sightings: Sightings, target: str, of: int) -> tuple[Process, float]:
    """A worker started anew, and the seconds until a change is visible."""
    began = time.monotonic()
    program = site.start("worker")
    change(site, sightings, target, of)
    return Process(program.process.pid), time.monotonic() - began


def settled(site, facts: int) -> None:
    """Wait until this many facts are folded, and nothing has been written to any topic for five seconds."""
    consumer = Consumer({"bootstrap.servers": site.bootstrap, "group.id": "bench-ends"})
    topics = consumer.list_topics(timeout=10).topics
    known: list[object] = [None, 0.0]

    def ends(topic: str) -> int:
        partitions = [TopicPartition(topic, number) for number in topics[topic].partitions]
        return sum(consumer.get_watermark_offsets(partition, 10)[1] for partition in partitions)

    def quiet() -> bool:
        now = [ends(spec.name) for spec in site.catalogue]
        if now != known[0]:
            known[:] = [now, time.monotonic()]
        return ends(site.catalogue.facts.name) >= facts and time.monotonic() - known[1] > 5

    eventually("all to be folded and told", quiet, 900)
    consumer.close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(machine(), flush=True)
    print(f"{'requests folded a second, target of 500 entries':<58} {fold_rate(500):7.0f}")
    print(f"{f'  of {count}':<58} {fold_rate(count):7.0f}")
    print(f"{'  of 1000 entries with one side each':<58} {fold_rate(500, one_sided=True):7.0f}")
    print(f"{f'  of {2 * count}':<58} {fold_rate(count, one_sided=True):7.0f}")
    memory(min(count, 2000))
    sys.stdout.flush()
    others = [f"svc{number}" for number in range(OTHERS)]
    with world(["ten", "many", *others], kubernetes_qps=1000, kubernetes_burst=1000) as site:
        sightings, calls = Sightings(site.api, site.namespace), Calls(site.api)
        for target, each_has in (("ten", 10), *((other, 3) for other in others)):
            site.publish(*(each for number in range(each_has) for each in asked(target, number, each_has)))
        few = 2 * (10 + 3 * OTHERS)
        settled(site, few)
        worker = Process(site.programs[-1].process.pid)
        idle(f"{OTHERS} targets of 3 entries and one of 10", worker, calls)
        small = worker.mib
        site.programs[-1].terminate()
        worker, seconds = started(site, sightings, "ten", count)
        print(f"{'from a start to the first change visible':<58} {seconds:7.1f} s", flush=True)
        began = time.monotonic()
        wanted = [each for number in range(count) for each in asked("many", number, count)[:SIDES]]
        site.publish(*wanted)
        eventually("all objects", lambda: len(sightings.seen) >= few + len(wanted), 900)
        print(
            f"{f'{len(wanted)} objects in the cluster, a second':<58} {len(wanted) / (time.monotonic() - began):7.1f}"
        )
        settled(site, few + len(wanted))
        idle(f"one more target of {count} entries", worker, calls)
        print(
            f"{'  memory for each entry (its facts and objects included)':<58} {(worker.mib - small) * 1024 / count:7.1f} KiB",
            flush=True,
        )
        taken: dict[str, list[float]] = {"ten": [], "many": []}
        for _ in range(SAMPLES):
            for target in ("ten", "many"):
                taken[target].append(change(site, sightings, target, count))
        print(row("a change in a target of 10 entries", taken["ten"][5:]))
        print(row(f"a change in a target of {count}", taken["many"][5:]))
        ratio = statistics.median(taken["many"][5:]) / statistics.median(taken["ten"][5:])
        print(f"{'p50 of many / p50 of ten':<58} {ratio:7.2f}      (aim: under 1.5)", flush=True)
        site.programs[-1].terminate()
        worker, seconds = started(site, sightings, "many", count)
        print(f"{'from a start to the first change visible':<58} {seconds:7.1f} s")
        settled(site, 0)
        print(f"{'  resident memory':<58} {worker.mib:7.1f} MiB")
        print(
            f"{'  memory for each entry (its facts and objects included)':<58} {(worker.mib - small) * 1024 / count:7.1f} KiB"
        )


if __name__ == "__main__":
    main()
