"""What auditors see: the schedule at any instant, what changed and by whom, stories up to an instant, and the progress."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from support.memory_log import CATALOGUE, CODEC, PARTITIONS, START, MemoryLog, PretendWorker

from peaktime.cli.reading import Progress
from peaktime.cli.tables import print_lines
from processors.copies.plan import headers_of_copy
from processors.replay import export
from processors.replay.changes import Changes
from processors.replay.findings import Groups, Scope
from processors.replay.log import Raw, Span, partition_of
from processors.replay.report import report_json, report_lines
from processors.replay.session import Session
from processors.replay.story import Stories, wanted_event
from processors.replay.views import schedule_row
from schemas.records import RequestAction, ScaleRequest

GROUPS = Groups(fold="peaktime-fold", announce="peaktime-announce", sink="peaktime-slack-sink")
REQUESTS = CATALOGUE.requests.name
HOME = partition_of(b"infra", PARTITIONS)


def asked(number=1, **fields):
    starts = START + timedelta(days=3, hours=number)
    values = {
        "request_id": f"r{number}", "action": RequestAction.SCALE_OUT, "target": "infra",
        "event_date": starts.strftime("%Y-%m-%dT%H:%M"), "starts_at": starts, "ends_at": starts + timedelta(hours=1),
        "title": "Sale", "owner": "kim", "requested_at": START,
    }  # fmt: skip
    return ScaleRequest(**(values | fields))


def key(number):
    return f"infra/pa/{asked(number).event_date}"


@pytest.fixture
def log():
    """An event that is accepted, replaced by somebody else and deleted, one that stays, and one that is refused."""
    log = MemoryLog()
    log.send(asked(2))
    log.times = [
        log.send(request).log_time
        for request in (
            asked(),
            replace(asked(), request_id="r1b", title="Sale", owner="lee", ends_at=asked().ends_at + timedelta(hours=1)),
            replace(
                asked(),
                request_id="r1c",
                action=RequestAction.DELETE,
                owner="park",
                requested_at=START + timedelta(hours=1),
            ),
        )
    ]
    log.send(asked(3, title="{{no}}"))
    PretendWorker(log).work()
    return log


def replayed(log, scope, *observers, **listeners):
    return Session(log, CODEC, CATALOGUE, GROUPS, scope).run(*observers, **listeners)


def at(log, moment):
    report = replayed(log, Scope(until=moment, compare=False))
    return {row.key: row for row in map(schedule_row, report.entries.values())}


def between(log, first, second):
    changes = Changes(first)
    report = replayed(log, Scope(until=second), changes.step)
    return {row.key: row for row in changes.rows(report.entries)}


def test_each_state_of_a_replaced_and_deleted_event_is_seen_at_its_time(log):
    accepted, replaced, deleted = log.times
    tick = timedelta(milliseconds=1)
    assert key(1) not in at(log, accepted - tick)
    for moment in (accepted, replaced - tick):
        row = at(log, moment)[key(1)]
        assert (row.state, row.owner, row.ends_at) == ("asked for", "kim", "2026-05-04T02:00:00.000Z")
    for moment in (replaced, deleted - tick):
        row = at(log, moment)[key(1)]
        assert (row.state, row.owner, row.ends_at) == ("asked for", "lee", "2026-05-04T03:00:00.000Z")
    row = at(log, deleted)[key(1)]
    assert (row.state, row.owner, row.scale_out, row.ends_at) == ("withdrawn", "park", "", "")


def test_a_story_ends_where_it_is_asked_to(log):
    accepted, replaced, deleted = log.times
    told = {}
    for moment in (accepted, replaced, deleted, None):
        stories = Stories(wanted_event(key(1), None), "Asia/Seoul", moment)
        replayed(
            log, Scope(until=moment), stories.step, notifications=stories.notification, deliveries=stories.delivery
        )
        (story,) = stories.all()
        told[moment] = [(line.kind, line.what) for line in story.ordered() if line.kind != "delivery"]
    assert told[accepted] == [("request", "accepted"), ("notification", "accepted")]
    assert told[replaced] == [*told[accepted], ("request", "replaced"), ("notification", "replaced")]
    assert told[deleted] == told[None] == [*told[replaced], ("request", "withdrawn"), ("notification", "withdrawn")]
    early = Stories(wanted_event(key(1), None), "Asia/Seoul", accepted)
    replayed(log, Scope(until=accepted), early.step, notifications=early.notification, deliveries=early.delivery)
    assert [line for line in early.all()[0].lines if line.kind == "delivery"] == []


def test_a_diff_says_what_changed_and_everybody_who_changed_it(log):
    accepted, replaced, deleted = log.times
    row = between(log, accepted, replaced)[key(1)]
    assert (row.change, row.by, row.owner) == ("changed", "lee: replaced", "lee")
    assert row.fields == "owner: kim → lee; ends_at: 2026-05-04T02:00:00.000Z → 2026-05-04T03:00:00.000Z"
    row = between(log, accepted, deleted)[key(1)]
    assert (row.by, row.owner) == ("lee: replaced; park: withdrawn", "park")
    assert "state: asked for → withdrawn" in row.fields
    before = accepted - timedelta(milliseconds=1)
    assert between(log, before, accepted)[key(1)].change == "new"
    assert between(log, deleted, deleted + timedelta(days=1)) == {}
    whole = between(log, START, deleted + timedelta(days=1))
    assert set(whole) == {key(1), key(2)}
    assert set(between(log, before, replaced)) == {key(1)}


def test_what_stood_before_the_log_begins_is_no_change(log):
    log.lows[REQUESTS, HOME] = 2
    accepted, replaced, deleted = log.times
    assert set(between(log, replaced, deleted)) == {key(1)}
    changes = Changes(replaced)
    report = replayed(log, Scope(until=deleted), changes.step)
    assert key(2) in report.entries
    assert key(2) not in {row.key for row in changes.rows(report.entries)}
    assert report.trimmed == {REQUESTS: replaced}
    lines = report_lines(report, "Asia/Seoul")
    assert any("has lost its beginning: it can answer from" in line for line in lines)
    assert report_json(report)["trimmed"] == {REQUESTS: replaced.isoformat()}
    # It is told even where nothing is folded.
    assert replayed(log, Scope(until=accepted)).trimmed == {REQUESTS: replaced}


@pytest.mark.parametrize("later", [False, True], ids=["retries", "copies"])
@pytest.mark.parametrize("start", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(
    "story",
    [("a", "b", "d", "a", "b", "d"), ("a", "b", "a", "b"), ("a", "d", "a", "b", "a"), ("d", "a", "d", "a", "b", "b")],
    ids="".join,
)
def test_where_the_beginning_is_gone_what_came_again_is_no_difference(story, start, later):
    requests = {
        "a": asked(),
        "b": replace(asked(), request_id="r1b", title="Other"),
        "d": replace(asked(), request_id="r1d", action=RequestAction.DELETE, requested_at=START + timedelta(hours=1)),
    }
    log = MemoryLog()
    sent = {}
    for name in story:
        if name in sent and later:
            log.clock += timedelta(days=2)
        headers = headers_of_copy(sent[name]) if name in sent and later else None
        sent.setdefault(name, log.send(requests[name], headers=headers))
    PretendWorker(log).work()
    log.lows[REQUESTS, HOME] = min(start, len(story))
    report = replayed(log, Scope(notices=True))
    assert report.same, report_lines(report, "Asia/Seoul")


def test_where_the_beginning_is_gone_a_copy_of_what_is_gone_is_no_difference_whenever_it_comes():
    log = MemoryLog()
    first = log.send(asked())
    log.send(asked(2))
    log.clock += timedelta(days=2)
    log.send(asked(), headers=headers_of_copy(first))
    log.send(replace(asked(), request_id="r1b", title="Other"))
    PretendWorker(log).work()
    assert replayed(log, Scope(notices=True)).same
    log.lows[REQUESTS, HOME] = 1
    report = replayed(log, Scope(notices=True))
    assert report.same, report_lines(report, "Asia/Seoul")
    assert report.notices.older > 0


def test_where_the_beginning_is_gone_an_altered_row_is_still_named(log):
    spec = CATALOGUE.entries
    log.lows[REQUESTS, HOME] = 1
    log.clock += timedelta(days=2)
    log.send(asked(4))
    log.send(replace(asked(4), request_id="r4d", action=RequestAction.DELETE, requested_at=log.clock))
    PretendWorker(log).work()
    row = log.find(spec.name, lambda r: r.key == key(4).encode())[-1]
    entry = CODEC.decode(spec.record, row.value)
    log.put(
        spec.name,
        row.key,
        CODEC.encode(replace(entry, deletion=replace(entry.deletion, owner="nobody")), spec.name),
        partition=row.partition,
    )
    (found,) = replayed(log, Scope()).tables["entries"].differences
    assert found.key == key(4)


def test_a_topic_of_which_nothing_is_left_says_so(log):
    log.lows[REQUESTS, HOME] = len(log.topics[REQUESTS][HOME])
    report = replayed(log, Scope())
    assert report.trimmed == {REQUESTS: None}
    assert any("nothing is left" in line for line in report_lines(report, "Asia/Seoul"))


def pause(number, action, **fields):
    return ScaleRequest(
        request_id=f"p{number}", action=action, target="infra", event_date="", origin="operator", owner="kim",
        description="a release", requested_at=START + timedelta(minutes=number), **fields,
    )  # fmt: skip


def test_a_pause_is_seen_while_it_lasts():
    log = MemoryLog()
    paused = log.send(pause(1, RequestAction.PAUSE)).log_time
    resumed = log.send(pause(2, RequestAction.RESUME)).log_time
    (row,) = at(log, paused).values()
    assert (row.state, row.title, row.owner, row.request_id) == ("paused", "a release", "kim", "p1")
    (row,) = at(log, resumed).values()
    assert (row.state, row.request_id) == ("not paused", "p2")
    (row,) = between(log, paused, resumed).values()
    assert "state: paused → not paused" in row.fields


def raw(offset, *, partition=0, time=1000, value=b"\x00\x00\x00\x00\x07x", key=b"k", headers=None):
    return Raw("t", partition, offset, time, key, value, headers)


def test_what_counts_in_an_export_ends_at_an_instant_whatever_comes_later():
    short = export.Seen(raw(0, time=2000).log_time)
    assert [short.take(raw(n, time=1000 * n)) for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert (short.first, short.last, short.schemas) == (1000, 2000, {"id/7"})
    span = Span(topic="t", partition=0, start=1, end=5)
    assert short.end(span) == short.end(replace(span, end=9)) == 3
    assert short.end(replace(span, partition=1)) == 5


def test_a_log_that_is_noted_is_read_as_it_is(log):
    seen = export.Seen()
    noted = export.NotedLog(log, seen)
    plain = replayed(log, Scope())
    report = replayed(noted, Scope())
    assert report.entries == plain.entries
    assert report.records == plain.records
    assert seen.schemas
    assert seen.first is not None


def test_what_is_no_text_is_exported_whole():
    row = export.topic_row(
        raw(0, key=b"\xff", headers=[("a", None), ("b", b""), ("c", b"\xfe"), ("c", b"x")]), None, CODEC
    )
    assert row["key"] == {"base64": "/w=="}
    assert row["headers"] == [["a", None], ["b", ""], ["c", {"base64": "/g=="}], ["c", "x"]]
    assert row["value"] == {"base64": "AAAAAAd4"}
    for shape in export.FORMATS:
        assert list(export.lines([row], export.TOPIC_COLUMNS, shape)) == list(
            export.lines([json.loads(json.dumps(row))], export.TOPIC_COLUMNS, shape)
        )


def test_the_manifest_says_everything_that_the_file_covers(tmp_path):
    seen = export.Seen(raw(0, time=3000).log_time)
    spans = [Span(topic="t", partition=n, start=1, end=9) for n in (1, 0)]
    for record in (raw(1), raw(2, time=3000), raw(3, time=4000), raw(1, partition=1, time=2000, value=None)):
        seen.take(record)
    path = export.write(
        tmp_path / "out", "x.csv", [b"a\r\n", b"b\r\n"], what="topic:x", spans=spans, seen=seen, version="1.2.3",
        asked={"until": "then"},
    )  # fmt: skip
    manifest = json.loads(path.read_text("utf-8"))
    (file,) = manifest.pop("files")
    assert (file["name"], file["bytes"], file["lines"], len(file["sha256"])) == ("x.csv", 6, 2, 64)
    assert manifest == {
        "what": "topic:x",
        "asked": {"until": "then"},
        "version": "1.2.3",
        "from": "1970-01-01T00:00:01.000Z",
        "to": "1970-01-01T00:00:03.000Z",
        "schemas": ["id/7"],
        "topics": ["t"],
        "offsets": {"t/0": [1, 3], "t/1": [1, 9]},
    }
    assert export.check(tmp_path / "out") == []
    (tmp_path / "out" / "x.csv").write_bytes(b"a\r\nc\r\n")
    (tmp_path / "out" / "more").touch()
    assert export.check(tmp_path / "out") == ["x.csv: is not what was exported", "more: was not exported"]
    (tmp_path / "out" / "x.csv").unlink()
    assert export.check(tmp_path / "out")[0] == "x.csv: is not there"


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"])
def test_in_csv_no_text_is_a_formula(begin):
    _, row = export.lines([{"title": f"{begin}1+1", "count": 3}], ("title", "count"), "csv")
    assert row.decode().lstrip('"').startswith(f"'{begin}")
    (row,) = export.lines([{"title": f"{begin}1+1"}], ("title",), "jsonl")
    assert json.loads(row) == {"title": f"{begin}1+1"}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("봄 행사\u3000🎉", "봄 행사\u3000🎉"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb", "a\\nb"),
        ("\u202eevil", "\\u202eevil"),
    ],
)
def test_nobodys_words_rule_the_terminal(words, shown, capsys):
    print_lines([words])
    assert capsys.readouterr().out == f"{shown}\n"


def test_where_stderr_is_no_terminal_progress_is_a_line_now_and_then(capsys):
    now = [0.0]
    with Progress(shown=True, every=5, clock=lambda: now[0]) as progress:
        for second in (1, 4, 6, 7, 12):
            now[0] = second
            progress.moved(100_000, 10_000)
    assert capsys.readouterr().err.splitlines() == [
        "reading the log: 30,000 of 100,000 records, 5,000/s, 14 s left",
        "reading the log: 50,000 of 100,000 records, 4,167/s, 12 s left",
    ]
    with Progress(shown=False, every=0, clock=lambda: now[0]) as progress:
        progress.moved(10, 5)
    assert capsys.readouterr().err == ""
