import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from support.calendars import ics

from peaktime.cli import run
from peaktime.core.calendars import fold_snapshot
from peaktime.errors import BrokerError
from peaktime.sandbox.broker import PARTITIONS, EmbeddedBroker
from producers.calendar.bus import last_state
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import CalendarSnapshot

CATALOGUE = load_catalogue()
CODEC = Codec()
TODAY = datetime.now(UTC).date()
DAYS = {
    f"{year}-{month_day}": "x" for year in range(TODAY.year - 1, TODAY.year + 3) for month_day in ("01-01", "06-06")
}
TUESDAY = next(
    day
    for day in (TODAY + timedelta(days=n) for n in range(35, 70))
    if day.weekday() == 1 and not {str(day + timedelta(days=n)) for n in (-1, 0, 1)} & set(DAYS)
)


@pytest.fixture
def broker():
    with EmbeddedBroker() as running:
        running.create([CATALOGUE.calendars.name, CATALOGUE.calendar_states.name])
        yield running


@pytest.fixture
def folder(tmp_path, broker, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PEAKTIME_KAFKA_BOOTSTRAP", broker.bootstrap)
    monkeypatch.setenv("PEAKTIME_CALENDARS", "calendars.yaml")
    (tmp_path / "calendars.yaml").write_text("calendars: [{id: kr, feed: feed.ics, target: infra}]")
    (tmp_path / "feed.ics").write_text(ics(DAYS | {str(TUESDAY): "임시공휴일"}), encoding="utf-8")
    return tmp_path


def snapshots(broker):
    """Every snapshot on the topic, with its position and log time."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": "test", "enable.partition.eof": True, "log_level": 0},
    )
    consumer.assign([TopicPartition(CATALOGUE.calendars.name, number, 0) for number in range(PARTITIONS)])
    found, ended = [], 0
    while ended < PARTITIONS:
        message = consumer.poll(10)
        if message.error() is not None:
            ended += 1
        else:
            log_time = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
            found.append((CODEC.decode(CalendarSnapshot, message.value()), message.offset(), log_time, message.key()))
    consumer.close()
    return found


def fold(broker):
    """What the worker would write."""
    state = None
    for snapshot, position, log_time, _ in snapshots(broker):
        state = fold_snapshot(state, snapshot, position, log_time)
    write(broker, {"kr": state})
    return state


def write(broker, states):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    topic = CATALOGUE.calendar_states.name
    for key, state in states.items():
        producer.produce(topic, key=key.strip(), value=state and CODEC.encode(state, topic))
    assert producer.flush(10) == 0


def imports(capsys, *arguments):
    status = run(["import-calendar", "--calendar", "kr", "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def test_what_the_importer_publishes_is_judged_against_what_the_worker_folded(broker, folder, capsys):
    peak = str(TUESDAY + timedelta(days=1))
    status, told = imports(capsys, "--dry-run")
    assert (status, snapshots(broker)) == (0, [])
    assert peak in [change["after"] for change in told["changes"]]

    assert imports(capsys)[0] == 0
    ((snapshot, _, _, key),) = snapshots(broker)
    assert (key, snapshot.calendar_id, snapshot.fingerprint) == (b"kr", "kr", told["fingerprint"])
    state = fold(broker)
    assert peak in [str(each.event_date) for each in state.peaks]

    # The second run knows what the first led to.
    assert imports(capsys)[1]["changes"] == []
    assert fold(broker) == state
    (folder / "feed.ics").write_text(ics(DAYS), encoding="utf-8")
    assert [(c["kind"], c["before"]) for c in imports(capsys)[1]["changes"]] == [("WITHDRAWN", peak)]
    assert [each.withdrawn for each in fold(broker).peaks if str(each.event_date) == peak] == [True]


@pytest.mark.usefixtures("folder")
def test_the_last_state_is_the_one_at_the_highest_position(broker, capsys):
    imports(capsys)
    state = fold(broker)
    write(broker, {"kr": replace(state, position=7), "kr ": state, "jp": replace(state, calendar_id="jp"), "de": None})
    options = {"bootstrap.servers": broker.bootstrap}
    assert last_state(options, CODEC, CATALOGUE.calendar_states, "kr", 10) == replace(state, position=7)
    assert last_state(options, CODEC, CATALOGUE.calendar_states, "de", 10) is None
    assert last_state(options, CODEC, CATALOGUE.calendar_states, "us", 10) is None
    with pytest.raises(BrokerError, match="topics ensure"):
        last_state(options, CODEC, replace(CATALOGUE.calendar_states, name="not-there"), "kr", 10)
