"""The way of a holiday on a real Kafka and a real API server: the importer as a job, the worker as an unprivileged user."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from confluent_kafka import Consumer, TopicPartition
from support.calendars import SEOUL, ics
from support.rights import grant
from support.site import eventually, site

from peaktime.core.calendars import fold_snapshot, requests_of
from peaktime.core.staleness import stale_subject
from peaktime.sandbox.clock import SandboxClock
from schemas.records import FactState, NotificationKind, RequestAction, VerdictKind

CRONS = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"
DAY = timedelta(days=1)
TODAY = datetime.now(SEOUL).date()
#: Every other Wednesday of three years is off, so each Thursday after one is a peak, and no two runs touch.
FIRST = next(day for n in range(5, 12) if (day := TODAY + DAY * n).weekday() == 2)
WEDNESDAYS = tuple(day for n in range(-60, 60) if abs((day := FIRST + timedelta(weeks=2 * n)).year - TODAY.year) <= 1)
#: Nine of them, and far from the next one, should midnight come while a test runs.
HORIZON = (FIRST - TODAY).days + 14 * 8 + 5
COMING = tuple(day for day in WEDNESDAYS if TODAY < day < TODAY + DAY * HORIZON)


@pytest.fixture
def world(kafka, kubernetes_api, namespace, topic_prefix, tmp_path):
    grant(kubernetes_api, namespace)
    calendars = tmp_path / "calendars.yaml"
    feed = tmp_path / "feed.ics"
    calendars.write_text(
        f"calendars: [{{id: kr, feed: {feed}, target: infra, horizonDays: {HORIZON}}}]", encoding="utf-8"
    )
    with site(
        kafka.bootstrap,
        topic_prefix,
        tmp_path,
        namespace=namespace,
        kubeconfig=kubernetes_api.kubeconfig("peaktime"),
        calendars=calendars,
        clock_file=tmp_path / "clock.json",
        session_timeout=1.5,
    ) as opened:
        opened.ensure_topics()
        opened.feed = feed
        opened.clock = SandboxClock(tmp_path / "clock.json")
        opened.crons = lambda: {
            obj["metadata"]["name"]: obj for obj in kubernetes_api.call("GET", CRONS.format(namespace))["items"]
        }
        says(opened, WEDNESDAYS)
        yield opened


def says(world, days, **more):
    """The feed names these days from now on, in an order and with UIDs of the moment."""
    named = {str(day): "휴일" for day in days} | {str(day): name for day, name in more.items()}
    shuffled = dict(random.Random(len(world.programs)).sample(sorted(named.items()), len(named)))
    world.feed.write_text(ics(shuffled, uid=f"{{number}}@{datetime.now(UTC).timestamp()}"), encoding="utf-8")


def imports(world, *arguments, status=0):
    done = world.run("import-calendar", "--calendar", "kr", *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def names(peaks):
    """The CronWorkflows of peaks, by the names that operators know."""
    return {f"peaktime-{verb}-infra-holiday-morning-{day:%Y%m%d}-kr" for day in peaks for verb in ("create", "delete")}


def after(days):
    """The peaks after lone Wednesdays."""
    return {day + DAY for day in days}


def scheduled(world, peaks):
    """Wait until the CronWorkflows of exactly these peaks exist, on the morning that was asked for."""
    wanted = names(peaks)
    crons = eventually(
        "the CronWorkflows of the peaks and no others", lambda: (c := world.crons()).keys() == wanted and c
    )
    for day in peaks:
        for verb, clock in (("create", "30 7"), ("delete", "0 12")):
            spec = crons[f"peaktime-{verb}-infra-holiday-morning-{day:%Y%m%d}-kr"]["spec"]
            assert (spec["schedules"], spec["timezone"]) == ([f"{clock} {day.day} {day.month} *"], "Asia/Seoul")
    return crons


def told(world, kind=None):
    """The notifications by id, in the order of the log; of one kind if it is given."""
    found = {n.notification_id: n for n in world.records(world.catalogue.notifications)}
    return [n for n in found.values() if kind in (None, n.kind)]


def changes(world):
    return [n.text for n in told(world, NotificationKind.CALENDAR_CHANGED)]


def lag(world, consumers):
    """What the worker's two groups have not committed; and where the logs end."""
    catalogue = world.catalogue
    parts = {
        "fold": (catalogue.requests, catalogue.outcomes, catalogue.calendars),
        "announce": (catalogue.entries, catalogue.facts, catalogue.calendar_states, catalogue.dead_letters),
    }
    left, ends = 0, []
    for part, specs in parts.items():
        places = [TopicPartition(spec.name, number) for spec in specs for number in range(spec.partitions)]
        done = {(p.topic, p.partition): max(0, p.offset) for p in consumers[part].committed(places, 10)}
        for place in places:
            end = consumers[part].get_watermark_offsets(place, 10)[1]
            ends.append(end)
            left += end - done[place.topic, place.partition]
    return left, ends


def quiet(world):
    """Wait until all that was said is folded, told and committed, and nothing more follows of it."""
    consumers = {
        part: Consumer({"bootstrap.servers": world.bootstrap, "group.id": f"{world.settings['group_prefix']}{part}"})
        for part in ("fold", "announce")
    }
    seen = []

    def unchanged():
        left, ends = lag(world, consumers)
        seen.append((left, ends))
        # A report that the facts do not show would be made again within the time that a few looks take.
        return left == 0 and len(seen) > 2 and seen[-2] == seen[-1] == seen[-3]

    try:
        eventually("nothing more to follow", unchanged, 90)
    finally:
        for consumer in consumers.values():
            consumer.close()


def counts(world):
    """How many records there are of everything that follows from snapshots."""
    specs = (world.catalogue.requests, world.catalogue.calendar_states, world.catalogue.entries, world.catalogue.facts,
             world.catalogue.outcomes, world.catalogue.notifications, world.catalogue.dead_letters)  # fmt: skip
    return {spec.short: len(world.read(spec)) for spec in specs}


# The way ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_importer_as_a_job_schedules_the_horizon_once_whatever_it_is_run(world):
    world.start("worker")
    imports(world)
    scheduled(world, after(COMING))
    quiet(world)
    assert len(changes(world)) == 1
    entries = world.latest(world.catalogue.entries)
    assert {e.event_date for e in entries.values()} == {str(day) for day in after(COMING)}
    before, crons = counts(world), world.crons()
    assert before["requests"] == 2 * len(COMING)
    assert before["entries"] == 2 * len(COMING)

    says(world, reversed(WEDNESDAYS))
    imports(world)
    at_once = [world.start("import-calendar", "--calendar", "kr") for _ in range(2)]
    eventually("both importers to end", lambda: not any(each.running for each in at_once))
    assert [each.process.returncode for each in at_once] == [0, 0], [each.said() for each in at_once]
    says(world, [day for day in WEDNESDAYS if day >= TODAY], **{str(day): "another name" for day in COMING})
    imports(world)
    quiet(world)
    assert len(world.records(world.catalogue.calendars)) == 5
    assert counts(world) == before
    assert world.crons() == crons


@pytest.mark.slow
def test_a_holiday_withdrawn_announced_again_and_a_temporary_one_are_each_told_as_one_change(world):
    world.start("worker")
    imports(world)
    scheduled(world, after(COMING))
    gone, grown = COMING[1], COMING[2]
    left = [day for day in WEDNESDAYS if day != gone]

    says(world, left)
    assert f"withdrawn {gone + DAY}" in imports(world)
    scheduled(world, after(COMING) - {gone + DAY})
    quiet(world)
    assert len(changes(world)) == 2
    assert str(gone + DAY) in changes(world)[-1]

    says(world, WEDNESDAYS)
    imports(world)
    scheduled(world, after(COMING))
    quiet(world)
    assert len(changes(world)) == 3

    # A temporary holiday on the Thursday: the peak moves to the Friday.
    says(world, WEDNESDAYS, **{str(grown + DAY): "임시공휴일"})
    assert f"moved     {grown + DAY} to {grown + 2 * DAY}" in imports(world)
    scheduled(world, after(COMING) - {grown + DAY} | {grown + 2 * DAY})
    quiet(world)
    assert len(changes(world)) == 4
    assert str(grown + DAY) in changes(world)[-1]
    assert str(grown + 2 * DAY) in changes(world)[-1]

    # The calendar tells for its requests: nobody hears of each of them.
    kinds = {n.kind for n in told(world)}
    assert kinds == {NotificationKind.CALENDAR_CHANGED, NotificationKind.SCHEDULED, NotificationKind.REMOVED}
    assert len(told(world, NotificationKind.REMOVED)) == 4
    entries = {e.event_date: e for e in world.latest(world.catalogue.entries).values()}
    assert entries[str(gone + DAY)].deletion is None
    assert entries[str(grown + DAY)].deletion is not None


@pytest.mark.slow
def test_a_feed_that_cannot_be_believed_is_refused_and_told_once(world):
    world.start("worker")
    imports(world)
    crons = scheduled(world, after(COMING))
    good = world.feed.read_text(encoding="utf-8")
    bad = {
        "wrong-type": "<!DOCTYPE html><html><body>Down for maintenance</body></html>",
        "truncated": good[: len(good) // 2],
        "empty": "",
    }
    for _ in range(2):
        for text in bad.values():
            world.feed.write_text(text, encoding="utf-8")
            assert "refused" in imports(world, status=1)
    most = COMING[len(COMING) // 2 :]
    says(world, [day for day in WEDNESDAYS if day not in most])
    for _ in range(2):
        assert "--accept-withdrawals" in imports(world, status=1)
    quiet(world)
    assert world.crons() == crons
    assert len(told(world, NotificationKind.CALENDAR_REFUSED)) == 4
    assert len(changes(world)) == 1

    imports(world, "--accept-withdrawals", "--who", "kim", "--why", "the law changed")
    scheduled(world, after(set(COMING) - set(most)))
    quiet(world)
    assert len(changes(world)) == 2
    assert len(told(world, NotificationKind.CALENDAR_REFUSED)) == 4
    accepted = [s for s in world.records(world.catalogue.calendars) if s.accepted_by]
    assert [(s.accepted_by, s.accepted_why) for s in accepted] == [("kim", "the law changed")]

    # Good again, so the next bad one is news.
    world.feed.write_text("", encoding="utf-8")
    imports(world, status=1)
    eventually("the fifth refusal", lambda: len(told(world, NotificationKind.CALENDAR_REFUSED)) == 5)


@pytest.mark.slow
def test_a_calendar_without_a_good_feed_for_a_day_is_told_once_a_day(world):
    world.start("worker")
    imports(world)
    scheduled(world, after(COMING))
    quiet(world)
    assert told(world, NotificationKind.CALENDAR_STALE) == []

    world.clock.advance_to(datetime.now(UTC) + timedelta(hours=25))
    (first,) = eventually("the first day's message", lambda: told(world, NotificationKind.CALENDAR_STALE))
    assert first.thread == "calendar/kr"
    world.start("worker")
    world.programs[0].kill()
    quiet(world)
    assert told(world, NotificationKind.CALENDAR_STALE) == [first]

    world.clock.advance_to(world.clock.now() + timedelta(days=1))
    today = world.clock.now().astimezone(SEOUL).date().isoformat()
    eventually("the second day's", lambda: len(told(world, NotificationKind.CALENDAR_STALE)) == 2)
    fact = next(f for f in world.latest(world.catalogue.facts).values() if f.subject == stale_subject("kr", today))
    assert (fact.state, fact.target, fact.outcome.origin) == (FactState.TOLD, "infra", "kr")
    quiet(world)
    assert len(told(world, NotificationKind.CALENDAR_STALE)) == 2


# Killed between any two steps ---------------------------------------------------------------------------------------


def versions():
    """A year's announcements, one after another: each changes something."""
    moved = {str(COMING[3] + DAY): "임시공휴일"}
    yield WEDNESDAYS, {}
    yield [day for day in WEDNESDAYS if day != COMING[1]], {}
    yield WEDNESDAYS, {}
    yield WEDNESDAYS, moved
    yield [day for day in WEDNESDAYS if day != COMING[4]], moved
    yield [day for day in WEDNESDAYS if day != COMING[5]], {}


def peaks_of(days, more):
    """The peaks that a version leads to, as one sees at a glance: the days after lone Wednesdays, or a day later."""
    thursdays = {date.fromisoformat(day) for day in more}
    return after(set(days) & set(COMING)) - thursdays | {day + DAY for day in thursdays}


def assert_whole(world, versions_read):
    """After a last worker the cluster, the entries and the messages are what the log of snapshots says, each once."""
    worker = world.start("worker")
    # Before that nothing may be lagging, and yet reports be owed.
    every = list(range(world.catalogue.requests.partitions))
    taken = [f"-{part} partitions={every}" for part in ("fold", "announce")]
    eventually("it to be at work", lambda: all(line in worker.said() for line in taken))
    scheduled(world, peaks_of(*versions_read[-1]))
    quiet(world)

    # What the log of snapshots says, folded without a worker.
    state, states = None, []
    for _, snapshot, message in world.read(world.catalogue.calendars):
        log_time = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        folded = fold_snapshot(state, snapshot, message.offset(), log_time)
        if folded is not state:
            states.append(folded)
        state = folded
    assert world.latest(world.catalogue.calendar_states) == {b"kr": state}
    decided = [s for s in states if s.changes]
    assert len(decided) == len(versions_read)

    # Each request that follows is on the log, and no other.
    wanted = {request.request_id: request for s in states for request in requests_of(s)}
    sent = world.records(world.catalogue.requests)
    assert {request.request_id: request for request in sent} == wanted
    entries = {entry.event_date: entry for entry in world.latest(world.catalogue.entries).values()}
    assert entries.keys() == {str(peak.event_date) for peak in state.peaks}
    for peak in state.peaks:
        entry = entries[str(peak.event_date)]
        ids = {request.action: request.request_id for request in peak.requests}
        live = (
            {}
            if entry.deletion
            else {
                RequestAction.SCALE_OUT: entry.scale_out.request_id,
                RequestAction.SCALE_IN: entry.scale_in.request_id,
            }
        )
        assert ids == (live or {RequestAction.DELETE: entry.deletion.request_id})

    # Each was decided once; whatever came again changed nothing.
    verdicts = {}
    for entry in world.records(world.catalogue.entries):
        verdicts.setdefault(entry.verdict.request.request_id, set()).add((entry.verdict.kind, entry.position))
    once = {VerdictKind.ACCEPTED, VerdictKind.WITHDRAWN}
    for request_id, found in verdicts.items():
        assert {kind for kind, _ in found} <= {*once, VerdictKind.DUPLICATE}, (request_id, found)
        assert len({at for kind, at in found if kind in once}) == 1, (request_id, found)
    assert verdicts.keys() == wanted.keys()

    assert len(changes(world)) == len(decided)
    news = told(world)
    assert {n.kind for n in news} <= {
        NotificationKind.CALENDAR_CHANGED,
        NotificationKind.SCHEDULED,
        NotificationKind.REMOVED,
    }
    live = {n.entry for n in news if n.kind is NotificationKind.SCHEDULED}
    assert {entry.key for entry in entries.values() if not entry.deletion} <= live
    assert world.read(world.catalogue.dead_letters) == []
    # Nothing is left to do: a last import says the same.
    before = counts(world)
    imports(world)
    quiet(world)
    assert counts(world) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "counts_of"),
    [
        ("table-write", (1, 3, 8, 15, 22, 31)),
        ("send", (1, 3, 8, 15, 22, 31)),
        # There are a few commits a second, whatever there is to commit.
        ("flush", (1, 2, 3, 4, 2, 3)),
        ("commit", (1, 2, 3, 4, 2, 3)),
    ],
    ids=["table-write", "send", "flush", "commit"],
)
def test_a_worker_that_dies_between_any_two_steps_loses_and_doubles_nothing(world, place, counts_of):
    read, died = [], 0
    for version, times in zip(versions(), counts_of, strict=True):
        read.append(version)
        says(world, version[0], **version[1])
        world.start("worker", failpoints=f"{place}:{times}", resync_interval=1)
        imports(world)
        dying = world.programs[-1]
        eventually(
            f"it to die at {place}:{times}, or to have nothing left",
            lambda worker=dying: not worker.running or done(world, read),
            60,
        )
        died += not dying.running
        dying.close()
    # Else this shows little.
    assert died >= 4
    assert_whole(world, read)


def done(world, read):
    """Whether the last version is told and in the cluster."""
    return world.crons().keys() == names(peaks_of(*read[-1])) and len(changes(world)) >= len(read)


@pytest.mark.slow
def test_a_worker_that_is_killed_whenever_it_may_be_loses_and_doubles_nothing(world):
    dice = random.Random(11)
    read = []
    for version in versions():
        read.append(version)
        says(world, version[0], **version[1])
        imports(world)
        for _ in range(3):
            spec = dice.choice(
                [
                    world.catalogue.calendar_states,
                    world.catalogue.requests,
                    world.catalogue.entries,
                    world.catalogue.notifications,
                ]
            )
            before = len(world.read(spec))
            worker = world.start("worker")
            eventually(
                "it to write something there, or to be done",
                lambda spec=spec, before=before: len(world.read(spec)) > before or done(world, read),
                60,
            )
            worker.kill()
    assert_whole(world, read)
