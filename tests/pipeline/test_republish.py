"""`peaktime republish` on a broker: what is meant is copied once, however often it was cut short."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
from support.site import eventually
from support.whole_way import CATALOGUE, TARGET, asked, elsewhere, world

from processors.replay.log import copied_from, partition_of
from processors.replay.reader import LogReader
from schemas.headers import REPUBLISHED_FROM, REPUBLISHED_TIME

REQUESTS = CATALOGUE.requests.name
COPIES = "copies.v1"
COUNT = 300


@pytest.fixture
def made(tmp_path):
    with world(tmp_path) as opened:
        # A topic of this broker comes to be when it is first asked for.
        opened.raw.list_topics(COPIES, 10)
        yield opened


def standing(made, topic):
    with LogReader(made.options, timeout=20) as log:
        return sorted(log.read(log.spans([topic])), key=lambda raw: raw.place)


def republished(made, *arguments):
    done = made.command("republish", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_cut_short_by_sigkill_and_run_again_each_record_is_there_once(made):
    for number in range(COUNT):
        headers = [("ce_id", b"%d" % number), ("twice", b"1"), ("twice", b"2")]
        made.raw.produce(REQUESTS, key=b"k%d" % (number % 7), value=b"\x00\xff%d" % number, headers=headers)
    assert made.raw.flush(10) == 0
    first = made.start("republish", "requests", COPIES, "--all", "--rate", "100")
    eventually("some copies", lambda: len(standing(made, COPIES)) > 20)
    first.send_signal(signal.SIGKILL)
    assert first.wait(10) == -signal.SIGKILL
    done = len(standing(made, COPIES))
    assert 0 < done < COUNT

    summary = republished(made, "requests", COPIES, "--all", "--rate", "5000")
    assert summary["selected"] == COUNT
    assert summary["sent"] + summary["alreadyThere"] == COUNT
    assert summary["alreadyThere"] >= done
    again = republished(made, "requests", COPIES, "--all")
    assert (again["sent"], again["alreadyThere"]) == (0, COUNT)

    originals = {(raw.partition, raw.offset): raw for raw in standing(made, REQUESTS)}
    copies = standing(made, COPIES)
    assert Counter(copied_from(copy)[1:] for copy in copies) == Counter(list(originals))
    for copy in copies:
        original = originals[copied_from(copy)[1:]]
        assert (copy.key, copy.value) == (original.key, original.value)
        assert copy.partition == partition_of(copy.key, 4)
        kept = [h for h in copy.headers if h[0] not in (REPUBLISHED_FROM, REPUBLISHED_TIME, "peaktime-producer")]
        assert kept == original.headers
        stood = original.log_time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert copy.header(REPUBLISHED_TIME) == stood
    for key in {copy.key for copy in copies}:
        values = [int(copy.value[2:]) for copy in copies if copy.key == key]
        assert values == sorted(values)


def test_a_selection_is_shown_before_it_is_sent_and_nothing_else_is_sent(made):
    for number in range(8):
        made.send(asked(f"r{number}", number))
    made.send(asked("other", target="app"))
    made.put(REQUESTS, TARGET.encode(), b"\x7fnonsense", partition=elsewhere(TARGET))
    date = asked("r3", 3).event_date
    shown = made.command("republish", "requests", COPIES, "--key", TARGET, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "9 records of peaktime.requests.v1 are meant, from " in shown.stdout
    assert f"0 are in {COPIES} already; 9 would be copied" in shown.stdout
    assert "봄 행사" in shown.stdout
    assert "and 4 more" in shown.stdout
    assert shown.stderr == ""
    dry = republished(made, "requests", COPIES, "--key", TARGET, "--dry-run")
    assert (dry["selected"], dry["sent"], dry["dryRun"], len(dry["first"])) == (9, 0, True, 5)
    assert dry["from"] <= dry["first"][0]["time"] <= dry["to"]
    assert standing(made, COPIES) == []

    nothing = made.command("republish", "requests", COPIES, "--event", "infra/pa/2020-01-01")
    assert (nothing.returncode, nothing.stdout.startswith("0 copied")) == (0, True)
    assert "no record of peaktime.requests.v1 is what was asked for" in nothing.stderr
    one = republished(made, "requests", COPIES, "--event", f"infra/pa/{date}")
    assert (one["selected"], one["sent"]) == (1, 1)
    home = partition_of(TARGET.encode(), 4)
    places = republished(made, REQUESTS, COPIES, "--offsets", f"{home}=2-4")
    assert (places["selected"], places["sent"], places["alreadyThere"]) == (3, 2, 1)
    times = {
        raw.offset: raw.log_time for raw in standing(made, REQUESTS) if (raw.partition, raw.key) == (home, b"infra")
    }
    late = republished(
        made, "requests", COPIES, "--from", times[6].isoformat(), "--key", TARGET, "--offsets", f"{home}=0-"
    )
    assert late["selected"] == sum(time >= times[6] for time in times.values())
    copies = {copied_from(copy)[1:] for copy in standing(made, COPIES)}
    assert {(home, 2), (home, 3), (home, 4), (home, 7)} <= copies
    assert (home, 0) not in copies
    until = republished(made, "requests", COPIES, "--until", "2020-01-01")
    assert (until["selected"], until["from"], until["first"]) == (0, None, [])
    gone = made.command("republish", "requests", COPIES, "--offsets", f"{home}=7-90")
    assert gone.returncode == 0
    assert f"{REQUESTS}/{home} ends before offset " in gone.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("requests", COPIES), 2, "say what is meant"),
        (("requests", COPIES, "--all", "--key", "infra"), 2, "say what is meant"),
        (("requests", "requests", "--all"), 1, "the topic that they come from"),
        (("outcomes", "requests", "--all", "--i-mean-it"), 1, "it holds requests"),
        (("entries", "entries", "--all", "--i-mean-it"), 1, "an old row would undo newer ones"),
        (("calendars", "calendars", "--all", "--i-mean-it"), 1, "import-calendar"),
        (("requests", COPIES, "--offsets", "9=0"), 1, "there is no partition 9"),
        (("requests", COPIES, "--offsets", "x"), 1, "PARTITION=FIRST-LAST"),
        (("requests", COPIES, "--from", "x"), 1, "is no time"),
        (("deliveries", COPIES, "--event", "2026-05-04"), 1, "do not say of which event"),
        (("requests", COPIES, "--all", "--rate", "0"), 2, "--rate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_does_harm_or_makes_no_sense_is_refused_in_one_line(made, arguments, code, told):
    before = standing(made, REQUESTS)
    done = made.command("republish", *arguments)
    assert done.returncode == code
    # Lines of a frame may come between the words.
    assert told in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    if code == 1:
        assert len(done.stderr.splitlines()) == 1
    assert standing(made, REQUESTS) == before
