import json
import subprocess
import sys
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from support.calendars import ics

from peaktime.cli import import_calendar as cli
from peaktime.cli import run
from peaktime.core.calendars import fold_snapshot
from producers.publish import Position
from schemas.catalogue import load_catalogue

TURN = {
    "2025-12-24": "이브",
    "2025-12-31": "섣달",
    "2026-01-01": "신정",
    "2026-05-05": "어린이날",
    "2026-12-31": "섣달",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kr.ics").write_text(ics(TURN), encoding="utf-8")
    return tmp_path


def preview(capsys, *arguments):
    assert run(["calendar", "preview", "--feed", "kr.ics", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


# Preview ------------------------------------------------------------------------------------------------------------


def test_json_is_exactly_this(capsys):
    assert preview(capsys, "--from", "2026-05-01", "--to", "2026-05-31") == [
        {
            "eventDate": "2026-05-06",
            "runStart": "2026-05-05",
            "runEnd": "2026-05-05",
            "holidays": [{"date": "2026-05-05", "name": "어린이날"}],
            "rule": "first working day after 1 day off",
        },
    ]


def test_a_run_across_the_edge_is_whole_and_a_peak_beyond_it_is_not_shown(capsys):
    first, second = preview(capsys, "--from", "2026-01-02", "--to", "2026-12-31")
    assert (first["eventDate"], first["runStart"], len(first["holidays"])) == ("2026-01-02", "2025-12-31", 2)
    assert second["eventDate"] == "2026-05-06"
    assert preview(capsys, "--from", "2026-01-03", "--to", "2026-05-05") == []
    assert [p["eventDate"] for p in preview(capsys, "--from", "2027-01-01", "--to", "2027-01-31")] == ["2027-01-01"]


def test_without_dates_it_is_this_year_in_the_zone(capsys, here):
    year = datetime.now(UTC).year
    feed = ics({f"{year - 1}-03-03": "x", f"{year}-06-08": "x", f"{year}-06-09": "x", f"{year + 1}-03-03": "x"})
    (here / "now.ics").write_text(feed, encoding="utf-8")
    assert run(["calendar", "preview", "--feed", "now.ics", "--zone", "UTC", "--json"]) == 0
    assert {p["eventDate"][:4] for p in json.loads(capsys.readouterr().out)} == {str(year)}
    assert [p["eventDate"] for p in preview(capsys, "--to", "2025-12-31")] == ["2025-12-25"]
    assert [p["eventDate"] for p in preview(capsys, "--from", "2025-12-26")] == []


def test_options_are_heard(capsys):
    span = ["--from", "2026-05-01", "--to", "2026-05-31"]
    assert preview(capsys, *span, "--bridge-days")[0]["runStart"] == "2026-05-02"
    assert preview(capsys, *span, "--minimum-length", "2") == []
    assert preview(capsys, *span, "--leave-out", "2026-05-05") == []
    assert preview(capsys, *span, "--closing", "2026-05-06")[0]["eventDate"] == "2026-05-07"
    assert preview(capsys, *span, "--weekdays-off", "tue") == []
    assert preview(capsys, *span, "--kinds", "election") == []


def test_the_library_by_its_word(capsys):
    arguments = ["--feed", "holidays:KR", "--from", "2025-10-01", "--to", "2025-10-31", "--json"]
    assert run(["calendar", "preview", *arguments]) == 0
    (peak,) = json.loads(capsys.readouterr().out)
    assert (peak["eventDate"], peak["runStart"], peak["runEnd"]) == ("2025-10-10", "2025-10-03", "2025-10-09")
    assert {"date": "2025-10-06", "name": "추석"} in peak["holidays"]


def test_the_table_shows_the_run_and_why(capsys):
    assert run(["calendar", "preview", "--feed", "kr.ics", "--from", "2026-01-01", "--to", "2026-12-31"]) == 0
    shown = capsys.readouterr().out
    for text in ("2026-01-02 fri", "2025-12-31 to 2026-01-01", "2026-01-01 thu 신정", "a run of 2 days off"):
        assert text in shown


def test_what_the_feed_does_not_know_is_said_beside_the_answer(capsys):
    assert run(["calendar", "preview", "--feed", "kr.ics", "--from", "2026-01-01", "--to", "2028-12-31", "--json"]) == 0
    told = capsys.readouterr()
    assert "knows nothing after 2026-12-31" in told.err
    assert json.loads(told.out)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--feed", "none.ics"], 1, "none.ics: is not there"),
        (["--feed", "ftp://a/b"], 1, "ftp: is not a way"),
        (["--feed", "http://127.0.0.1:1/x"], 1, "private address 127.0.0.1"),
        (["--feed", "page.ics"], 1, "page.ics: is a web page"),
        (["--feed", "data.go.kr"], 1, "PEAKTIME_DATA_GO_KR_KEY"),
        (["--feed", "kr.ics", "--zone", "Nowhere/Else"], 2, "no time zone"),
        (["--feed", "kr.ics", "--from", "tomorrow"], 2, "is no date"),
        (["--feed", "kr.ics", "--from", "2026-02-01", "--to", "2026-01-01"], 2, "must not be after --to"),
        (["--feed", "kr.ics", "--kinds", "bank"], 2, "'bank' is none of"),
        (["--feed", "kr.ics", "--weekdays-off", "sunday"], 2, "no weekday"),
        (["--feed", "kr.ics", "--plot", "x.gif"], 2, ".svg or .png"),
        (["--feed", "kr.ics", "--plot", "none/x.svg"], 1, "cannot be written"),
        ([], 2, "--feed"),
    ],
)
def test_mistakes_are_one_line_and_name_the_next_step(capsys, here, arguments, status, said):
    (here / "page.ics").write_text("<html>Sign in</html>")
    assert run(["calendar", "preview", *arguments]) == status
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


def test_the_picture_shows_every_day_and_is_well_formed(here):
    assert run(["calendar", "preview", "--feed", "kr.ics", "--from", "2026-01-01", "--plot", "a <b>.svg"]) == 0
    root = ET.fromstring((here / "a <b>.svg").read_text(encoding="utf-8"))
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0].startswith("Days off and peaks, 2026-01-01 to 2026-12-31")
    assert len(titles) == 1 + 365
    assert "2026-05-05 tue 어린이날" in titles
    assert "2026-05-06 wed peak" in titles


def test_a_png_without_matplotlib_is_said_to_need_it(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(["calendar", "preview", "--feed", "kr.ics", "--from", "2026-01-01", "--plot", "x.png"]) == 1
    assert "x.png: a PNG needs matplotlib, which is not installed. Install peaktime[plot]" in capsys.readouterr().err
    assert not (here / "x.png").exists()


def test_it_starts_without_what_it_does_not_need():
    heavy = (
        "{'pydantic_settings', 'confluent_kafka', 'httpx', 'rich.table', 'matplotlib', 'faust', 'kubernetes', 'yaml'}"
    )
    program = (
        "import sys; from peaktime.cli import run; "
        "assert run(['calendar', 'preview', '--feed', 'kr.ics', '--json', '--from', '2026-01-01']) == 0; "
        f"found = {heavy} & set(sys.modules); assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Import -------------------------------------------------------------------------------------------------------------


class FakeBus:
    """A topic of snapshots and the fold behind it."""

    def __init__(self):
        self.catalogue = load_catalogue()
        self.snapshots = []
        self.state = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def publish(self, spec, key, record):
        assert (spec.short, key) == ("calendars", record.calendar_id)
        self.snapshots.append(record)
        self.state = fold_snapshot(self.state, record, len(self.snapshots), datetime.now(UTC))
        return Position(spec.name, 3, len(self.snapshots))


YEAR = datetime.now(UTC).year
FUTURE = {f"{YEAR}-{month}": "x" for month in ("01-01", "05-05", "12-25")} | {
    f"{YEAR + 1}-{month:02}-{day:02}": f"day {month}" for month, day in ((1, 1), (3, 1), (5, 5), (6, 6), (10, 9), (12, 25))
}  # fmt: skip


@pytest.fixture
def bus(monkeypatch, here):
    fake = FakeBus()
    monkeypatch.setattr(cli, "open_publisher", lambda _settings, _source: fake)
    monkeypatch.setattr(cli, "_state", lambda _settings, _calendar: fake.state)
    (here / "feed.ics").write_text(ics(FUTURE), encoding="utf-8")
    # Every weekday is worked, so that what the feed says does not depend on the year that the test runs in.
    (here / "calendars.yaml").write_text(
        "calendars: [{id: kr, feed: feed.ics, target: infra, weekdaysOff: [], kinds: [public], horizonDays: 60},"
        " {id: jp, feed: page.ics, target: infra}]",
    )
    (here / "page.ics").write_text("<html>Sign in</html>")
    monkeypatch.setenv("PEAKTIME_CALENDARS", "calendars.yaml")
    return fake


def imports(capsys, *arguments, status=0):
    assert run(["import-calendar", "--calendar", "kr", "--json", *arguments]) == status
    told = capsys.readouterr()
    return json.loads(told.out), told.err


def test_an_import_publishes_a_snapshot_and_says_what_will_follow(bus, capsys):
    told, _ = imports(capsys)
    assert (told["calendar"], told["refused"], told["position"]) == ("kr", "", "peaktime.calendars.v1/3/1")
    assert told["days"] == len(FUTURE)
    assert all(change["kind"] == "ADDED" for change in told["changes"])
    (snapshot,) = bus.snapshots
    assert (snapshot.fingerprint, snapshot.taken_by[:18]) == (told["fingerprint"], "import-calendar at")
    # The second one says the same, and changes nothing.
    state = bus.state
    again, _ = imports(capsys)
    assert (again["changes"], again["position"], bus.state) == ([], "peaktime.calendars.v1/3/2", state)


def test_a_dry_run_publishes_nothing_and_shows_the_difference(bus, capsys, here):
    imports(capsys)
    today = datetime.now(UTC).date()
    soon = today.replace(day=1, month=today.month % 12 + 1, year=today.year + today.month // 12)
    (here / "other.ics").write_text(ics(FUTURE | {str(soon): "임시공휴일"}), encoding="utf-8")
    (here / "calendars.yaml").write_text(
        (here / "calendars.yaml").read_text().replace("[public]", "[public, temporary]"),
    )
    told, _ = imports(capsys, "--dry-run", "--feed", "other.ics")
    assert (told["position"], len(bus.snapshots)) == (None, 1)
    assert told["changes"]
    assert run(["import-calendar", "--calendar", "kr", "--dry-run", "--feed", "other.ics"]) == 0
    text = capsys.readouterr().out
    assert "nothing was published" in text
    assert told["changes"][0]["after"] in text


def test_a_refused_feed_is_published_as_such_and_fails(bus, capsys):
    assert run(["import-calendar", "--calendar", "jp"]) == 1
    told = capsys.readouterr()
    assert "calendar jp: the feed was refused: page.ics: is a web page" in told.err
    assert "is on the log at" in told.out
    assert (bus.snapshots[0].refused_code, bus.state.refused_told) == ("wrong-type", ("wrong-type",))


def test_a_feed_that_cannot_be_read_publishes_nothing(bus, capsys):
    assert run(["import-calendar", "--calendar", "kr", "--feed", "none.ics"]) == 1
    assert "none.ics: is not there" in capsys.readouterr().err
    assert bus.snapshots == []


def test_withdrawals_need_somebody_who_stands_for_them(bus, capsys, here, monkeypatch):
    now = datetime(YEAR, 11, 1, tzinfo=UTC)
    monkeypatch.setattr(cli, "_now", lambda _settings: now)
    (here / "calendars.yaml").write_text(
        "calendars: [{id: kr, feed: feed.ics, target: infra, weekdaysOff: [], withdrawals: {days: 0, share: 0.2}}]",
    )
    bus.publish = lambda spec, _key, record: (
        bus.snapshots.append(record),
        setattr(bus, "state", fold_snapshot(bus.state, record, len(bus.snapshots), now)),
        Position(spec.name, 0, len(bus.snapshots)),
    )[-1]
    imports(capsys)
    fewer = {day: name for day, name in FUTURE.items() if day[5:] not in ("03-01", "05-05")}
    (here / "feed.ics").write_text(ics(fewer), encoding="utf-8")
    told, error = imports(capsys, status=1)
    assert told["refusedCode"] == "withdrawals"
    assert "--accept-withdrawals --who NAME --why REASON" in error
    assert run(["import-calendar", "--calendar", "kr", "--accept-withdrawals", "--who", "hana"]) == 2
    assert "needs --who and --why" in capsys.readouterr().err
    told, _ = imports(capsys, "--accept-withdrawals", "--who", "hana", "--why", "repealed")
    assert (told["acceptedBy"], told["acceptedWhy"]) == ("hana", "repealed")
    assert {change["kind"] for change in told["changes"]} == {"WITHDRAWN"}


def test_a_calendar_that_is_not_there_is_named(bus, capsys):
    assert run(["import-calendar", "--calendar", "us"]) == 1
    assert "calendar us: is in no calendars file; there are: kr, jp" in capsys.readouterr().err
    assert bus.snapshots == []
