"""How long the calendar's work takes: ``python bench/calendars.py``.

A ten-year snapshot from ICS text to folded and encoded state, and `peaktime calendar preview` with its start-up.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter
from zoneinfo import ZoneInfo

from peaktime.calendars import parse_calendars
from peaktime.core.calendars import fold_snapshot
from producers.calendar.feeds.fetch import Fetcher
from producers.calendar.feeds.ics import IcsFeed
from producers.calendar.feeds.library import LibraryFeed
from producers.calendar.importer import assess
from schemas.codec import Codec

ROUNDS = 5
ZONE = ZoneInfo("Asia/Seoul")


def feed_of(days):
    events = [
        f"BEGIN:VEVENT\nUID:{day.date}\nDTSTART;VALUE=DATE:{day.date:%Y%m%d}\nSUMMARY:{day.name}\nEND:VEVENT"
        for day in days
    ]
    return "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *events, "END:VCALENDAR", ""])


def timed(work):
    took = []
    for _ in range(ROUNDS):
        began = perf_counter()
        work()
        took.append(perf_counter() - began)
    return f"median {statistics.median(took) * 1000:7.1f} ms, worst {max(took) * 1000:7.1f} ms of {ROUNDS}"


def main():
    now = datetime.now(UTC)
    first, last = date(now.year, 1, 1), date(now.year + 9, 12, 31)
    (calendar,) = parse_calendars("calendars: [{id: kr, feed: x, target: infra}]", "bench").calendars
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ten-years.ics"
        path.write_text(feed_of(LibraryFeed("KR").read(first, last).days), encoding="utf-8")
        sizes = {}

        def import_ten_years():
            found = IcsFeed(lambda: Fetcher().file(path), ZONE).read(first, last)
            snapshot = assess(calendar, found, None, now)
            codec = Codec()
            sizes["snapshot"] = len(codec.encode(snapshot, "peaktime.calendars.v1"))
            state = fold_snapshot(None, snapshot, 0, now)
            sizes["state"] = len(codec.encode(state, "peaktime.calendar-states.v1"))
            sizes["days"], sizes["peaks"] = len(snapshot.days), len(state.peaks)

        print(f"ten years imported (read, judged, folded, encoded): {timed(import_ten_years)}; aim: under 2000 ms")
        print(f"  {sizes['days']} days, {sizes['peaks']} peaks in the horizon")
        print(f"  snapshot {sizes['snapshot']} bytes, state {sizes['state']} bytes")
        beside = Path(sys.executable).with_name("peaktime")
        command = str(beside) if beside.exists() else shutil.which("peaktime") or "peaktime"
        for name, feed, more in (
            ("preview of the ICS file, JSON", str(path), ["--json"]),
            ("preview of holidays:KR, JSON", "holidays:KR", ["--json"]),
            ("preview of holidays:KR, table", "holidays:KR", []),
            ("preview of holidays:KR, SVG", "holidays:KR", ["--json", "--plot", str(Path(folder) / "year.svg")]),
        ):
            line = [command, "calendar", "preview", "--feed", feed, "--from", str(first), *more]
            took = timed(lambda line=line: subprocess.run(line, check=True, stdout=subprocess.DEVNULL))
            print(f"{name}, start-up included: {took}; aim: under 1000 ms")


if __name__ == "__main__":
    main()
