"""A whole replay on a log in memory: equal when it is, and each thing that was tampered with is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.memory_log import CATALOGUE, CODEC, PARTITIONS, START, MemoryLog, PretendWorker

from peaktime.core import requests
from peaktime.errors import SettingsError
from processors.replay import session
from processors.replay.compare import Kind
from processors.replay.findings import Groups, Scope
from processors.replay.log import Offsets, partition_of
from processors.replay.report import report_json, report_lines
from processors.replay.session import Session
from processors.replay.story import Stories, wanted_event
from schemas.records import (
    CalendarDay,
    CalendarSnapshot,
    Entry,
    Notification,
    Outcome,
    OutcomeKind,
    RequestAction,
    ScaleRequest,
    Severity,
    VerdictKind,
)

GROUPS = Groups(fold="peaktime-fold", announce="peaktime-announce", sink="peaktime-slack-sink")
HOME = partition_of(b"infra", PARTITIONS)
AWAY = (HOME + 1) % PARTITIONS
ALL = Scope(notices=True)


def request(number=1, **fields):
    starts = START + timedelta(days=3, hours=number)
    values = {
        "request_id": f"r{number}",
        "action": RequestAction.SCALE_OUT,
        "target": "infra",
        "event_date": starts.strftime("%Y-%m-%dT%H:%M"),
        "starts_at": starts,
        "ends_at": starts + timedelta(hours=1),
        "title": "Sale",
        "owner": "kim",
        "requested_at": START,
    }
    return ScaleRequest(**(values | fields))


def key(number):
    return f"infra/pa/{request(number).event_date}"


@pytest.fixture
def log():
    """Two events, a broken and a misplaced record, an outcome and a calendar; nothing is folded yet."""
    log = MemoryLog()
    log.send(request(1))
    log.send(request(1))
    log.send(replace(request(1), request_id="r1b", title="Other"))
    log.send(request(2))
    log.send(replace(request(2), request_id="r2b", action=RequestAction.DELETE))
    log.send(request(3, title="{{no}}"))
    log.put(CATALOGUE.requests.name, b"infra", b"\x7fnonsense")
    log.send(request(4), partition=AWAY)
    run = Outcome(
        outcome_id="o1",
        kind=OutcomeKind.SCHEDULED,
        subject="run/x-1",
        target="infra",
        at=START,
        entry=key(1),
    )
    log.send(run, spec=CATALOGUE.outcomes)
    log.send(run, spec=CATALOGUE.outcomes)
    days = tuple(CalendarDay(date=START.date() + timedelta(days=n), name="Day") for n in (10, 11))
    snapshot = CalendarSnapshot(
        calendar_id="kr", taken_at=START, covers_from=START.date(), covers_to=START.date() + timedelta(days=90),
        days=days, target="infra",
    )  # fmt: skip
    log.send(snapshot, spec=CATALOGUE.calendars)
    return log


@pytest.fixture
def worked(log):
    PretendWorker(log).work()
    return log


def replayed(log, scope=ALL, *observers, **listeners):
    return Session(log, CODEC, CATALOGUE, GROUPS, scope).run(*observers, **listeners)


def differences(report, table="entries"):
    return [(difference.key, difference.kind) for difference in report.tables[table].differences]


def test_what_a_worker_made_is_equal_and_everything_balances(worked):
    report = replayed(worked)
    assert report.same
    assert {name: result.equal for name, result in report.tables.items()} == {
        "entries": 5,
        "facts": 1,
        "calendar-states": 1,
    }
    shown = report_json(report)["requests"]
    assert shown == {
        "in": 11, "accepted": 5, "replaced": 1, "duplicate": 1, "stale": 0, "withdrawn": 1, "rejected": 1,
        "forwarded": 1, "dead_lettered": 1, "not_yet_read": 0, "balanced": True,
    }  # fmt: skip
    assert report.notices.equal == report.notices.delivered == 9
    assert (report.notices.not_yet_read, report.notices.not_yet_delivered) == (0, 0)
    assert report_lines(report, "Asia/Seoul")[-1] == "Equal."


def test_a_worker_that_is_behind_is_not_a_difference(log):
    worker = PretendWorker(log)
    worker.work()
    log.send(request(5))
    log.send(replace(request(1), request_id="r1c", title="Third"))
    report = replayed(log)
    assert report.same
    assert report.accounts.not_yet_read == 2
    assert report.tables["entries"].not_yet_read == 2
    worker.fold()
    report = replayed(log)
    assert report.same
    assert report.accounts.not_yet_read == 0
    assert report.notices.not_yet_read == 2
    worker.announce()
    assert replayed(log).notices.not_yet_delivered == 2


def test_rows_say_how_far_a_worker_came_whose_commits_are_not_known(worked):
    worked.commits.clear()
    report = replayed(worked)
    assert report.same
    # The misplaced record, which left no row in its partition.
    assert report.accounts.not_yet_read == 1
    assert report.notices.delivered == 9
    (gone,) = worked.find(CATALOGUE.entries.name, lambda r: r.key == key(3).encode())
    worked.topics[gone.topic][gone.partition][gone.offset] = None
    assert differences(replayed(worked)) == [(key(3), Kind.MISSING)]


def last(log, topic, wanted):
    return log.find(topic, wanted)[-1]


def test_an_altered_row_is_named_with_both_sides(worked):
    row = last(worked, CATALOGUE.entries.name, lambda r: r.key == key(2).encode())
    entry = CODEC.decode(Entry, row.value)
    worked.put(row.topic, row.key, CODEC.encode(replace(entry, log_time=START), row.topic), partition=row.partition)
    report = replayed(worked)
    assert not report.same
    assert differences(report) == [(key(2), Kind.DIFFERENT)]
    ((name, ours, theirs),) = report.tables["entries"].differences[0].details()
    assert (name, ours, theirs) == ("log_time", str(entry.log_time), str(START))
    assert "DIFFERENT." in report_lines(report, "Asia/Seoul")
    (shown,) = report_json(report)["tables"]["entries"]["differences"]
    assert (shown["key"], shown["logged"]["logTime"]) == (key(2), "2026-05-01T00:00:00.000Z")


def test_rows_that_came_go_or_never_were_are_named(worked):
    name = CATALOGUE.entries.name
    row = last(worked, name, lambda r: r.key == key(1).encode())
    worked.put(name, row.key, None, partition=row.partition)
    made_up = CODEC.decode(Entry, last(worked, name, lambda r: r.key == key(2).encode()).value)
    made_up = replace(made_up, event_date="2027-01-01")
    worked.put(name, made_up.key.encode(), CODEC.encode(made_up, name), partition=HOME)
    assert differences(replayed(worked)) == [(key(1), Kind.MISSING), (made_up.key, Kind.UNEXPLAINED)]


@pytest.mark.parametrize("table", ["entries", "facts", "calendar-states"])
def test_a_row_from_beyond_the_end_of_its_log_is_named_alone(worked, table):
    """Nobody has folded what is not there: the row is made up, however far it says that it came."""
    spec = next(spec for spec in CATALOGUE if spec.short == table)
    row = last(worked, spec.name, lambda r: r.value is not None)
    forged = replace(CODEC.decode(spec.record, row.value), position=10**6)
    name = row.key.decode()
    worked.send(request(9))
    worked.put(spec.name, row.key, CODEC.encode(forged, spec.name), partition=row.partition)
    report = replayed(worked)
    assert differences(report, table) == [(name, Kind.BEYOND)]
    (difference,) = report.tables[table].differences
    assert ("position", str(difference.refolded.position), str(10**6)) in difference.details()
    # The request that no worker has read is not missing because of it.
    assert report.tables["entries"].not_yet_read == 1
    worked.put(spec.name, row.key, row.value, partition=row.partition)
    assert replayed(worked).same


def test_until_ends_the_reading_and_not_the_log(worked):
    """What stands beyond the end that somebody asks for is not read, and no difference."""
    report = replayed(worked, replace(ALL, until=Offsets({("requests", HOME): 1})))
    assert report.same
    assert report.tables["entries"].not_yet_read > 0


def test_a_row_in_a_partition_that_is_not_its_own_is_named_and_hides_nothing(worked):
    name = CATALOGUE.entries.name
    row = last(worked, name, lambda r: r.key == key(3).encode())
    worked.put(name, row.key, row.value, partition=AWAY)
    assert differences(replayed(worked)) == [(key(3), Kind.MISPLACED)]
    worked.put(name, row.key, None, partition=AWAY)
    assert replayed(worked).same


def test_a_row_that_was_written_late_by_a_dying_worker_is_told_and_is_no_difference(worked):
    name = CATALOGUE.entries.name
    first = worked.find(name, lambda r: r.key == key(1).encode())[0]
    worked.put(name, first.key, first.value, partition=first.partition)
    report = replayed(worked)
    assert report.same
    assert report.tables["entries"].stale_writes == [key(1)]


def test_rows_by_other_rules_are_told_apart(worked):
    name = CATALOGUE.entries.name
    row = last(worked, name, lambda r: r.key == key(2).encode())
    entry = CODEC.decode(Entry, row.value)
    by_others = replace(entry, rules=0)
    worked.put(name, row.key, CODEC.encode(by_others, name), partition=row.partition)
    report = replayed(worked)
    assert report.same
    # They decided the same.
    assert differences(report) == []
    otherwise = replace(by_others, verdict=replace(entry.verdict, kind=VerdictKind.STALE))
    worked.put(name, row.key, CODEC.encode(otherwise, name), partition=row.partition)
    report = replayed(worked)
    assert report.same
    assert differences(report) == [(key(2), Kind.RULES)]


def test_verdicts_that_newer_rules_would_change_are_told_apart_from_real_differences(worked, monkeypatch):
    """Rules that refuse what was accepted: that is told, with its messages; what differs besides is a difference."""
    old = requests.refusal

    def newer(asked, *arguments, **more):
        return ("new", "not any more") if asked.title == "Forbidden" else old(asked, *arguments, **more)

    worked.send(request(5, title="Forbidden"))
    worker = PretendWorker(worked)
    worker.work()
    monkeypatch.setattr(requests, "refusal", newer)
    monkeypatch.setattr(requests, "RULES", 99)
    monkeypatch.setitem(session._RULES, "entries", 99)
    report = replayed(worked)
    assert report.same
    assert differences(report) == [(key(5), Kind.RULES)]
    assert report.tables["entries"].equal == 5
    told = {(notice.kind, notice.about.partition(" ")[0]) for notice in report.notices.by_rules}
    assert told == {("missing", "rejected"), ("unexplained", "accepted")}
    lines = report_lines(report, "Asia/Seoul")
    assert "1 would be decided otherwise by today's rules" in "\n".join(lines)
    assert "2 would be told otherwise by today's rules" in "\n".join(lines)
    assert lines[-1] == "Equal."
    assert report_json(report)["notifications"]["byOtherRules"]

    # What the newer rules have decided themselves must be as they decide it.
    worked.send(request(6))
    worked.send(request(7))
    worker.work()
    row = last(worked, CATALOGUE.entries.name, lambda r: r.key == key(6).encode())
    entry = CODEC.decode(Entry, row.value)
    altered = replace(entry, scale_out=replace(entry.scale_out, owner="mallory"))
    worked.put(row.topic, row.key, CODEC.encode(altered, row.topic), partition=row.partition)
    spec = CATALOGUE.notifications
    lost = last(worked, spec.name, lambda r: CODEC.decode(Notification, r.value).entry == key(7))
    worked.topics[lost.topic][lost.partition][lost.offset] = None
    report = replayed(worked)
    assert not report.same
    assert differences(report) == [(key(5), Kind.RULES), (key(6), Kind.DIFFERENT)]
    assert ("missing", CODEC.decode(Notification, lost.value).notification_id) in {
        (notice.kind, notice.notification_id) for notice in report.notices.differences
    }
    assert len(report.notices.by_rules) == 2


def test_a_missing_letter_copy_notification_or_delivery_is_named(worked):
    def lose(topic, wanted):
        record = last(worked, topic, wanted)
        worked.topics[topic][record.partition][record.offset] = None
        return record

    told = lose(CATALOGUE.notifications.name, lambda r: CODEC.decode(Notification, r.value).entry == key(3))
    lost = CODEC.decode(Notification, told.value)
    delivered = lose(CATALOGUE.deliveries.name, lambda r: r.key != lost.notification_id.encode())
    letter = lose(CATALOGUE.dead_letters.name, lambda _: True)
    copy = lose(CATALOGUE.requests.name, lambda r: r.headers)
    report = replayed(worked)
    kinds = {(notice.notification_id, notice.kind) for notice in report.notices.differences}
    assert {
        (lost.notification_id, "missing"),
        (lost.notification_id, "delivery of nothing"),
        (delivered.key.decode(), "not delivered"),
    } <= kinds
    assert len(report.letters_missing) == 1
    assert "magic" in report.letters_missing[0]
    assert report.forwards_missing == [f"{CATALOGUE.requests.name}/{AWAY}/0"]
    assert letter.value == b"\x7fnonsense"
    assert copy.headers


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("headline", "Nothing happened", "in other words"),
        ("text", "Nothing happened", "in other words"),
        ("link", "https://elsewhere.test", "in other words"),
        ("fields", (), "in other words"),
        ("severity", Severity.ERROR, "different"),
        ("request_id", "another", "different"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["told right afterwards", "told right before"])
def test_an_altered_notification_is_named_with_both_sides(worked, field, value, kind, first):
    """Whether the right one stands there as well or not: people may have been told either."""
    spec = CATALOGUE.notifications
    told = last(worked, spec.name, lambda r: CODEC.decode(Notification, r.value).entry == key(3))
    right = CODEC.decode(Notification, told.value)
    altered = CODEC.encode(replace(right, **{field: value}), spec.name)
    part = worked.topics[spec.name][told.partition]
    if first:
        part[told.offset] = told._replace(value=altered)
        worked.put(spec.name, told.key, told.value, partition=told.partition)
    else:
        worked.put(spec.name, told.key, altered, partition=told.partition)
    worked.commit("peaktime-slack-sink", spec)
    report = replayed(worked)
    (notice,) = report.notices.differences
    assert (notice.notification_id, notice.kind) == (right.notification_id, kind)
    assert [name for name, _, _ in notice.details()] == [field]
    (shown,) = report_json(report)["notifications"]["differences"]
    assert shown["expected"]["notificationId"] == shown["found"]["notificationId"] == right.notification_id
    assert any(f"{field}: expected" in line for line in report_lines(report, "Asia/Seoul"))


@pytest.mark.parametrize("how", ["another version", "another zone"])
def test_words_of_another_version_or_zone_are_no_difference(worked, how):
    spec = CATALOGUE.notifications
    told = last(worked, spec.name, lambda r: "(Asia/Seoul)" in CODEC.decode(Notification, r.value).text)
    right = CODEC.decode(Notification, told.value)
    text = right.text.replace("Asia/Seoul", "Asia/Tokyo") if how == "another zone" else "Told in the old way"
    headers = [("peaktime-producer", b"peaktime/0.0.1")] if how == "another version" else None
    value = CODEC.encode(replace(right, text=text), spec.name)
    worked.topics[spec.name][told.partition][told.offset] = told._replace(value=value, headers=headers)
    assert replayed(worked).same


def test_a_notification_that_came_twice_reached_people_once(worked):
    told = last(worked, CATALOGUE.notifications.name, lambda _: True)
    worked.put(told.topic, told.key, told.value, partition=told.partition)
    worked.commit("peaktime-slack-sink", CATALOGUE.notifications)
    report = replayed(worked)
    assert report.same
    assert report.notices.equal == report.notices.delivered == 9


def test_a_delivery_that_was_taken_back_is_named(worked):
    told = last(worked, CATALOGUE.deliveries.name, lambda _: True)
    worked.put(told.topic, told.key, None, partition=told.partition)
    report = replayed(worked)
    assert [(n.notification_id, n.kind) for n in report.notices.differences] == [(told.key.decode(), "not delivered")]


def test_a_notification_of_nothing_is_named(worked):
    made_up = Notification(
        notification_id="ab" * 16,
        thread="t",
        headline="!",
        decided_at=START,
        source=f"{CATALOGUE.requests.name}/{HOME}/0",
    )
    name = CATALOGUE.notifications.name
    worked.put(name, b"t", CODEC.encode(made_up, name))
    report = replayed(worked)
    assert [(n.notification_id, n.kind) for n in report.notices.differences] == [("ab" * 16, "unexplained")]


def test_a_log_that_lost_its_beginning_is_judged_from_there(worked):
    """The first request of the replaced event is gone: what goes back to it is not judged, the rest is."""
    worked.lows[CATALOGUE.requests.name, HOME] = 2
    report = replayed(worked)
    assert report.same
    assert report.tables["entries"].older == 1
    assert report.notices.older == 3
    assert report.tables["entries"].equal == 4
    assert list(report.trimmed) == [CATALOGUE.requests.name]


def test_from_the_middle_what_was_decided_before_is_taken_from_the_rows(worked):
    worker = PretendWorker(worked)
    worker.fold()
    since = worked.clock
    worked.send(replace(request(2), request_id="r2c", requested_at=START + timedelta(days=1)))
    PretendWorker(worked).work()
    report = replayed(worked, Scope(since=since))
    assert report.same
    assert report.accounts.read < 6


def test_until_stops_at_a_log_time(worked):
    times = [r.log_time for r in worked.find(CATALOGUE.requests.name, lambda _: True) if r.partition == HOME]
    states = {}
    for number in (2, 3, 4):
        report = replayed(worked, Scope(until=times[number]))
        assert report.same
        entry = report.entries.get(key(2))
        states[number] = None if entry is None else entry.verdict.kind.value
        assert report.accounts.read == number + 1
    assert states == {2: None, 3: "ACCEPTED", 4: "WITHDRAWN"}


def test_until_stops_before_offsets(worked):
    states = {}
    for number in (3, 4, 5):
        until = Offsets({("requests", HOME): number, ("outcomes", HOME): 0})
        stories = Stories(wanted_event(key(2), None), "Asia/Seoul", until)
        report = replayed(
            worked, Scope(until=until), stories.step, notifications=stories.notification, deliveries=stories.delivery
        )
        assert report.same
        entry = report.entries.get(key(2))
        told = [line.what for story in stories.all() for line in story.lines if line.kind == "notification"]
        states[number] = None if entry is None else entry.verdict.kind.value, told
        assert report.facts == {}
    assert states == {
        3: (None, []),
        4: ("ACCEPTED", ["accepted"]),
        5: ("WITHDRAWN", ["accepted", "withdrawn"]),
    }  # fmt: skip
    with pytest.raises(SettingsError, match="is not on the log"):
        replayed(worked, Scope(until=Offsets({("requests", HOME): 1000})))
    with pytest.raises(SettingsError, match="has no partition"):
        replayed(worked, Scope(target="infra", until=Offsets({("requests", AWAY): 1})))


def test_one_target_is_read_alone(worked):
    worked.send(request(9, target="app"))
    PretendWorker(worked).work()
    report = replayed(worked, Scope(target="infra"))
    assert report.same
    assert {entry.target for entry in report.entries.values()} == {"infra"}


def test_a_story_has_request_outcome_notification_and_delivery_in_order(worked):
    stories = Stories(wanted_event(key(1), None), "Asia/Seoul")
    replayed(worked, Scope(), stories.step, notifications=stories.notification, deliveries=stories.delivery)
    (story,) = stories.all()
    assert story.title == "Other"
    told = [(line.kind, line.what) for line in story.ordered()]
    assert [what for kind, what in told if kind == "request"] == ["accepted", "duplicate", "replaced"]
    assert ("outcome", "scheduled") in told
    assert told.count(("notification", "accepted")) == 1
    assert any("https://slack.test/" in line.text for line in story.lines if line.kind == "delivery")
    assert told.index(("request", "replaced")) < told.index(("notification", "replaced"))
    replaced = next(line for line in story.lines if (line.kind, line.what) == ("request", "replaced"))
    assert "title Sale → Other" in replaced.text


@pytest.mark.parametrize(
    ("event", "target", "meant"),
    [
        (None, None, True),
        ("infra/pa/2026-05-04", None, True),
        ("20260504", None, True),
        ("2026-05-04", "infra", True),
        ("2026-05-04", "app", False),
        ("2026-05-05", None, False),
        ("infra/pa", None, False),
        ("infra/pa/20260504", None, True),
        (" 2026-05-04 ", None, True),
    ],
)
def test_what_people_type_for_an_event(event, target, meant):
    assert wanted_event(event, target)("infra/pa/2026-05-04") is meant


@pytest.mark.parametrize("event", ["2026-05-04T00:00Z", "2026-05-04T09:00+09:00", "infra/pa/2026-05-04T00:00+00:00"])
def test_an_event_date_with_an_offset_is_meant_in_the_zone(event):
    wanted = wanted_event(event, None, "Asia/Seoul")
    assert wanted("infra/pa/2026-05-04T09:00")
    assert not wanted("infra/pa/2026-05-04T00:00")


def test_what_cannot_be_judged_is_said_of_its_key(worked):
    """An entry of which the replay has not seen the last change is neither equal nor different."""
    report = replayed(worked, Scope(until=Offsets({("requests", HOME): 1})))
    assert key(1) in report.tables["entries"].unjudged
    assert not replayed(worked).tables["entries"].unjudged
    first = worked.topics[CATALOGUE.requests.name][HOME][3].log_time
    assert key(1) in replayed(worked, Scope(since=first)).tables["entries"].unjudged


def test_from_the_middle_no_message_is_told_of_what_came_before(worked):
    first = worked.topics[CATALOGUE.requests.name][HOME][3].log_time
    stories = Stories(wanted_event(None, None), "Asia/Seoul", since=first)
    replayed(worked, Scope(since=first), stories.step, notifications=stories.notification)
    assert all(line.at >= first for story in stories.all() for line in story.lines)
    assert key(2) in {story.key for story in stories.all()}
