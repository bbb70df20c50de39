"""Replay of what a real worker made of a real log: equal, without any effect, and naming what was tampered with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
from support.site import eventually
from support.whole_way import CATALOGUE, TARGET, asked, elsewhere, world

from peaktime import cli
from peaktime.core.outcomes import problem_subject
from processors.replay.reader import LogReader
from schemas.records import Delivery, Entry, Notification, Outcome, OutcomeKind, RequestAction

REQUESTS = CATALOGUE.requests.name


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A log with one of everything, folded and told by a worker that was restarted once, and a sink."""
    with world(tmp_path_factory.mktemp("cluster")) as made:
        first = asked("a1")
        made.event = f"{TARGET}/pa/{first.event_date}"
        for request in (
            first,
            first,
            replace(first, request_id="a2"),
            replace(first, request_id="a3", title="큰 행사"),
            asked("b1", 1),
            asked("c1", 2, title="{{no}}"),
        ):
            made.send(request)
        made.put(REQUESTS, TARGET.encode(), b"\x7fnonsense")
        misplaced = made.codec.encode(asked("d1", 3), REQUESTS)
        made.put(REQUESTS, TARGET.encode(), misplaced, partition=elsewhere(TARGET))
        with made.worker():
            made.until_quiet()
        made.send(asked("e1", 4, target="app"))
        made.send(replace(asked("b1", 1), request_id="b2", action=RequestAction.DELETE))
        made.send(replace(first, request_id="a4", title="큰 행사", owner="lee", description="더 크게"))
        with made.worker():
            made.until_quiet()
        sink = made.command("slack-sink", "--until-idle", "1")
        assert sink.returncode == 0, sink.stderr
        yield made


def replayed(made, *arguments):
    answer = made.command("replay", "--json", *arguments)
    assert answer.returncode in (0, 2), answer.stderr
    return answer.returncode, json.loads(answer.stdout)


@pytest.mark.slow
def test_what_nothing_is_about_is_remarked(done):
    for target, remarked in (("nosuch", True), (TARGET, False)):
        answer = done.command("replay", "--quiet", "--target", target)
        assert answer.returncode == 0, answer.stderr
        assert ("nothing that was read is about a target nosuch" in answer.stderr) == remarked
    answer = done.command("dead-letters", "redrive", "--all", "--reason", "nonsense", "--who", "lee", "--why", "test")
    assert (answer.returncode, "no open letter has the reason 'nonsense'" in answer.stderr) == (0, True), answer.stderr


def verified(made):
    answer = made.command("audit", "verify", "--json")
    assert answer.returncode in (0, 2), answer.stderr
    return answer.returncode, json.loads(answer.stdout)


@pytest.mark.slow
def test_replay_says_equal_and_every_request_is_accounted_for(done):
    code, report = replayed(done)
    assert (code, report["equal"]) == (0, True), report
    counted = report["requests"]
    # The copy of the misplaced record may be there more than once: a worker that dies forwards it again.
    copies = counted["in"] - 11
    assert copies >= 1
    assert counted == {
        "in": 11 + copies, "accepted": 4, "replaced": 2, "duplicate": 1 + copies, "stale": 0, "withdrawn": 1,
        "rejected": 1, "forwarded": 1, "dead_lettered": 1, "not_yet_read": 0, "balanced": True,
    }  # fmt: skip
    entries = report["tables"]["entries"]
    assert (entries["equal"], entries["differences"], entries["not_yet_read"]) == (5, [], 0)
    assert report["tables"]["facts"]["equal"] >= 3
    stories = {story["key"]: story for story in report["events"]}
    first = next(story for story in stories.values() if story["title"] == "큰 행사")
    told = [line["what"] for line in first["lines"] if line["kind"] == "request"]
    assert told == ["accepted", "duplicate", "duplicate", "replaced", "replaced"]
    kinds = {line["kind"] for line in first["lines"]}
    assert kinds == {"request", "outcome", "notification", "delivery"}
    assert {line["fate"] for line in report["aside"]} == {"forwarded", "dead-lettered"}


@pytest.mark.slow
def test_what_people_see(done):
    answer = done.command("replay")
    assert answer.returncode == 0
    assert answer.stderr == ""
    assert "Its entry is as entries.v1 has it." in answer.stdout
    assert answer.stdout.rstrip().endswith("Equal.")
    one = done.command("replay", "--event", f"{TARGET}/pa/{asked('b1', 1).event_date}")
    assert one.returncode == 0
    assert "withdrawn" in one.stdout
    assert "큰 행사" not in one.stdout
    quiet = done.command("replay", "--quiet")
    assert quiet.returncode == 0
    assert "봄 행사" not in quiet.stdout


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["replay"], ["audit", "requests"], ["audit", "requests", "--json"]])
def test_a_terminal_without_the_letters_is_no_error(done, arguments):
    script = "import os, sys; os.environ.pop('PYTHONIOENCODING', None); sys.stdout.reconfigure(encoding='latin-1'); "
    answer = done.command(*arguments, script=f"{script} from peaktime.cli import main; main()")
    assert answer.returncode == 0, answer.stderr
    assert "\\ubd04" in answer.stdout
    if "--json" in arguments:
        assert any(row["title"] == "봄 행사" for row in json.loads(answer.stdout))


WATCHED = """
import atexit, json, os, socket, sys, threading
import psutil
python, system, over = set(), set(), threading.Event()
def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto", "subprocess.Popen", "os.exec", "os.posix_spawn"):
        python.add(f"{event} {arguments[-1]!r}")
sys.addaudithook(hook)
def watch():
    me = psutil.Process()
    while True:
        for connection in me.net_connections():
            if connection.raddr:
                system.add(f"{connection.raddr.ip}:{connection.raddr.port}")
        if over.wait(0.005):
            return
thread = threading.Thread(target=watch)
thread.start()
from peaktime import cli
code = cli.run(sys.argv[1:])
over.set()
thread.join()
effects = ("faust", "mode", "kubernetes", "slack_sdk", "aiohttp.web", "producers", "processors.driver",
           "processors.fold", "processors.announce", "processors.reconcile", "processors.slack", "peaktime.sandbox.argo")
loaded = sorted(name for name in sys.modules if any(name == e or name.startswith(e + ".") for e in effects))
sys.stderr.write(json.dumps({"python": sorted(python), "system": sorted(system), "loaded": loaded}))
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["replay", "--json"], ["audit", "verify", "--no-cluster", "--json"]], ids=["replay", "verify"]
)
def test_no_connection_but_kafkas_is_opened_and_nothing_with_effects_is_imported(done, arguments):
    answer = done.command(*arguments, script=f"exec({WATCHED!r})")
    assert answer.returncode == 0, answer.stderr
    seen = json.loads(answer.stderr.splitlines()[-1])
    assert seen == {"python": [], "system": [done.bootstrap], "loaded": []}
    assert json.loads(answer.stdout)["equal"]


@pytest.mark.slow
def test_verify_says_equal_with_notifications_and_deliveries(done):
    code, report = verified(done)
    assert (code, report["equal"]) == (0, True), report
    told = report["notifications"]
    assert told["equal"] == told["delivered"] > 0
    assert (told["not_yet_read"], told["not_yet_delivered"], told["older"]) == (0, 0, 0)


@pytest.mark.slow
def test_views_of_the_log(done):
    rows = json.loads(done.command("audit", "requests", "--verdict", "replaced", "--owner", "LEE", "--json").stdout)
    assert [(row["request_id"], row["title"], row["verdict"]) for row in rows] == [("a4", "큰 행사", "replaced")]
    assert "owner: kim → lee" in rows[0]["changes"]
    every = json.loads(done.command("audit", "requests", "--json").stdout)
    assert [row["verdict"] for row in every].count("dead-lettered") == 1
    assert "봄 행사" in done.command("audit", "requests").stdout

    (story,) = json.loads(done.command("audit", "event", asked("b1", 1).event_date, "--json").stdout)
    assert [line["what"] for line in story["lines"] if line["kind"] == "request"] == ["accepted", "withdrawn"]
    assert done.command("audit", "event", "infra/pa/2020-01-01").returncode == 1

    moments = {row["request_id"]: row["at"] for row in every}
    (then,) = [row for row in _at(done, moments["b1"]) if row["key"] == story["key"]]
    (now,) = [row for row in _at(done, moments["b2"]) if row["key"] == story["key"]]
    assert (then["state"], now["state"]) == ("asked for", "withdrawn")
    changed = json.loads(done.command("audit", "diff", moments["b1"], moments["b2"], "--json").stdout)
    assert {row["key"]: row["change"] for row in changed}[story["key"]] == "changed"


def _at(made, moment):
    return json.loads(made.command("audit", "at", moment, "--json").stdout)


@pytest.fixture
def here(done, monkeypatch):
    """Runs a command in this process: a quick way where many are run."""
    for name, value in done.environment().items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: cli.run(arguments)


VIEWS = {
    "requests": (),
    "schedule": (),
    "event": ("--event", "EVENT"),
    "diff": ("--from", "2020-01-01", "--until", "2100-01-01"),
}
TOPICS = [f"topic:{spec.short}" for spec in CATALOGUE]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["jsonl", "csv"])
@pytest.mark.parametrize("what", [*VIEWS, *TOPICS])
def test_an_export_is_the_same_each_time_and_proves_itself(done, here, tmp_path, capsys, what, shape):
    more = [done.event if part == "EVENT" else part for part in VIEWS.get(what, ())]
    for name in ("one", "two"):
        assert here("audit", "export", what, str(tmp_path / name), "--format", shape, *more) == 0
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    short = what.removeprefix("topic:")
    assert set(one) == {"manifest.json", f"{short}.{shape}"}
    manifest = json.loads(one["manifest.json"])
    (told,) = manifest["files"]
    content = one[told["name"]]
    assert (told["sha256"], told["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert manifest["version"] == version("peaktime")
    # The calendars of this log are empty; dead letters are nobody's records.
    empty = short in ("calendars", "calendar-states")
    assert bool(manifest["schemas"]) is (not empty and short != "dead-letters")
    assert bool(manifest["from"] and manifest["to"]) is not empty
    assert manifest["from"] <= manifest["to"]
    topic = CATALOGUE.requests.name if what in VIEWS else f"peaktime.{short}.v1"
    assert topic in manifest["topics"]
    assert {place.rpartition("/")[0] for place in manifest["offsets"]} == set(manifest["topics"])
    rows = content.decode().splitlines()
    assert bool(rows[1:] if shape == "csv" else rows) is not empty
    if what == "topic:requests":
        offsets = manifest["offsets"].values()
        assert (
            sum(end - start for start, end in offsets)
            == len(rows) - (shape == "csv")
            == told["lines"] - (shape == "csv")
        )

    capsys.readouterr()
    assert here("audit", "check-export", str(tmp_path / "one"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["same"]
    data = tmp_path / "one" / told["name"]
    altered = bytearray(content) or bytearray(b"x")
    altered[len(altered) // 2] ^= 1
    data.write_bytes(altered)
    assert here("audit", "check-export", str(tmp_path / "one")) == 2
    assert data.name in capsys.readouterr().out
    assert here("audit", "check-export", str(tmp_path / "one"), "--json") == 2
    shown = json.loads(capsys.readouterr().out)
    assert (shown["same"], shown["wrong"]) == (False, [f"{data.name}: is not what was exported"])


@pytest.mark.slow
def test_an_export_up_to_an_instant_is_the_same_when_more_has_come(done, here, tmp_path, capsys):
    """It adds a topic record that no worker reads, and takes the time before that."""
    with LogReader(done.options) as log:
        last = max(raw.log_time for raw in log.read(log.spans([CATALOGUE.deliveries.name])))
    until = ("--until", last.isoformat())
    for name in ("one", "two"):
        assert here("audit", "export", "deliveries", str(tmp_path / name), *until) == 0
        eventually("the clock to go on", lambda: datetime.now(UTC) > last)
        done.put(CATALOGUE.deliveries.name, b"x", None)
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    capsys.readouterr()
    assert here("audit", "export", "deliveries", str(tmp_path / "three"), "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["files"][0]["lines"] == json.loads(one["manifest.json"])["files"][0]["lines"] + 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing",), "is no view or topic"),
        (("event",), "--event"),
        (("requests", "--event", "infra/pa/2026-05-04"), "--event"),
        (("diff", "--from", "2026-05-04"), "Name both"),
        (("diff", "--from", "2026-05-04", "--until", "2026-05-03"), "the second is before the first"),
        (("schedule", "--from", "2026-05-04"), "--until"),
        (("entries", "--target", "infra"), "takes no --event or --target"),
        (("requests", "--until", "soon"), "is no time"),
        (("event", "--event", "infra/pa/2020-01-01"), "no such event"),
    ],
)
def test_an_export_that_makes_no_sense_is_refused_in_one_line(here, tmp_path, capsys, arguments, told):
    what, *more = arguments
    assert here("audit", "export", what, str(tmp_path / "out"), *more) == 1
    captured = capsys.readouterr()
    assert told in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert here("audit", "export", "entries", str(tmp_path / "full")) == 1
    assert "is not empty" in capsys.readouterr().err


def test_kafka_that_is_away_is_one_line(tmp_path):
    with world(tmp_path) as made:
        pass
    answer = made.command(
        "replay",
        script="from processors.replay import reader; reader.PATIENCE = 1.0; from peaktime.cli import main; main()",
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("peaktime: ")
    assert "Check that Kafka is up" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_topic_that_is_missing_is_said(tmp_path):
    with world(tmp_path) as made:
        answer = made.command(
            "replay",
            "--quiet",
            script="import os; os.environ['PEAKTIME_TOPIC_PREFIX'] = 'none.'; from peaktime.cli import main; main()",
        )
        assert answer.returncode == 1
        assert "peaktime topics ensure" in answer.stderr


def test_reading_ends_where_the_log_ended_and_leaves_no_group(tmp_path):
    with world(tmp_path) as made, LogReader(made.options, timeout=20) as log:
        for number in range(2500):
            made.raw.produce(REQUESTS, key=f"k{number % 7}".encode(), value=b"%d" % number)
        assert made.raw.flush(10) == 0
        spans = log.spans([REQUESTS, CATALOGUE.outcomes.name])
        made.put(REQUESTS, b"k1", b"later")
        seen = {}
        moved = []
        for raw in log.read(spans, moved.append):
            assert raw.value != b"later"
            assert raw.offset == seen.get(raw.partition, -1) + 1
            seen[raw.partition] = raw.offset
        assert sum(seen.values()) + len(seen) == sum(moved) == 2500
        assert log.committed("peaktime-replay-unused", [REQUESTS]) == {}
        (part,) = [span for span in spans if (span.topic, span.partition) == (REQUESTS, 0)]
        from_middle = list(log.read([replace(part, start=part.end - 3)]))
        assert [raw.offset for raw in from_middle] == [part.end - 3, part.end - 2, part.end - 1]


def test_reading_begins_at_a_log_time(done):
    """Also here: the embedded broker finds no offsets by time, and says of every time that nothing is that late."""
    with LogReader(done.options) as log:
        every = sorted(log.read(log.spans([REQUESTS])), key=lambda raw: (raw.partition, raw.offset))
        last = max(raw.log_time for raw in every)
        moments = [
            datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC), every[0].log_time, last,
            last - timedelta(microseconds=1), last + timedelta(microseconds=1), last + timedelta(days=1),
        ]  # fmt: skip
        for since in moments:
            found = list(log.read(log.spans([REQUESTS], since=since)))
            assert sorted(found, key=lambda raw: (raw.partition, raw.offset)) == [
                raw for raw in every if raw.log_time >= since
            ]


@pytest.mark.slow
def test_what_is_tampered_with_is_named(done):
    """The last test of this world: it does the tampering, one thing after the other."""
    name = CATALOGUE.entries.name
    with LogReader(done.options) as log:
        rows = {raw.key: raw for raw in log.read(log.spans([name]))}
        told = [
            done.codec.decode(Notification, raw.value) for raw in log.read(log.spans([CATALOGUE.notifications.name]))
        ]
    row = next(raw for raw in rows.values() if b"app/" in raw.key)
    entry = done.codec.decode(Entry, row.value)
    altered = replace(entry, scale_out=replace(entry.scale_out, owner="nobody"))
    done.put(name, row.key, done.codec.encode(altered, name), partition=row.partition)
    code, report = replayed(done)
    assert (code, report["equal"]) == (2, False)
    (difference,) = report["tables"]["entries"]["differences"]
    assert (difference["key"], difference["kind"]) == (entry.key, "different")
    assert difference["fields"] == [{"field": "scale_out.owner", "refolded": "kim", "logged": "nobody"}]
    (story,) = [story for story in report["events"] if story["state"] == "different"]
    assert story["key"] == entry.key

    done.put(name, row.key, row.value, partition=row.partition)
    assert replayed(done)[0] == 0

    made_up = replace(told[0], notification_id="ab" * 16)
    spec = CATALOGUE.notifications
    done.put(spec.name, made_up.thread.encode(), done.codec.encode(made_up, spec.name))
    delivery = Delivery(notification_id="cd" * 16, delivered_at=told[0].decided_at)
    spec = CATALOGUE.deliveries
    done.put(spec.name, b"cd" * 16, done.codec.encode(delivery, spec.name))
    code, report = verified(done)
    assert code == 2
    named = {(notice["id"], notice["kind"]) for notice in report["notifications"]["differences"]}
    assert named == {("ab" * 16, "unexplained"), ("cd" * 16, "delivery of nothing")}

    # An outcome that no worker has folded is not yet read, and so is what it would tell.
    opened = Outcome(
        outcome_id="o", kind=OutcomeKind.PROBLEM_OPENED, subject=problem_subject("x", TARGET), target=TARGET,
        at=told[0].decided_at,
    )  # fmt: skip
    spec = CATALOGUE.outcomes
    done.put(spec.name, TARGET.encode(), done.codec.encode(opened, spec.name))
    code, report = verified(done)
    assert report["tables"]["facts"]["not_yet_read"] == 1
    assert report["tables"]["facts"]["differences"] == []


def test_every_record_of_ours_carries_the_attributes_of_cloudevents(done):
    seen = {}
    with LogReader(done.options) as log:
        for spec in CATALOGUE:
            for raw in log.read(log.spans([spec.name])):
                # What tests put there by hand has none, and means the same.
                if spec.record is None or raw.value is None or raw.header("ce_id") is None:
                    continue
                assert raw.header("ce_specversion") == "1.0"
                assert raw.header("ce_type") == f"peaktime.v1.{spec.record.__name__}"
                assert raw.header("content-type") == "application/avro"
                assert raw.header("ce_time").endswith("Z")
                assert raw.header("ce_id")
                assert raw.header("peaktime-producer").startswith("peaktime/")
                seen.setdefault(spec.short, set()).add(raw.header("ce_source"))
    assert seen["entries"] == seen["facts"] == {"peaktime/fold"}
    assert seen["outcomes"] == {"peaktime/reconcile"}
    assert seen["notifications"] == {"peaktime/announce"}
    assert seen["deliveries"] == {"peaktime/slack-sink"}
