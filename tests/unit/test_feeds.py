import gzip
import json
import socket
from datetime import date
from zoneinfo import ZoneInfo

import httpx
import pytest
from support.calendars import SEOUL, ics

from peaktime.core.feedspec import FeedSpec, parse_feed
from peaktime.errors import FeedError
from producers.calendar.feeds.base import BadFeedError, kind_of, result
from producers.calendar.feeds.cache import FeedCache
from producers.calendar.feeds.data_go_kr import DataGoKrFeed
from producers.calendar.feeds.fetch import Fetcher, Limits, addresses_of, shown
from producers.calendar.feeds.ics import IcsFeed, days_of
from producers.calendar.feeds.library import LibraryFeed
from producers.calendar.feeds.open import feed_from
from schemas.records import CalendarDay

FIRST, LAST = date(2026, 1, 1), date(2027, 12, 31)
PUBLIC = "93.184.216.34"


def calendar(*events):
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *events, "END:VCALENDAR", ""])


def event(*lines, uid="1", summary="holiday"):
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uid}", f"SUMMARY:{summary}", *lines, "END:VEVENT"])


def read(text, zone=SEOUL, first=FIRST, last=LAST):
    body = text if isinstance(text, bytes) else text.encode()
    return [str(day.date) for day in result(days_of(body, "feed", zone, first, last), first, last, "feed").days]


# ICS at the edges of a day ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "days"),
    [
        (["DTSTART;VALUE=DATE:20260505"], ["2026-05-05"]),
        (["DTSTART;VALUE=DATE:20260505", "DTEND;VALUE=DATE:20260506"], ["2026-05-05"]),
        (["DTSTART;VALUE=DATE:20260505", "DTEND;VALUE=DATE:20260505"], ["2026-05-05"]),
        (["DTSTART;VALUE=DATE:20260924", "DTEND;VALUE=DATE:20260927"], ["2026-09-24", "2026-09-25", "2026-09-26"]),
        (["DTSTART;VALUE=DATE:20260924", "DURATION:P2D"], ["2026-09-24", "2026-09-25"]),
        # 15:00 UTC is midnight in Seoul: the next day, and only that.
        (["DTSTART:20260504T150000Z", "DTEND:20260505T150000Z"], ["2026-05-05"]),
        (["DTSTART:20260504T150000Z"], ["2026-05-05"]),
        (["DTSTART:20260504T145900Z", "DTEND:20260504T150000Z"], ["2026-05-04"]),
        (["DTSTART:20260504T145900Z", "DTEND:20260504T150001Z"], ["2026-05-04", "2026-05-05"]),
        # Over midnight.
        (["DTSTART;TZID=Asia/Seoul:20260504T220000", "DTEND;TZID=Asia/Seoul:20260505T020000"], ["2026-05-04", "2026-05-05"]),
        (["DTSTART;TZID=Asia/Seoul:20260504T220000", "DURATION:PT2H"], ["2026-05-04"]),
        (["DTSTART;TZID=America/New_York:20260504T220000", "DTEND;TZID=America/New_York:20260504T230000"], ["2026-05-05"]),
        # Floating: local, wherever that is.
        (["DTSTART:20260505T000000", "DTEND:20260506T000000"], ["2026-05-05"]),
        (["DTSTART:20260505T233000", "DTEND:20260506T003000"], ["2026-05-05", "2026-05-06"]),
        # Recurring.
        (["DTSTART;VALUE=DATE:20200505", "RRULE:FREQ=YEARLY"], ["2026-05-05", "2027-05-05"]),
        (["DTSTART;VALUE=DATE:20200505", "RRULE:FREQ=YEARLY", "EXDATE;VALUE=DATE:20260505"], ["2027-05-05"]),
        (["DTSTART;VALUE=DATE:20200505", "DTEND;VALUE=DATE:20200507", "RRULE:FREQ=YEARLY;UNTIL=20261231"], ["2026-05-05", "2026-05-06"]),
        (["DTSTART;TZID=America/New_York:20200704T000000", "RRULE:FREQ=YEARLY;COUNT=7"], ["2026-07-04"]),
        (["DTSTART;VALUE=DATE:20261231", "DTEND;VALUE=DATE:20270102"], ["2026-12-31", "2027-01-01"]),
        (["DTSTART;VALUE=DATE:20260505", "STATUS:CANCELLED"], []),
        (["DTSTART;VALUE=DATE:20250505"], []),
        (["DTSTART;VALUE=DATE:20251230", "DTEND;VALUE=DATE:20260103"], ["2026-01-01", "2026-01-02"]),
    ],
)  # fmt: skip
def test_which_days_an_event_touches(lines, days):
    zone = ZoneInfo("America/New_York") if any("20200704" in line for line in lines) else SEOUL
    assert read(calendar(event(*lines)), zone) == days


def test_an_event_at_the_edge_of_the_asked_time_is_not_lost_to_a_zone():
    text = calendar(event("DTSTART:20251231T150000Z", "DTEND:20260101T150000Z"))
    assert read(text, first=FIRST, last=FIRST) == ["2026-01-01"]
    assert read(text, first=date(2026, 1, 2)) == []


def test_a_single_occurrence_moved_and_another_cancelled():
    text = calendar(
        event("DTSTART;VALUE=DATE:20250505", "RRULE:FREQ=YEARLY"),
        event("DTSTART;VALUE=DATE:20260506", "RECURRENCE-ID;VALUE=DATE:20260505"),
        event("DTSTART;VALUE=DATE:20270505", "RECURRENCE-ID;VALUE=DATE:20270505", "STATUS:CANCELLED"),
    )
    assert read(text) == ["2026-05-06"]


def test_names_kinds_and_observances():
    text = calendar(
        event("DTSTART;VALUE=DATE:20260525", uid="1", summary="부처님오신날 대체 휴일"),
        event("DTSTART;VALUE=DATE:20260603", uid="2", summary="지방선거일"),
        event(
            "DTSTART;VALUE=DATE:20260515",
            "DESCRIPTION:Observance\\nTo hide observances",
            uid="3",
            summary="스승의날",
        ),
        event("DTSTART;VALUE=DATE:20260505", uid="4", summary="어린이날"),
        event("DTSTART;VALUE=DATE:20260505", uid="5", summary="Another\\, name"),
    )
    found = IcsFeed(lambda: Fetcher().file(_written(text)), SEOUL).read(FIRST, LAST)
    assert [(str(day.date), day.name, day.kind) for day in found.days] == [
        ("2026-05-05", "Another, name; 어린이날", "public"),
        ("2026-05-15", "스승의날", "other"),
        ("2026-05-25", "부처님오신날 대체 휴일", "substitute"),
        ("2026-06-03", "지방선거일", "election"),
    ]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _written(text):
    from pathlib import Path  # noqa: PLC0415  (the current folder is this test's own)

    path = Path("feed.ics").absolute()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" \r\n ", "empty"),
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "wrong-type"),
        ('{"days": []}', "wrong-type"),
        (b"\xff\xfe\x00B", "wrong-type"),
        (ics({"2026-05-05": "x"})[:-10], "truncated"),
        (ics({"2026-05-05": "x"}).replace("END:VEVENT\r\n", ""), "truncated"),
        (calendar(event("DTSTART;VALUE=DATE:2026XX05")), "wrong-type"),
        (calendar("NOT A CONTENT LINE"), "wrong-type"),
        (calendar(event("DTSTART;VALUE=DATE:20260510", "DTEND;VALUE=DATE:20260501")), "wrong-type"),
        (calendar(event("DTSTART:20260510T100000Z", "DTEND:20260510T090000Z")), "wrong-type"),
        (calendar(event("DTSTART;VALUE=DATE:20260505", "RRULE:FREQ=SECONDLY")), "wrong-type"),
        (calendar(event("DTSTART;VALUE=DATE:20260505", "RRULE:FREQ=DAILY;BYSECOND=1,2,3")), "wrong-type"),
        (calendar(event("DTSTART;VALUE=DATE:20260505", "RRULE:FREQ=YEARLY;INTERVAL=x")), "wrong-type"),
        (calendar(*[event("DTSTART;VALUE=DATE:20200505", "RRULE:FREQ=DAILY", uid=f"{n}") for n in range(300)]), "wrong-type"),
    ],
)  # fmt: skip
def test_what_is_no_calendar_is_refused(text, code):
    with pytest.raises(BadFeedError) as raised:
        read(text)
    assert raised.value.code == code


def test_an_event_without_a_start_is_refused_in_words_unless_it_is_cancelled():
    good = event("DTSTART;VALUE=DATE:20260505", uid="1")
    with pytest.raises(BadFeedError, match="an event that does not say when it is"):
        read(calendar(good, event("LOCATION:somewhere", uid="2")))
    assert read(calendar(good, event("STATUS:CANCELLED", uid="2"))) == ["2026-05-05"]


def test_a_byte_order_mark_bare_newlines_and_lower_case_are_forgiven():
    text = ics({"2026-05-05": "x"}, newline="\n").replace("BEGIN:VCALENDAR", "begin:vcalendar")
    assert read(b"\xef\xbb\xbf" + text.encode()) == ["2026-05-05"]


def test_lines_folded_in_the_middle_of_a_letter_and_before_a_keyword():
    summary = "SUMMARY:추석 연휴에 이어지는 아주 긴 이름이라서 줄이 글자 한가운데에서 접힌다".encode()
    for width in range(9, 16):
        folded = b"\r\n ".join(summary[at : at + width] for at in range(0, len(summary), width))
        text = calendar(event("DTSTART;VALUE=DATE:20260505", "DESCRIPTION:see\r\n BEGIN:VEVENT", summary="here"))
        body = text.encode().replace(b"SUMMARY:here", folded)
        assert [d.name for d in days_of(body, "feed", SEOUL, FIRST, LAST)] == [summary.decode()[8:]]
        assert read(body.replace(b"\r\n", b"\n")) == read(body.replace(b"\r\n", b"\r\r\n")) == ["2026-05-05"]


def test_events_that_share_a_uid_are_all_there_and_corrections_still_replace():
    text = calendar(
        event("DTSTART;VALUE=DATE:20260505"),
        event("DTSTART;VALUE=DATE:20260606"),
        event("DTSTART;VALUE=DATE:20260715", "SEQUENCE:1", uid="2"),
        event("DTSTART;VALUE=DATE:20260717", "SEQUENCE:2", uid="2"),
        # The correction of one occurrence comes before what it corrects.
        event("DTSTART;VALUE=DATE:20260902", "RECURRENCE-ID;VALUE=DATE:20260901", uid="3"),
        event("DTSTART;VALUE=DATE:20250901", "RRULE:FREQ=YEARLY;COUNT=2", uid="3"),
    )
    assert read(text) == ["2026-05-05", "2026-06-06", "2026-07-17", "2026-09-02"]
    both = calendar(event("DTSTART;VALUE=DATE:20260505")) + calendar(event("DTSTART;VALUE=DATE:20260506"))
    assert read(both) == ["2026-05-05", "2026-05-06"]


def test_a_feed_in_the_way_of_google_korea():
    hide = "기념일\\n기념일을 숨기려면 Google Calendar 설정 > 대한민국의 휴일로 \r\n 이동하세요."
    days = [
        ("20260216", "20260219", "설날 연휴", "공휴일"),
        ("20260505", "20260506", "어린이날", "공휴일"),
        ("20260508", "20260509", "어버이날", hide),
        ("20260515", "20260516", "스승의날", hide),
        ("20260525", "20260526", "쉬는 날 부처님오신날", "공휴일"),
        ("20260603", "20260604", "지방선거", "공휴일"),
    ]
    common = ("DTSTAMP:20260101T000000Z", "CLASS:PUBLIC", "STATUS:CONFIRMED", "TRANSP:TRANSPARENT", "SEQUENCE:0")
    text = calendar(
        "PRODID:-//Google Inc//Google Calendar 70.9054//EN", "METHOD:PUBLISH", "X-WR-TIMEZONE:UTC",
        *[
            event(f"DTSTART;VALUE=DATE:{start}", f"DTEND;VALUE=DATE:{end}", f"DESCRIPTION:{said}", *common, uid=f"{start}_x@google.com", summary=name)
            for start, end, name, said in days
        ],
    )  # fmt: skip
    found = days_of(text.encode(), "feed", SEOUL, FIRST, LAST)
    kinds = {str(day.date): day.kind for day in found}
    assert {day for day, kind in kinds.items() if kind == "other"} == {"2026-05-08", "2026-05-15"}
    assert {day for day, kind in kinds.items() if kind != "other"} == {
        "2026-02-16", "2026-02-17", "2026-02-18", "2026-05-05", "2026-05-25", "2026-06-03",
    }  # fmt: skip
    assert kinds["2026-06-03"] == "election"


def test_a_feed_in_the_way_of_icloud():
    text = calendar(
        "X-APPLE-REGION:KR", "X-APPLE-LANGUAGE:ko", "X-WR-CALNAME:Holidays",
        event("DTSTART;VALUE=DATE:20220301", "RRULE:FREQ=YEARLY;COUNT=6", "CATEGORIES:Holidays", "CLASS:PUBLIC", uid="a", summary="삼일절"),
        event("DTSTART;VALUE=DATE:20260214", "X-APPLE-SPECIAL-DAY:ALTERNATE-WORKDAY", uid="b", summary="春节 班"),
        event("DTSTART;VALUE=DATE:20260216", "X-APPLE-SPECIAL-DAY:WORK-HOLIDAY", uid="c", summary="春节 休"),
        event("DTSTART;VALUE=DATE:20260717", "STATUS:Cancelled ", uid="d", summary="제헌절"),
        event("DTSTART;VALUE=DATE:20261001", "RDATE;VALUE=DATE:20261005,20261007", uid="e", summary="연휴"),
    )  # fmt: skip
    found = {str(d.date): d.kind for d in days_of(text.encode(), "feed", SEOUL, FIRST, LAST)}
    assert found.pop("2026-02-14") == "other"
    assert set(found) == {"2026-02-16", "2026-03-01", "2027-03-01", "2026-10-01", "2026-10-05", "2026-10-07"}
    assert set(found.values()) == {"public"}


def test_zones_of_the_feeds_own():
    zone = ["BEGIN:VTIMEZONE", "TZID:{}", "BEGIN:STANDARD", "DTSTART:16010101T000000", "TZOFFSETFROM:+0900",
            "TZOFFSETTO:+0900", "END:STANDARD", "END:VTIMEZONE"]  # fmt: skip
    for name in ("Korea Standard Time", "/freeassociation.example/Asia/Seoul", "My own"):
        text = calendar(
            *[line.format(name) for line in zone],
            event(f'DTSTART;TZID="{name}":20260505T000000', f'DTEND;TZID="{name}":20260506T000000'),
        )
        assert read(text) == ["2026-05-05"]
        assert read(text, ZoneInfo("UTC")) == ["2026-05-04", "2026-05-05"]


def test_an_event_of_many_years_is_only_looked_at_where_asked():
    with pytest.raises(BadFeedError):
        read(calendar(event("DTSTART;VALUE=DATE:00010102", "DTEND;VALUE=DATE:99991230")))
    text = calendar(event("DTSTART;VALUE=DATE:19000101", "DTEND;VALUE=DATE:22000101"))
    assert read(text, last=date(2026, 1, 3)) == ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_a_feed_covers_the_unbroken_years_that_it_names_days_of():
    def covers(*days):
        found = result([CalendarDay(date=date.fromisoformat(day)) for day in days], date(2024, 1, 1), LAST, "x")
        return str(found.covers_from), str(found.covers_to)

    assert covers("2025-05-05", "2026-05-05") == ("2025-01-01", "2026-12-31")
    assert covers("2024-05-05", "2026-05-05") == ("2026-01-01", "2026-12-31")
    assert covers("2026-05-05", "2029-01-01") == ("2026-01-01", "2026-12-31")
    nothing = result([], FIRST, LAST, "x")
    assert nothing.covers_to < nothing.covers_from


# The library --------------------------------------------------------------------------------------------------------


def test_the_library_speaks_korean_whatever_the_machine_does(monkeypatch):
    monkeypatch.setenv("LANGUAGE", "en_US")
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    found = LibraryFeed("KR").read(date(2025, 1, 1), date(2025, 12, 31))
    kinds = {day.name: day.kind for day in found.days}
    assert kinds["설날"] == "public"
    assert kinds["임시공휴일"] == "temporary"
    assert kinds["대통령 선거일"] == "election"
    assert kinds["추석 대체 휴일"] == "substitute"
    assert (found.covers_from, found.covers_to, found.source) == (date(2025, 1, 1), date(2025, 12, 31), "holidays:KR")


def test_the_library_tells_kinds_of_other_languages_in_english():
    found = LibraryFeed("EG").read(date(2025, 1, 1), date(2025, 12, 31))
    assert {day.kind for day in found.days} == {"public", "substitute"}


def test_the_librarys_subdivisions():
    days = {day.date for day in LibraryFeed("DE", "BY").read(FIRST, LAST).days}
    assert days > {day.date for day in LibraryFeed("DE").read(FIRST, LAST).days}
    for country, subdivision in (("XX", ""), ("DE", "NOWHERE")):
        with pytest.raises(FeedError, match="does not know it"):
            LibraryFeed(country, subdivision).read(FIRST, LAST)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Christmas Day (observed)", "substitute"),
        ("Alternative holiday for Chuseok", "substitute"),
        ("임시 공휴일", "temporary"),
        ("Temporary Public Holiday", "temporary"),
        ("제21대 국회의원선거", "election"),
        ("Constitution Day", "public"),
    ],
)
def test_what_a_name_tells(name, kind):
    assert kind_of(name) == kind


# The word that names a feed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "spec"),
    [
        ("feeds/kr.ics", FeedSpec("file", "feeds/kr.ics")),
        ("/tmp/a b.ics", FeedSpec("file", "/tmp/a b.ics")),
        ("file:///tmp/a%20b.ics", FeedSpec("file", "/tmp/a b.ics")),
        ("https://a.example/kr.ics?x=1", FeedSpec("url", "https://a.example/kr.ics?x=1")),
        ("HTTP://a.example/kr.ics", FeedSpec("url", "HTTP://a.example/kr.ics")),
        ("holidays:kr", FeedSpec("library", "KR")),
        ("holidays:US:CA", FeedSpec("library", "US", "CA")),
        ("data.go.kr", FeedSpec("data.go.kr")),
    ],
)
def test_words_for_feeds(word, spec):
    assert parse_feed(word) == spec


@pytest.mark.parametrize(
    "word", ["", "ftp://a/b", "webcal://a/b", "gopher:x", "holidays:", "holidays:KOREA", "https://", "http://[::1", "file://host/x", "data:text/calendar,x"],
)  # fmt: skip
def test_words_that_name_no_feed(word):
    with pytest.raises(FeedError):
        feed_from(word, SEOUL)


# Fetching -----------------------------------------------------------------------------------------------------------


def fetcher(answer, addresses=None, cache=None, **limits):
    def resolve(host, _port):
        return (addresses or {}).get(host, [PUBLIC])

    return Fetcher(
        limits=Limits(**{"seconds": 5, **limits}),
        cache=cache,
        resolve=resolve,
        transport=httpx.MockTransport(answer),
    )


def test_the_address_that_was_checked_is_the_one_that_is_asked():
    asked = []

    def answer(request):
        asked.append((str(request.url), request.headers["host"], request.extensions["sni_hostname"]))
        return httpx.Response(200, text="body", headers={"content-type": "Text/Calendar"})

    found = fetcher(answer).url("https://a.example:8443/kr.ics?token=secret")
    assert asked == [(f"https://{PUBLIC}:8443/kr.ics?token=secret", "a.example:8443", "a.example")]
    assert (found.body, found.source, found.content_type) == (b"body", "https://a.example:8443/kr.ics", "text/calendar")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "::1", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1", "224.0.0.1", "100.64.0.1", "nonsense"],
)  # fmt: skip
def test_private_addresses_are_refused_unless_allowed(address):
    def answer(_request):
        return httpx.Response(200, text="x")

    # One private address among public ones is enough.
    addresses = {"a.example": [PUBLIC, address]}
    with pytest.raises(FeedError, match="private address"):
        fetcher(answer, addresses).url("http://a.example/x")
    assert fetcher(answer, addresses, allow_private=True).url("http://a.example/x").body == b"x"


def test_every_hop_is_checked():
    def answer(request):
        there = {"/far": "http://inside.example/secret", "/near": "/there"}.get(request.url.path)
        return httpx.Response(302, headers={"location": there}) if there else httpx.Response(200, text="there")

    addresses = {"inside.example": ["10.0.0.1"]}
    assert fetcher(answer, addresses).url("http://a.example/near").source == "http://a.example/there"
    with pytest.raises(FeedError, match=r"inside\.example is at the private address"):
        fetcher(answer, addresses).url("http://a.example/far")


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "is not http: or https:"),
        ("ftp://a.example/x", "is not http: or https:"),
        ("http://a.example/x", "from https: to http:"),
        ("/again", "redirects more than 5 times"),
        ("https://a.example:123456/", "no URL"),
    ],
)
def test_redirects_that_are_not_followed(location, said):
    def answer(_request):
        return httpx.Response(301, headers={"location": location})

    with pytest.raises(FeedError, match=said):
        fetcher(answer).url("https://a.example/")


def test_size_is_bounded_also_after_decompression():
    bomb = gzip.compress(b"\0" * 3_000_000)
    assert len(bomb) < 10_000

    def answer(request):
        if request.url.path == "/plain":
            return httpx.Response(200, content=b"x" * 1_000_001)
        body = {"/bomb": bomb, "/cut": gzip.compress(b"fine")[:-9], "/bad": b"no gzip"}.get(
            request.url.path,
            gzip.compress(b"fine"),
        )
        return httpx.Response(200, stream=httpx.ByteStream(body), headers={"content-encoding": "gzip"})

    for path, said in (("plain", "larger than"), ("bomb", "larger than"), ("cut", "ends in"), ("bad", "not the gzip")):
        with pytest.raises(BadFeedError, match=said):
            fetcher(answer, size=1_000_000).url(f"https://a.example/{path}")
    assert fetcher(answer).url("https://a.example/fine").body == b"fine"


def test_a_file_is_bounded_too(tmp_path):
    path = tmp_path / "x.ics"
    path.write_bytes(b"x" * 101)
    with pytest.raises(BadFeedError, match="larger than"):
        Fetcher(limits=Limits(size=100)).file(path)
    for wrong in (tmp_path, tmp_path / "none"):
        with pytest.raises(FeedError, match="is not"):
            Fetcher().file(wrong)


def test_errors_of_http_say_what_happened():
    def answer(request):
        if request.url.path == "/slow":
            raise httpx.ReadTimeout("slow", request=request)
        if request.url.path == "/gone":
            raise httpx.ConnectError("connection refused", request=request)
        return httpx.Response(503)

    for path, said in (("slow", "longer than 5 seconds"), ("gone", "connection refused"), ("error", "status 503")):
        with pytest.raises(FeedError, match=said):
            fetcher(answer).url(f"https://a.example/{path}")

    def resolve(_host, _port):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(FeedError, match="has no address"):
        Fetcher(resolve=resolve, transport=httpx.MockTransport(answer)).url("https://a.example/")


def test_a_name_server_that_never_answers_is_not_waited_for():
    import threading  # noqa: PLC0415  (only here)

    never = threading.Event()

    def resolve(_host, _port):
        never.wait()
        return []

    with pytest.raises(FeedError, match="longer than"):
        Fetcher(limits=Limits(seconds=-0.9), resolve=resolve).url("https://a.example/")
    never.set()


def test_an_answer_cut_short_over_a_real_socket_is_truncated():
    import threading  # noqa: PLC0415  (only here)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nBEGIN:VCALENDAR\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        with pytest.raises(BadFeedError) as raised:
            Fetcher(limits=Limits(allow_private=True)).url(f"http://127.0.0.1:{port}/x")
        thread.join()
    assert raised.value.code == "truncated"
    assert addresses_of("127.0.0.1", 80) == ["127.0.0.1"]


def test_a_feed_that_did_not_change_is_not_sent_again(tmp_path):
    text, asked = ics({"2026-05-05": "어린이날"}), []

    def answer(request):
        asked.append((request.headers.get("if-none-match"), request.headers.get("if-modified-since")))
        if request.headers.get("if-none-match") == '"1"':
            return httpx.Response(304)
        return httpx.Response(200, text=text, headers={"etag": '"1"', "last-modified": "Mon, 04 May 2026 00:00:00 GMT"})

    carrier = fetcher(answer, cache=FeedCache(tmp_path))
    feed = IcsFeed(lambda: carrier.url("https://a.example/private-abc/kr.ics"), SEOUL)
    first, second = feed.read(FIRST, LAST), feed.read(FIRST, LAST)
    assert asked == [(None, None), ('"1"', "Mon, 04 May 2026 00:00:00 GMT")]
    assert (first.not_modified, second.not_modified) == (False, True)
    assert second.days == first.days
    assert second.source == "https://a.example/(hidden)/kr.ics"
    # A damaged copy is as good as none.
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert feed.read(FIRST, LAST).days == first.days
    assert asked[-1] == (None, None)


def test_what_is_shown_of_a_url():
    assert shown("https://me:word@a.example:8443/x/private-0a1b/basic.ics?key=1#f") == "https://a.example:8443/x/(hidden)/basic.ics"  # fmt: skip
    assert shown("http://[2001:db8::1]:80/x") == "http://[2001:db8::1]:80/x"


def test_a_user_in_the_url_logs_in_and_goes_no_further():
    seen = []

    def answer(request):
        seen.append((request.url.host, request.headers.get("authorization")))
        if request.url.path == "/x":
            return httpx.Response(302, headers={"location": "https://other.example/y"})
        return httpx.Response(200, text="ok")

    fetcher(answer, {"other.example": ["93.184.216.35"]}).url("https://me:pw%20d@a.example/x")
    assert seen == [(PUBLIC, "Basic bWU6cHcgZA=="), ("93.184.216.35", None)]


# data.go.kr ---------------------------------------------------------------------------------------------------------


def item(day, name, rest="Y"):
    return {"dateKind": "01", "dateName": name, "isHoliday": rest, "locdate": int(day), "seq": 1}


def body(items, total=None):
    count = (
        total
        if total is not None
        else len(items["item"])
        if items and isinstance(items["item"], list)
        else int(bool(items))
    )
    return {"response": {"header": {"resultCode": "00", "resultMsg": "NORMAL SERVICE."}, "body": {"items": items, "numOfRows": 100, "pageNo": 1, "totalCount": count}}}  # fmt: skip


def official(answers, first=date(2024, 9, 1), last=date(2024, 11, 30), key="k%2Fey%3D"):
    asked = []

    def answer(request):
        query = dict(request.url.params)
        asked.append(query)
        found = answers[(query["solYear"], query["solMonth"], query["pageNo"])]
        if isinstance(found, str):
            return httpx.Response(200, text=found)
        return httpx.Response(200, json=found)

    return DataGoKrFeed(fetcher(answer), key), asked, first, last


def test_the_three_shapes_of_items():
    feed, asked, first, last = official(
        {
            ("2024", "09", "1"): body({"item": [item("20240916", "추석"), item("20240917", "추석"), item("20240918", "추석")]}),
            ("2024", "10", "1"): body({"item": item("20241001", "임시공휴일")}),
            ("2024", "11", "1"): body(""),
        },
    )  # fmt: skip
    found = feed.read(first, last)
    assert [(str(day.date), day.name, day.kind) for day in found.days] == [
        ("2024-09-16", "추석", "public"),
        ("2024-09-17", "추석", "public"),
        ("2024-09-18", "추석", "public"),
        ("2024-10-01", "임시공휴일", "temporary"),
    ]
    assert [(query["solYear"], query["solMonth"]) for query in asked] == [
        ("2024", "09"),
        ("2024", "10"),
        ("2024", "11"),
    ]
    # The key is encoded once, whichever of its two forms is given.
    assert {(query["ServiceKey"], query["_type"]) for query in asked} == {("k/ey=", "json")}
    assert found.source == "data.go.kr"


def test_days_that_are_no_holidays_and_pages():
    feed, asked, _, _ = official(
        {
            ("2024", "10", "1"): body({"item": [item("20241001", "임시공휴일"), item("20241002", "노인의 날", "N")]}, total=3),
            ("2024", "10", "2"): body({"item": item("20241003", "개천절")}, total=3),
        },
    )  # fmt: skip
    found = feed.read(date(2024, 10, 1), date(2024, 10, 31))
    assert [str(day.date) for day in found.days] == ["2024-10-01", "2024-10-03"]
    assert [query["pageNo"] for query in asked] == ["1", "2"]


XML_ERROR = """<OpenAPI_ServiceResponse><cmmMsgHeader><errMsg>SERVICE ERROR</errMsg>
<returnAuthMsg>SERVICE_KEY_IS_NOT_REGISTERED_ERROR</returnAuthMsg><returnReasonCode>30</returnReasonCode>
</cmmMsgHeader></OpenAPI_ServiceResponse>"""


@pytest.mark.parametrize(
    ("answer", "said", "code"),
    [
        (XML_ERROR, "SERVICE_KEY_IS_NOT_REGISTERED_ERROR.*PEAKTIME_DATA_GO_KR_KEY", None),
        (json.dumps({"response": {"header": {"resultCode": "22", "resultMsg": "LIMITED NUMBER OF SERVICE REQUESTS EXCEEDS"}}}), "error 22 LIMITED.*less often", None),
        (json.dumps({"response": {"header": {"resultCode": "99", "resultMsg": "UNKNOWN"}, "body": {"items": ""}}}), "error 99", None),
        ("<html><body>Maintenance</body></html>", "a page", "wrong-type"),
        ("", "nothing", "empty"),
        ('{"response": {"header"', "no whole JSON", "truncated"),
        ('{"other": 1}', "another kind", "wrong-type"),
        ("[1]", "another kind", "wrong-type"),
        (json.dumps({"response": {"header": {"resultCode": "00"}}}), "without a body", "wrong-type"),
        (json.dumps(body({"item": "x"}, total=1)), "items of another kind", "wrong-type"),
        (json.dumps(body({"item": item("20241345", "x")})), "is none", "wrong-type"),
        (json.dumps(body("", total=4)), "says 4 days", "truncated"),
    ],
)  # fmt: skip
def test_errors_that_come_with_status_200(answer, said, code):
    feed, _, _, _ = official({("2024", "10", "1"): answer})
    with pytest.raises(FeedError) as raised:
        feed.read(date(2024, 10, 1), date(2024, 10, 31))
    import re  # noqa: PLC0415  (only here)

    assert re.search(said, str(raised.value))
    assert "k/ey" not in str(raised.value)
    assert getattr(raised.value, "code", None) == code


def test_without_a_key_nothing_is_asked():
    feed, asked, first, last = official({}, key="")
    with pytest.raises(FeedError, match="PEAKTIME_DATA_GO_KR_KEY"):
        feed.read(first, last)
    assert asked == []
