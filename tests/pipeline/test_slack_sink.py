"""The sink on the embedded broker: each notification is posted once, whatever dies in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from support.fake_slack import CHANNEL, TOKEN, FakeSlack, Fault
from support.site import eventually

from peaktime.metrics import Metrics
from peaktime.sandbox.broker import EmbeddedBroker
from processors.slack.client import ConsolePoster, SlackPoster
from processors.slack.log import SinkLog
from processors.slack.sink import Patience, SlackSink
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import Delivery, Notification, NotificationKind

PREFIX = "peaktime."
CATALOGUE = load_catalogue(PREFIX)
GROUP = "peaktime-slack-sink"
NOW = datetime(2026, 5, 4, tzinfo=UTC)
SESSION = 6.0
QUICK = Patience(first=0.05, longest=0.2, slow=0.1)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slack():
    with FakeSlack(page=50) as fake:
        yield fake


@pytest.fixture
def broker():
    with EmbeddedBroker() as embedded:
        embedded.create(spec.name for spec in (CATALOGUE.notifications, CATALOGUE.deliveries, CATALOGUE.dead_letters))
        yield embedded


class Bus:
    """Writes notifications, and reads what the sink wrote."""

    def __init__(self, bootstrap):
        self.options = {"bootstrap.servers": bootstrap}
        self.codec = Codec()
        self.producer = Producer({**self.options, "partitioner": "murmur2_random"})

    def tell(self, *ids, thread=None, kind=NotificationKind.ACCEPTED):
        for notification_id in ids:
            notification = Notification(
                notification_id=notification_id,
                kind=kind,
                thread=thread or f"infra/pa/{notification_id}",
                headline=f"Accepted: {notification_id}",
                decided_at=NOW,
            )
            self.put(notification.thread, self.codec.encode(notification, CATALOGUE.notifications.name))

    def put(self, key, value, headers=None):
        self.producer.produce(CATALOGUE.notifications.name, key=key, value=value, headers=headers)
        assert self.producer.flush(10) == 0

    def read(self, topic):
        consumer = Consumer({**self.options, "group.id": "reader", "auto.offset.reset": "earliest"})
        try:
            places = [TopicPartition(topic, p, 0) for p in consumer.list_topics(topic, 10).topics[topic].partitions]
            missing = sum(consumer.get_watermark_offsets(place, 10)[1] for place in places)
            consumer.assign(places)
            found = []
            deadline = time.monotonic() + 10
            while len(found) < missing and time.monotonic() < deadline:
                found += consumer.consume(100, timeout=0.2)
            assert len(found) == missing
            return found
        finally:
            consumer.close()

    def deliveries(self):
        found = [self.codec.decode(Delivery, m.value()) for m in self.read(CATALOGUE.deliveries.name)]
        return {delivery.notification_id: delivery for delivery in found}

    def uncommitted(self):
        consumer = Consumer({**self.options, "group.id": GROUP})
        try:
            topic = CATALOGUE.notifications.name
            places = [TopicPartition(topic, p) for p in range(4)]
            ends = {place.partition: consumer.get_watermark_offsets(place, 10)[1] for place in places}
            return sum(ends[place.partition] - max(0, place.offset) for place in consumer.committed(places, 10))
        finally:
            consumer.close()


@pytest.fixture
def bus(broker):
    return Bus(broker.bootstrap)


def sink(bus, poster, metrics=None, stop=None, patience=QUICK):
    if isinstance(poster, SlackPoster):
        poster.interval = 0.0
    return SlackSink(
        options=bus.options,
        group=GROUP,
        topic=CATALOGUE.notifications,
        codec=bus.codec,
        poster=poster,
        log=SinkLog(bus.options, bus.codec, CATALOGUE, embedded=True),
        metrics=metrics or Metrics(),
        stop=stop or threading.Event(),
        consumer_options={"session.timeout.ms": int(SESSION * 1000), "fetch.wait.max.ms": 20},
        patience=patience,
    )


def posts_to(slack):
    return SlackPoster(TOKEN, CHANNEL, slack.url)


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels) or 0


@pytest.mark.slow
def test_each_notification_is_posted_once_over_restarts_and_threads_go_on(bus, slack):
    bus.tell("a1", "a2", thread="infra/pa/2026-05-04")
    bus.tell("b1")
    sink(bus, posts_to(slack)).run(until_idle=0.5)
    assert Counter(slack.ids()) == {"a1": 1, "a2": 1, "b1": 1}
    assert bus.uncommitted() == 0

    # Told again by an announcer that was restarted, and something new in a thread that began before.
    bus.tell("a2", "a3", thread="infra/pa/2026-05-04")
    bus.tell("b1", "c1")
    metrics = Metrics()
    sink(bus, posts_to(slack), metrics).run(until_idle=0.5)
    assert Counter(slack.ids()) == {"a1": 1, "a2": 1, "a3": 1, "b1": 1, "c1": 1}
    assert value(metrics, "peaktime_deliveries_total", sink="slack", result="skipped") == 2
    assert bus.uncommitted() == 0

    root = next(m["ts"] for m in slack.messages if m["metadata"]["event_payload"]["id"] == "a1")
    threads = {m["metadata"]["event_payload"]["id"]: m.get("thread_ts") for m in slack.messages}
    assert threads == {"a1": None, "a2": root, "a3": root, "b1": None, "c1": None}
    deliveries = bus.deliveries()
    assert set(deliveries) == {"a1", "a2", "a3", "b1", "c1"}
    assert deliveries["a3"].thread_ts == root
    assert deliveries["a3"].permalink.startswith(f"https://ws.slack.test/archives/{CHANNEL}/p")
    assert (deliveries["a1"].sink, deliveries["a1"].channel, deliveries["a1"].attempts) == ("slack", CHANNEL, 1)


def command(bus, slack, **settings):
    """The real command in a process of its own."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PEAKTIME_")}
    environment |= {
        "PEAKTIME_KAFKA_BOOTSTRAP": bus.options["bootstrap.servers"],
        "PEAKTIME_EMBEDDED": "true",
        "PEAKTIME_SESSION_TIMEOUT": str(SESSION),
        "PEAKTIME_SLACK": "web",
        "PEAKTIME_SLACK_TOKEN": TOKEN,
        "PEAKTIME_SLACK_CHANNEL": CHANNEL,
        "PEAKTIME_SLACK_URL": slack.url,
        **settings,
    }
    run = "import sys; from peaktime.cli import main; sys.argv[1:] = ['slack-sink']; main()"
    return subprocess.Popen([sys.executable, "-c", run], env=environment, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_killed_between_post_and_record_it_finds_its_message_and_does_not_repeat_it(bus, slack):
    bus.tell("a1", "a2", "a3", thread="infra/pa/2026-05-04")
    slack.answering.clear()
    with command(bus, slack) as process:
        assert slack.posted.wait(30)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    slack.answering.set()
    assert slack.ids() == ["a1"]
    assert bus.deliveries() == {}
    assert bus.uncommitted() == 3

    metrics = Metrics()
    sink(bus, posts_to(slack), metrics).run(until_idle=0.5)
    assert slack.ids() == ["a1", "a2", "a3"]
    assert value(metrics, "peaktime_deliveries_total", sink="slack", result="found") == 1
    assert bus.deliveries()["a1"].ts == slack.messages[0]["ts"]
    assert {m.get("thread_ts") for m in slack.messages[1:]} == {slack.messages[0]["ts"]}
    assert bus.uncommitted() == 0


@pytest.mark.slow
def test_sigterm_ends_it_within_seconds_and_what_was_not_posted_stays_for_the_next(bus, slack):
    bus.tell("a1")
    slack.token = "xoxb-another"
    with command(bus, slack) as process:
        deadline = time.monotonic() + 30
        while not slack.called("conversations.history") and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert process.wait(10) == 0
        assert time.monotonic() - asked < 5
        said = process.stderr.read().decode()
    assert "invalid_auth" in said
    assert "PEAKTIME_SLACK_TOKEN" in said
    assert TOKEN not in said
    assert bus.uncommitted() == 1

    slack.token = TOKEN
    sink(bus, posts_to(slack)).run(until_idle=0.5)
    assert slack.ids() == ["a1"]


def test_whatever_slack_answers_nothing_is_lost_or_repeated(bus, slack):
    metrics = Metrics()
    slack.fail(
        "chat.postMessage",
        Fault(status=429, retry_after=3, error="ratelimited"),  # long enough to wait within the group
        Fault(error="invalid_auth"),
        Fault(error="service_unavailable"),
        Fault(drop="before"),
        Fault(drop="after"),  # it arrived, and nobody was told
    )
    bus.tell("a1", "a2", thread="t")
    sink(bus, posts_to(slack), metrics).run(until_idle=0.5)
    assert slack.ids() == ["a1", "a2"]
    assert value(metrics, "peaktime_ambiguous_posts_total", sink="slack") == 2
    assert value(metrics, "peaktime_deliveries_total", sink="slack", result="found") == 1
    assert value(metrics, "peaktime_deliveries_total", sink="slack", result="rate-limited") == 1
    assert bus.deliveries()["a1"].attempts == 5
    assert bus.uncommitted() == 0


def test_what_cannot_be_read_or_posted_is_put_aside_and_the_rest_goes_on(bus, slack):
    metrics = Metrics()
    slack.fail("chat.postMessage", Fault(error="invalid_blocks"), Fault())  # plain text is taken then
    slack.fail("chat.postMessage", Fault(error="msg_too_long"), Fault(error="msg_too_long"))
    broken = b"\x7fno record"
    bus.tell("a1", "a2", thread="t")
    bus.put("t", broken, [("trace", b"7"), ("__connect.errors.topic", b"older")])
    bus.tell("a3", thread="t")
    sink(bus, posts_to(slack), metrics).run(until_idle=0.5)

    assert slack.ids() == ["a1", "a3"]
    assert slack.messages[0]["blocks"] == []
    assert slack.messages[1]["thread_ts"] == slack.messages[0]["ts"]
    assert bus.uncommitted() == 0
    letters = {dict(m.headers())["peaktime-reason"].decode(): m for m in bus.read(CATALOGUE.dead_letters.name)}
    assert set(letters) == {"msg_too_long", "magic"}
    letter = letters["magic"]
    assert (letter.key(), letter.value()) == (b"t", broken)
    headers = letter.headers()
    assert len(headers) == len(dict(headers))
    said = {name: text.decode() for name, text in headers}
    assert said["trace"] == "7"
    assert said["peaktime-stage"] == "slack-sink"
    assert said["__connect.errors.topic"] == CATALOGUE.notifications.name
    assert said["__connect.errors.offset"] == "2"
    assert said["__connect.errors.exception.class.name"] == "peaktime.errors.DecodeError"
    assert said["__connect.errors.exception.message"]
    assert value(metrics, "peaktime_dead_letters_total", topic="notifications", code="magic") == 1


def test_a_dead_letter_that_cannot_be_told_makes_no_further_dead_letter(bus, slack):
    slack.fail("chat.postMessage", Fault(error="no_text"), Fault(error="no_text"))
    bus.tell("a1", thread="t", kind=NotificationKind.DEAD_LETTER)
    bus.tell("a2", thread="t")
    sink(bus, posts_to(slack)).run(until_idle=0.5)
    assert slack.ids() == ["a2"]
    assert bus.read(CATALOGUE.dead_letters.name) == []
    assert bus.uncommitted() == 0


@pytest.mark.slow
def test_a_second_sink_joining_and_leaving_repeats_nothing(bus, slack):
    both = [Metrics(), Metrics()]
    stops = [threading.Event(), threading.Event()]
    threads = [
        threading.Thread(target=sink(bus, posts_to(slack), metrics, stop).run)
        for metrics, stop in zip(both, stops, strict=True)
    ]
    told = []

    def tell_until(done):
        deadline = time.monotonic() + 30
        while not done() and time.monotonic() < deadline:
            told.append(f"n{len(told)}")
            bus.tell(told[-1])
            time.sleep(0.02)
        assert done()

    def posted(metrics):
        return value(metrics, "peaktime_deliveries_total", sink="slack", result="posted")

    try:
        threads[0].start()
        tell_until(lambda: posted(both[0]) > 10)
        threads[1].start()
        tell_until(lambda: posted(both[1]) > 10)
        stops[1].set()
        threads[1].join(10)
        before = posted(both[0])
        tell_until(lambda: posted(both[0]) > before + 10)
        tell_until(lambda: bus.uncommitted() == 0)
    finally:
        for stop, thread in zip(stops, threads, strict=True):
            stop.set()
            thread.join(10)
    sink(bus, posts_to(slack)).run(until_idle=0.5)
    assert Counter(slack.ids()) == dict.fromkeys(told, 1)


@pytest.mark.slow
def test_partitions_that_come_back_after_a_wait_are_read_on(bus, slack):
    """Slack asks the first sink to wait; a second takes over some of its partitions meanwhile, and goes away again."""
    metrics, stops = [Metrics(), Metrics()], [threading.Event(), threading.Event()]
    threads = [
        threading.Thread(target=sink(bus, posts_to(slack), own, stop).run)
        for own, stop in zip(metrics, stops, strict=True)
    ]
    first = [f"a{number}" for number in range(12)]
    later = [f"b{number}" for number in range(24)]
    slack.fail("chat.postMessage", Fault(), Fault(), Fault(status=429, retry_after=12, error="ratelimited"))
    try:
        bus.tell(*first)
        threads[0].start()
        limited = {"sink": "slack", "result": "rate-limited"}
        eventually("it to wait", lambda: value(metrics[0], "peaktime_deliveries_total", **limited))
        threads[1].start()
        posted = {"sink": "slack", "result": "posted"}
        eventually("the second to post", lambda: value(metrics[1], "peaktime_deliveries_total", **posted))
        stops[1].set()
        threads[1].join(10)
        bus.tell(*later)
        eventually("all of it", lambda: set(slack.ids()) >= {*first, *later})
        eventually("the commit", lambda: bus.uncommitted() == 0)
    finally:
        for stop, thread in zip(stops, threads, strict=True):
            stop.set()
            if thread.ident is not None:
                thread.join(10)
    assert Counter(slack.ids()) == dict.fromkeys([*first, *later], 1)


def test_the_console_sink_needs_no_slack(bus, capsys):
    bus.tell("a1")
    sink(bus, ConsolePoster()).run(until_idle=0.3)
    assert "Accepted: a1" in capsys.readouterr().out
    assert replace(bus.deliveries()["a1"], ts="", thread_ts="", delivered_at=NOW) == Delivery(
        notification_id="a1",
        thread="infra/pa/a1",
        sink="console",
        channel="console",
        delivered_at=NOW,
    )
