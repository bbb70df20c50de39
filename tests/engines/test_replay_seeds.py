"""Fold by the worker = fold by replay, on logs of months, however the worker ends; and what is tampered with is named.

Each seed has targets of its own, so several share the topics of a run. `make seeds` takes a hundred of them.
"""

from __future__ import annotations

import json
import os
import random
import signal
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from support.requests_log import BANDS, generate, targets_of
from support.rights import grant
from support.site import eventually, site

from processors.driver import EXIT_UNSAFE
from processors.replay.log import Raw, partition_of
from processors.replay.reader import LogReader
from processors.replay.refold import Refold
from schemas.records import Entry, Fact

CRONS = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"
SEEDS = int(os.environ.get("PEAKTIME_SEEDS", "10"))
AT_ONCE = 10
RECORDS, PER_DAY, TARGETS = 300, 5.0, 3
BATCHES = [range(first, min(first + AT_ONCE, SEEDS + 1)) for first in range(1, SEEDS + 1, AT_ONCE)]


def profiles_of(targets):
    bands = "".join(f"  {band}: {{from: '09:00', to: '18:00'}}\n" for band in sorted(set(BANDS)))
    return f"zone: Asia/Seoul\nbands:\n{bands}profiles:\n" + "".join(
        f"""  - target: {target}
    days: [common]
    bands: [{band}]
    level: {level}
    scaleOut: {{stages: [[{{service: app, workflowTemplate: app-start, template: scale}}]]}}
    scaleIn: {{stages: [[{{service: app, workflowTemplate: app-stop, template: scale}}]]}}
"""
        for target in targets
        for level, band in enumerate(sorted(set(BANDS)), 1)
    )


@dataclass
class Log:
    """What is written, and how."""

    world: object
    producer: Producer

    def put(self, topic, key, value, *, partition, at=None, headers=None):
        stamp = {} if at is None else {"timestamp": round(at.timestamp() * 1000)}
        self.producer.produce(topic, key=key, value=value, partition=partition, headers=headers, **stamp)

    def send(self, records):
        spec = self.world.catalogue.requests
        for sent in records:
            self.put(spec.name, sent.key, sent.value, partition=partition_of(sent.key, spec.partitions), at=sent.at)
        assert self.producer.flush(30) == 0


@pytest.fixture
def log(kafka, kubernetes_api, namespace, topic_prefix, tmp_path):
    """Topics whose requests have the log times that they are written with, and a cluster."""
    grant(kubernetes_api, namespace)
    profiles = tmp_path / "profiles.yaml"
    with site(
        kafka.bootstrap, topic_prefix, tmp_path, namespace=namespace, profiles=profiles, log_level="warning",
        kubeconfig=kubernetes_api.kubeconfig("peaktime"), session_timeout=3, digest_at="never",
    ) as world:  # fmt: skip
        world.ensure_topics()
        world.api, world.namespace, world.profiles = kubernetes_api, namespace, profiles
        stamped = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(ResourceType.TOPIC, world.catalogue.requests.name, incremental_configs=[stamped])
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        admin.incremental_alter_configs([topic])[topic].result(15)
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        yield Log(world, producer)
        producer.flush(5)


def calm(sent, now):
    """Without events that begin or end about now: they would change what is wanted while it is looked at."""
    first, last = now - timedelta(minutes=3), now + timedelta(minutes=12)
    near = {
        (one.request.target, one.request.event_date)
        for one in sent
        if one.request is not None
        and any(at is not None and first <= at <= last for at in (one.request.starts_at, one.request.ends_at))
    }
    return [one for one in sent if one.request is None or (one.request.target, one.request.event_date) not in near]


def written(log, seeds):
    """The records of some seeds, in the order in which they reach the log, with profiles for their targets."""
    now = datetime.now(UTC).replace(microsecond=0)
    log.world.profiles.write_text(profiles_of([t for seed in seeds for t in targets_of(seed, TARGETS)]), "utf-8")
    start = now - timedelta(days=RECORDS / PER_DAY)
    every = [
        sent
        for seed in seeds
        for sent in generate(seed, RECORDS, start=start, per_day=PER_DAY, targets=targets_of(seed, TARGETS))
    ]
    # Copies of misplaced records get the time of day, as on topics with log times of their own. They come last, so that
    # log time never goes back here either: what is dropped by it would have to come back.
    last = [
        replace(sent, at=now) for sent in every if sent.request is not None and sent.key != sent.request.target.encode()
    ]
    placed = [sent for sent in every if sent.request is None or sent.key == sent.request.target.encode()]
    return [*sorted(calm(placed, now), key=lambda sent: sent.at), *calm(last, now)]


def verified(world, *arguments):
    answer = world.run("audit", "verify", "--json", *arguments)
    assert answer.returncode in (0, 2), answer.stdout[-2000:] + answer.stderr
    return answer.returncode, json.loads(answer.stdout)


def unread(report):
    tables = sum(table["not_yet_read"] for table in report["tables"].values())
    return tables + sum(report[part]["not_yet_read"] for part in ("requests", "notifications", "cluster"))


def settled(world):
    """Let a worker alone until all that was asked for is folded, told and in the cluster; then stop it."""
    running = world.start("worker")

    def whole():
        nonlocal running
        if not running.running:
            running = world.start("worker")  # under load it may end itself, to be safe
        _, report = verified(world)
        return not unread(report) and not report["cluster"]["differences"]

    eventually("all of it to be folded, told and applied", whole, 120)
    running.terminate()


def rows(world, spec):
    """Every record of a table's topic, in order by partition: (partition, key, row or None)."""
    return [(message.partition(), key.decode(), row) for key, row, message in world.read(spec)]


def refolded(world):
    """What folding the log again changes: by table, every version of every row, and the keys that are dropped."""
    catalogue = world.catalogue
    versions, dropped = {Entry: {}, Fact: {}}, {Entry: set(), Fact: set()}
    with LogReader({"bootstrap.servers": world.bootstrap}) as reader:
        refold = Refold(world.codec, catalogue)
        for kind, spec in ((Entry, catalogue.requests), (Fact, catalogue.outcomes)):
            for raw in reader.read(reader.spans([spec.name])):
                for key, row in refold.take(raw).changes.items():
                    if row is None:
                        dropped[kind].add((raw.partition, key))
                    else:
                        versions[kind][raw.partition, key, row.position] = row
        last = {Entry: dict(_by_key(refold.entries())), Fact: dict(_by_key(refold.facts()))}
    return versions, dropped, last


def _by_key(found):
    for partition, row in found:
        yield (partition, row.key if isinstance(row, Entry) else row.subject), row


@pytest.mark.slow
@pytest.mark.parametrize("seeds", BATCHES, ids=lambda seeds: f"seeds {seeds[0]} to {seeds[-1]}")
def test_what_the_worker_folds_between_restarts_is_what_replay_folds(log, seeds):
    world, dice = log.world, random.Random(seeds[0])
    records = written(log, seeds)
    parts = 5
    for number in range(parts):
        log.send(records[len(records) * number // parts : len(records) * (number + 1) // parts])
        if number == parts - 1:
            break
        worker = world.start("worker", failpoints="")
        # A few of them are no requests, and leave no row.
        aim = len(records) * number // parts + dice.randrange(len(records) * 8 // parts // 10)
        eventually("some of it folded", lambda w=worker, a=aim: not w.running or folded(world) > a, 90)
        if number % 2:
            worker.kill()
        else:
            assert worker.terminate(12) in (0, EXIT_UNSAFE, -signal.SIGTERM)  # the last: it was still starting
    settled(world)

    versions, dropped, last = refolded(world)
    for kind, spec in ((Entry, world.catalogue.entries), (Fact, world.catalogue.facts)):
        found, gone, standing = {}, set(), {}
        for partition, key, row in rows(world, spec):
            if row is None:
                gone.add((partition, key))
                standing.pop((partition, key), None)
                continue
            assert row == versions[kind].get((partition, key, row.position)), history(world, spec, key)
            found[partition, key, row.position] = row
            standing[partition, key] = row
        assert found.keys() == versions[kind].keys()
        assert gone == dropped[kind]
        assert standing == last[kind]
    assert {seed: any(e.target in targets_of(seed, TARGETS) for e in last[Entry].values()) for seed in seeds} == (
        dict.fromkeys(seeds, True)
    )
    assert dropped[Entry]

    code, report = verified(world)
    assert (code, report["equal"], unread(report)) == (0, True, 0), report
    assert report["requests"]["balanced"]
    assert report["cluster"]["equal"] > 0
    assert report["tables"]["entries"]["equal"] == len(last[Entry])


def history(world, spec, key):
    """What the topics say of a row, for whoever looks at a failure."""
    lines = [f"{spec.short} of {key}:"]
    for found, row, message in world.read(spec):
        if found.decode() == key:
            said = "dropped" if row is None else f"position {row.position}, {getattr(row, 'verdict', row.log_time)}"
            lines.append(f"  {message.partition()}/{message.offset()} at {message.timestamp()[1]}: {said}")
    with LogReader({"bootstrap.servers": world.bootstrap}) as reader:
        refold = Refold(world.codec, world.catalogue)
        for raw in reader.read(reader.spans([world.catalogue.requests.name])):
            step = refold.take(raw)
            if key in step.changes:
                lines.append(f"  {raw.place} at {raw.timestamp}, {raw.headers}: {step.fate} {step.record}")
    return "\n".join(lines)


def folded(world):
    """The most that can be folded, by the rows: every request that can be read leaves one."""
    return len(world.read(world.catalogue.entries))


def differences(report):
    """Everything that verify names, by where it is."""
    found = {f"table {name}": [d["key"] for d in table["differences"]] for name, table in report["tables"].items()}
    found["notifications"] = [(d["id"], d["kind"]) for d in report["notifications"]["differences"]]
    found["cluster"] = [(d["key"], d["kind"]) for d in report["cluster"]["differences"]]
    for name in ("lettersMissing", "forwardsMissing", "unreadable"):
        found[name] = report[name]
    return {name: what for name, what in found.items() if what}


@pytest.mark.slow
def test_verify_names_exactly_what_was_tampered_with(log):
    world = log.world
    log.send(written(log, [1]))
    settled(world)
    assert differences(verified(world)[1]) == {}
    one_row_altered(log)
    one_notification_removed(log)
    one_object_edited_and_others(log)


def one_row_altered(log):
    world = log.world
    spec = world.catalogue.entries
    partition, key, row = next(
        (partition, key, row)
        for partition, key, row in rows(world, spec)
        if row is not None and row.scale_out is not None and world.latest(spec).get(key.encode()) == row
    )
    altered = replace(row, scale_out=replace(row.scale_out, owner="mallory"))
    log.put(spec.name, key.encode(), world.codec.encode(altered, spec.name), partition=partition)
    log.producer.flush(10)
    code, report = verified(world)
    assert (code, differences(report)) == (2, {"table entries": [key]})
    (difference,) = report["tables"]["entries"]["differences"]
    assert difference["fields"] == [{"field": "scale_out.owner", "refolded": row.scale_out.owner, "logged": "mallory"}]
    log.put(spec.name, key.encode(), world.codec.encode(row, spec.name), partition=partition)
    log.producer.flush(10)
    assert verified(world)[0] == 0


def one_notification_removed(log):
    """The topic is made anew with all records but one: there is no other way to take one out of the middle."""
    world, spec = log.world, log.world.catalogue.notifications
    kept = [
        Raw(spec.name, m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())
        for _, _, m in world.read(spec)
    ]
    lost = kept.pop(len(kept) // 2)
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    admin.delete_topics([spec.name])[spec.name].result(15)
    eventually("the topic to be gone", lambda: spec.name not in admin.list_topics(timeout=10).topics, 30)
    made = NewTopic(spec.name, spec.partitions, 1)
    eventually("a new one", lambda: admin.create_topics([made])[made.topic].exception() is None, 30)
    for raw in kept:
        log.put(spec.name, raw.key, raw.value, partition=raw.partition, headers=raw.headers)
    log.producer.flush(10)
    told = world.codec.decode(spec.record, lost.value)
    code, report = verified(world)
    assert (code, differences(report)) == (2, {"notifications": [(told.notification_id, "missing")]})
    log.put(spec.name, lost.key, lost.value, partition=lost.partition, headers=lost.headers)
    log.producer.flush(10)
    assert verified(world)[0] == 0


def one_object_edited_and_others(log):
    world = log.world
    path = CRONS.format(world.namespace)
    edited, gone, copied = world.api.call("GET", path)["items"][:3]
    name = edited["metadata"]["name"]
    edited["spec"]["schedules"] = ["0 0 1 1 *"]
    world.api.call("PUT", f"{path}/{name}", edited)
    code, report = verified(world)
    assert (code, differences(report)) == (2, {"cluster": [(f"{world.namespace}/{name}", "different in the cluster")]})
    (difference,) = report["cluster"]["differences"]
    assert [(field["field"], field["found"]) for field in difference["fields"]] == [("spec.schedules[0]", "0 0 1 1 *")]
    assert difference["wanted"]["spec"]["schedules"] != difference["found"]["spec"]["schedules"] == ["0 0 1 1 *"]
    assert verified(world, "--no-cluster")[0] == 0

    world.api.call("DELETE", f"{path}/{gone['metadata']['name']}")
    copied["metadata"] = {
        "name": "peaktime-made-up",
        "labels": copied["metadata"]["labels"],
        "annotations": {"peaktime.io/entry": "nobody/pa/2026-01-01"},
    }
    world.api.call("POST", path, copied)
    named = set(differences(verified(world)[1])["cluster"])
    assert named == {
        (f"{world.namespace}/{name}", "different in the cluster"),
        (f"{world.namespace}/{gone['metadata']['name']}", "missing in the cluster"),
        (f"{world.namespace}/peaktime-made-up", "only in the cluster"),
    }


def test_a_cluster_that_cannot_be_read_is_an_error_that_says_how_to_go_without(log, tmp_path):
    world = log.world
    world.profiles.write_text(profiles_of(["s1-t0"]), "utf-8")
    for settings, said in (
        ({"kubeconfig": tmp_path / "none"}, "no connection is configured"),
        ({"cluster": f"directory:{tmp_path / 'none'}"}, "is not there"),
    ):
        answer = world.run("audit", "verify", **settings)
        assert answer.returncode == 1
        line = answer.stderr.strip().splitlines()[-1]
        assert said in line
        assert "--no-cluster" in line
        assert world.run("audit", "verify", "--no-cluster", **settings).returncode == 0
