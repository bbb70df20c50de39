"""Timelines: what they show, where it is put, and how it is written."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from matplotlib.font_manager import fontManager
from support.asking import Log, at, profiles, scale_in, scale_out
from support.simulator import GRACE

from peaktime.core.outcomes import Facts
from peaktime.errors import SettingsError
from processors.replay import drawing
from processors.replay.axis import days_off, ticks
from processors.replay.chart import Bar, Chart, Lane, Mark, Step, Strip, overlaps, schedule_chart, span_told
from processors.replay.outlook import outlook
from processors.replay.picture import WIDTH, picture
from processors.replay.shapes import Line, Polygon, Rect, Words, shortened, wide

ZONE = "Asia/Seoul"
#: Mon 2026-05-04 00:00 in Seoul.
MONDAY = datetime(2026, 5, 3, 15, tzinfo=UTC)
WEEK = timedelta(days=7)


def event(log, name, start, end, band, title, date):
    log.append(scale_out(name, start, end, band=band, title=title, date=date))
    log.append(scale_in(f"{name}-in", end, band=band, title=title, date=date))


@pytest.fixture
def log():
    log = Log()
    event(log, "a", 0, 180, "common", "봄 맞이 <적금>", "2026-05-04")
    event(log, "b", 60, 120, "morning", "Lunch & quiz", "2026-05-05")
    return log


def chart_of(log, first=MONDAY, last=MONDAY + WEEK, now=None):
    now = now or at(1000)
    whole = outlook("infra", log.entries, Facts(), profiles(), now, grace=GRACE)
    return schedule_chart([whole], zone=ZONE, first=first, last=last, now=now)


def chart(lane, first=MONDAY, last=MONDAY + WEEK, line=None):
    return Chart(title="T", zone=ZONE, first=first, last=last, lanes=(lane,), line=line)


def bar(start, end, level=1, force=None, label="Sale", **more):
    begin, stop = at(start), None if end is None else at(end)
    force = ((begin, stop),) if force is None else force
    return Bar(label=label, tip=label, starts_at=begin, ends_at=stop, level=level, force=force, **more)


def words(shown):
    return [shape.text for shape in shown.shapes if isinstance(shape, Words)]


# -- what is shown --


def test_a_schedule_shows_windows_overlaps_firings_and_the_line_of_levels(log):
    shown = chart_of(log)
    (lane,) = shown.lanes
    assert shown.title == "What scales when, Mon 2026-05-04 to Sun 2026-05-10 (Asia/Seoul)"
    assert [(one.label, one.level, one.force) for one in lane.bars] == [
        ("봄 맞이 <적금>  09:00-12:00", 1, ((at(0), at(60)), (at(120), at(180)))),
        ("Lunch & quiz  10:00-11:00", 2, ((at(60), at(120)),)),
    ]
    assert overlaps(lane.bars, shown.last) == [(at(60), at(120))]
    assert lane.planned == (Step(MONDAY, 0), Step(at(0), 1), Step(at(60), 2), Step(at(120), 1), Step(at(180), 1))
    (firings,) = lane.below
    assert [(mark.shape, mark.look) for mark in firings.marks] == [("out", "no report")] * 3 + [("in", "no report")]
    assert shown.line == (at(1000), "now")


def test_the_line_of_levels_begins_where_the_time_before_left_it(log):
    (lane,) = chart_of(log, first=at(90), last=at(100)).lanes
    assert lane.planned == (Step(at(90), 2),)
    assert [one.level for one in lane.bars] == [1, 2]
    (lane,) = chart_of(log, first=at(181), last=at(200)).lanes
    assert (lane.planned, lane.bars) == ((Step(at(181), 1),), ())


def test_a_window_over_midnight_and_one_without_an_end_say_so_in_their_labels():
    log = Log()
    event(log, "a", 600, 1600, "common", "Night", "2026-05-04")
    log.append(scale_out("b", 2000, None, title="Open", date="2026-05-06"))
    (lane,) = chart_of(log).lanes
    assert [one.label for one in lane.bars] == ["Night  19:00 to 05-05 11:40", "Open  18:20-?"]


def test_overlaps_of_windows_that_touch_nest_and_never_end():
    assert overlaps([bar(0, 10), bar(10, 20)], at(99)) == []
    assert overlaps([bar(0, 30), bar(5, 20), bar(10, 25), bar(40, None), bar(50, 60)], at(99)) == [
        (at(5), at(25)),
        (at(50), at(60)),
    ]


def test_a_span_that_is_no_whole_days_is_told_with_its_hours():
    assert span_told(at(0), at(60), ZONE) == "Mon 2026-05-04 09:00 to Mon 2026-05-04 10:00 (Asia/Seoul)"


# -- the axis --


@pytest.mark.parametrize(
    ("days", "count", "first"),
    [
        (0.5, 12, "Mon 05-04\n00:00"),
        (1, 8, "Mon 05-04\n00:00"),
        (4, 16, "Mon 05-04\n00:00"),
        (7, 7, "Mon 05-04"),
        (31, 31, "Mon\n4"),
        (120, 18, "Mon\n05-04"),
        (365, 12, "2026-06"),
    ],
)
def test_the_ticks_of_a_time(days, count, first):
    found = ticks(MONDAY, MONDAY + timedelta(days=days), ZONE, 1100)
    assert (len(found), found[0].label) == (count, first)


def test_days_begin_at_local_midnight_where_the_clock_is_put_back():
    zone = "America/New_York"
    first = datetime(2026, 10, 31, 4, tzinfo=UTC)
    found = ticks(first, first + timedelta(days=3), zone, 300)
    assert [tick.at for tick in found] == [first, first + timedelta(days=1), first + timedelta(days=2, hours=1)]
    assert days_off(first, first + timedelta(days=5), zone) == [
        (first, first + timedelta(days=1)),
        (first + timedelta(days=1), first + timedelta(days=2, hours=1)),
    ]


# -- the layout --


def test_everything_is_inside_the_picture(log):
    for first, last in ((MONDAY, MONDAY + WEEK), (at(30), at(40)), (MONDAY - WEEK * 4, MONDAY + WEEK * 40)):
        shown = picture(chart_of(log, first, last))
        for shape in shown.shapes:
            if isinstance(shape, Rect):
                assert 0 <= shape.x <= shape.x + shape.width <= WIDTH
                assert 0 <= shape.y <= shape.y + shape.height <= shown.height
            elif isinstance(shape, Words):
                assert 0 < shape.y <= shown.height
            else:
                assert all(0 <= x <= WIDTH and 0 <= y <= shown.height for x, y in shape.points)


def test_no_label_lies_over_another_window_or_label():
    lane = Lane(target="infra", bars=tuple(bar(n * 7, n * 7 + 30, label=f"행사 {n} 이름") for n in range(40)))
    shown = picture(chart(lane))
    boxes = []
    for shape in shown.shapes:
        if isinstance(shape, Words) and "행사" in shape.text:
            left = shape.x if shape.anchor == "start" else shape.x - wide(shape.text, shape.size)
            boxes.append((left, left + wide(shape.text, shape.size), shape.y))
    assert len(boxes) == 40
    for number, (left, right, y) in enumerate(boxes):
        assert all(y != other[2] or right <= other[0] or left >= other[1] for other in boxes[number + 1 :])


def test_a_label_stands_in_its_window_beside_it_or_is_cut():
    end = 7 * 24 * 60 - 540
    lane = Lane(
        target="infra",
        bars=(bar(0, 3000, label="inside"), bar(4000, 4001, label="right"), bar(end - 20, end, label="left")),
    )
    found = {shape.text: shape for shape in picture(chart(lane)).shapes if isinstance(shape, Words)}
    assert [found[name].anchor for name in ("inside", "right", "left")] == ["start", "start", "end"]
    long = "x" * 300
    lane = Lane(target="infra", bars=(bar(4000, 4001, label=long),))
    (cut,) = [text for text in words(picture(chart(lane))) if text.startswith("xx")]
    assert cut.endswith("…")
    assert wide(cut, 10) < WIDTH


def test_many_windows_are_drawn_without_words():
    lane = Lane(target="infra", bars=tuple(bar(n, n + 10) for n in range(200)))
    assert "Sale" not in words(picture(chart(lane)))


@pytest.mark.parametrize(
    ("force", "hollow"),
    [(((0, 600),), 0), (((0, 200), (400, 600)), 1), (((200, 600),), 1), (((0, 200),), 1), ((), 1), (((200, 300),), 2)],
)
def test_what_is_not_in_force_is_hollow_and_the_legend_says_so(force, hollow):
    one = bar(0, 600, force=tuple((at(begin), at(end)) for begin, end in force))
    shown = picture(chart(Lane(target="infra", bars=(one,))))
    assert len([shape for shape in shown.shapes if isinstance(shape, Rect) and shape.dashed and shape.tip]) == hollow
    assert ("not in force" in words(shown)) is bool(hollow)


def test_a_cut_window_one_without_an_end_and_one_that_goes_on_look_different():
    def marks(one):
        shown = picture(chart(Lane(target="infra", bars=(one,))))
        lines = [s for s in shown.shapes if isinstance(s, Line) and len(s.points) == 7]
        tips = [s for s in shown.shapes if isinstance(s, Polygon) and s.tip == "Sale"]
        return len(lines), len(tips)

    assert marks(bar(0, 60)) == (0, 0)
    assert marks(bar(0, 60, cut=True)) == (1, 0)
    assert marks(bar(0, None)) == (0, 1)
    assert marks(bar(0, 60 * 24 * 30)) == (0, 1)


def test_marks_at_one_place_are_stacked_up_to_six_high():
    marks = tuple(Mark(at=at(5), shape="out", look="accepted", tip=f"r{n}") for n in range(9))
    shown = picture(chart(Lane(target="infra", above=(Strip("requests", marks),))))
    heights = {shape.points[0][1] for shape in shown.shapes if isinstance(shape, Polygon) and shape.tip}
    assert len(heights) == 6


@pytest.mark.parametrize(("count", "told"), [(6, []), (9, ["3 more behind"])])
def test_marks_that_others_hide_are_counted(count, told):
    marks = tuple(Mark(at=at(5), shape="out", look="accepted", tip=f"r{n}") for n in range(count))
    shown = picture(chart(Lane(target="infra", above=(Strip("requests", marks),))))
    assert [text for text in words(shown) if "behind" in text] == told


def test_a_long_name_of_a_target_has_a_row_of_its_own():
    marks = (Strip("requests", (Mark(at=at(5), shape="out", look="accepted", tip="r"),)),)
    for name, apart in (("infra", 0), ("a-service-with-a-long-name", 10)):
        shown = picture(chart(Lane(target=name, note="paused by lee", above=marks)))
        by_text = {shape.text: shape for shape in shown.shapes if isinstance(shape, Words)}
        assert by_text["requests"].y - by_text[name].y >= apart
        assert by_text["paused by lee"].x > by_text[name].x + wide(name, 13)


@pytest.mark.parametrize(
    ("highest", "shown"),
    [
        (1, ["0", "level 1"]),
        (3, ["0", "1", "2", "level 3"]),
        (23, ["0", "5", "10", "15", "20", "level 23"]),
        (2**31 - 1, None),
    ],
)
def test_levels_have_lines_in_round_steps(highest, shown):
    lane = Lane(target="infra", planned=(Step(MONDAY, 0), Step(at(10), highest)))
    told = [text for text in words(picture(chart(lane))) if text.isdigit() or text.startswith("level")]
    assert shown is None or [text for text in told if "Mon" not in text] == shown
    assert len(told) < 20


def test_the_line_is_drawn_only_inside_the_time():
    lane = Lane(target="infra", bars=(bar(0, 60),))
    assert "now" in words(picture(chart(lane, line=(at(5), "now"))))
    assert "now" not in words(picture(chart(lane, line=(at(-10_000), "now"))))
    late = picture(chart(lane, line=(MONDAY + WEEK - timedelta(minutes=5), "the log ends")))
    (name,) = [s for s in late.shapes if isinstance(s, Words) and s.text == "the log ends"]
    assert name.anchor == "end"


def test_a_paused_target_and_a_time_without_anything_say_so(log):
    assert "paused by lee" in words(picture(chart(Lane(target="infra", note="paused by lee"))))
    assert "nothing in this time" in words(picture(replace(chart_of(log), lanes=())))


def test_what_runs_led_to_is_drawn_to_where_the_log_ends():
    steps = (Step(MONDAY, 0), Step(at(10), 2))
    lane = Lane(target="infra", ran=steps, planned=steps, known_until=at(60))
    lines = [s for s in picture(chart(lane)).shapes if isinstance(s, Line) and len(s.points) == 4]
    assert lines[0].points[-1][0] < lines[1].points[-1][0]
    assert {"capacity as runs led to", "as planned"} <= set(words(picture(chart(lane))))


def test_words_of_east_asia_are_wider_and_are_cut_to_fit():
    assert wide("행사", 10) == 20
    assert wide("ab", 10) < 12
    assert shortened("행사 이름", 1000, 10) == "행사 이름"
    assert shortened("행사 이름", 24, 10) == "행…"
    assert shortened("행사", 1, 10) == ""


# -- the formats --


def test_an_svg_is_well_formed_the_same_each_time_and_holds_the_words(log):
    shown = drawing.svg(picture(chart_of(log)))
    assert shown == drawing.svg(picture(chart_of(log)))
    root = ET.fromstring(shown)
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "봄 맞이 <적금>  09:00-12:00" in texts
    tips = [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any("Lunch & quiz" in tip and "level 2" in tip for tip in tips)


def test_control_characters_in_somebodys_words_do_not_break_an_svg():
    lane = Lane(target="infra", bars=(bar(0, 60, label="a\x00\x1b\u2028b"),))
    ET.fromstring(drawing.svg(picture(chart(lane))))


def test_a_png_is_drawn_and_says_which_letters_no_font_here_has(log, tmp_path, monkeypatch):
    monkeypatch.setattr(fontManager, "ttflist", [f for f in fontManager.ttflist if f.name == "DejaVu Sans"])
    file = tmp_path / "week.PNG"
    told = drawing.write(picture(chart_of(log)), file)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert "적" in told
    assert "Noto Sans CJK KR" in told
    log = Log()
    event(log, "a", 0, 180, "common", "Sale", "2026-05-04")
    assert drawing.write(picture(chart_of(log)), file) == ""


def test_a_file_that_cannot_be_written_is_one_line(log, tmp_path):
    with pytest.raises(SettingsError, match="cannot be written"):
        drawing.write(picture(chart_of(log)), tmp_path / "no" / "x.svg")


def test_a_png_without_matplotlib_says_what_to_install(log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SettingsError, match=r"peaktime\[plot\]"):
        drawing.write(picture(chart_of(log)), tmp_path / "x.png")
    assert drawing.write(picture(chart_of(log)), tmp_path / "x.svg") == ""
