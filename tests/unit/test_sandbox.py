"""The embedded broker, the sandbox clock and the cron schedules of the stand-in."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from peaktime.sandbox.clock import SandboxClock
from peaktime.sandbox.cron import ScheduleError, parse


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class TestSandboxClock:
    def test_it_shows_real_time_until_it_is_put_forward(self, tmp_path):
        clock = SandboxClock(tmp_path / "clock.json")
        before = datetime.now(UTC)
        assert before <= clock.now() <= datetime.now(UTC)
        assert clock.offset() == timedelta(0)

    def test_all_clocks_on_one_file_go_forward_together(self, tmp_path):
        ours, theirs = SandboxClock(tmp_path / "clock.json"), SandboxClock(tmp_path / "clock.json")
        theirs.now()
        for days in (1, 2, 400):
            instant = datetime.now(UTC) + timedelta(days=days)
            ours.advance_to(instant)
            for clock in (ours, theirs, SandboxClock(tmp_path / "clock.json")):
                assert instant <= clock.now() < instant + timedelta(minutes=1)
        assert [path.name for path in tmp_path.iterdir()] == ["clock.json"]

    def test_it_is_never_put_back(self, tmp_path):
        clock = SandboxClock(tmp_path / "clock.json")
        clock.advance_to(datetime.now(UTC) + timedelta(days=2))
        written = json.loads((tmp_path / "clock.json").read_text())
        clock.advance_to(datetime.now(UTC) + timedelta(days=1))
        assert json.loads((tmp_path / "clock.json").read_text()) == written

    def test_it_wants_an_aware_instant_and_a_file_of_its_own(self, tmp_path):
        clock = SandboxClock(tmp_path / "clock.json")
        with pytest.raises(ValueError, match="with a zone"):
            clock.advance_to(datetime(2026, 5, 4))  # noqa: DTZ001 - that is the point
        (tmp_path / "clock.json").write_text("[]")
        with pytest.raises(ValueError, match="not the file of a sandbox clock"):
            clock.now()


class TestSchedule:
    @pytest.mark.parametrize(
        ("text", "zone", "after", "expected"),
        [
            ("0 9 4 5 *", "Asia/Seoul", "2026-05-03T12:00", ["2026-05-04T00:00", "2027-05-04T00:00"]),
            ("0 9 4 5 *", "Asia/Seoul", "2026-05-04T00:00", ["2027-05-04T00:00"]),
            ("0 9 4 5 *", "", "2026-05-03T12:00", ["2026-05-04T09:00"]),
            ("30 6 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T06:30"]),
            ("*/20 1-2 * * *", "UTC", "2026-01-01T01:30", ["2026-01-01T01:40", "2026-01-01T02:00", "2026-01-01T02:20"]),
            (
                "10/20,5 0 * * *",
                "UTC",
                "2026-01-01T00:00",
                ["2026-01-01T00:05", "2026-01-01T00:10", "2026-01-01T00:30"],
            ),
            ("0 0 * * 0", "UTC", "2026-05-04T00:00", ["2026-05-10T00:00", "2026-05-17T00:00"]),
            # Both day fields: either will do; a star with a step is a restriction too.
            ("0 0 6 * 0", "UTC", "2026-05-04T00:00", ["2026-05-06T00:00", "2026-05-10T00:00"]),
            ("0 0 */30 5 2", "UTC", "2026-05-04T00:00", ["2026-05-05T00:00", "2026-05-12T00:00"]),
            # A local time that is skipped does not fire; one that comes twice fires twice.
            ("30 2 * * *", "America/New_York", "2026-03-07T12:00", ["2026-03-09T06:30"]),
            ("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["2026-11-01T05:30", "2026-11-01T06:30"]),
        ],
    )
    def test_when_it_fires(self, text, zone, after, expected):
        firings = parse(text, zone).firings(at(after))
        assert [next(firings) for _ in expected] == [at(instant) for instant in expected]

    def test_until_is_included_and_after_is_not(self):
        schedule = parse("* * * * *")
        assert list(schedule.firings(at("2026-05-04T00:00:00"), at("2026-05-04T00:02:00"))) == [
            at("2026-05-04T00:01"),
            at("2026-05-04T00:02"),
        ]
        assert list(schedule.firings(at("2026-05-04T00:00:00"), at("2026-05-04T00:00:59"))) == []

    def test_what_never_comes_ends(self):
        assert parse("0 0 30 2 *").first(at("2026-05-04T00:00")) is None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0 9 4 5",
            "0 0 9 4 5 *",
            "@daily",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "* * * * mon",
            "5-1 * * * *",
            "*/0 * * * *",
            "1- * * * *",
            "-1 * * * *",
            "1,,2 * * * *",
            "٣ * * * *",
        ],
    )
    def test_what_is_no_schedule(self, text):
        with pytest.raises(ScheduleError, match="malformed"):
            parse(text)

    @pytest.mark.parametrize("zone", ["Asia/Nowhere", "../etc/passwd", "/etc/localtime", "Asia"])
    def test_what_is_no_zone(self, zone):
        with pytest.raises(ScheduleError, match="unknown time zone"):
            parse("* * * * *", zone)
