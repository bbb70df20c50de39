from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peaktime.core.holidays import WEEKDAYS, RunOptions, one_per_date, runs
from producers.calendar.feeds.library import LibraryFeed
from schemas.records import CalendarDay

DAY = timedelta(days=1)

# Written by hand from the calendars that everybody in Korea had on the wall: the first working day, and the first and
# last day off before it.
KOREA = [
    ("2018-02-19", "2018-02-15", "2018-02-18"),  # 설날, Thursday to Saturday
    ("2018-05-08", "2018-05-05", "2018-05-07"),  # 어린이날 on a Saturday, its substitute on Monday
    ("2018-06-14", "2018-06-13", "2018-06-13"),  # local elections, a Wednesday
    ("2018-09-27", "2018-09-22", "2018-09-26"),  # 추석 with a substitute on Wednesday
    ("2019-02-07", "2019-02-02", "2019-02-06"),  # 설날, Monday to Wednesday
    ("2019-09-16", "2019-09-12", "2019-09-15"),  # 추석, Thursday to Saturday
    ("2020-01-28", "2020-01-24", "2020-01-27"),  # 설날, Friday to Sunday, substitute on Monday
    ("2020-08-18", "2020-08-15", "2020-08-17"),  # temporary holiday on Monday
    ("2020-10-05", "2020-09-30", "2020-10-04"),  # 추석, Wednesday to Friday
    ("2021-10-05", "2021-10-02", "2021-10-04"),  # 개천절 on a Sunday, substitute on Monday
    ("2022-02-03", "2022-01-29", "2022-02-02"),  # 설날, Monday to Wednesday
    ("2022-03-10", "2022-03-09", "2022-03-09"),  # presidential election, a Wednesday
    ("2023-01-25", "2023-01-21", "2023-01-24"),  # 설날, substitute on Tuesday
    ("2023-10-04", "2023-09-28", "2023-10-03"),  # 추석, temporary holiday on Monday, 개천절
    ("2024-04-11", "2024-04-10", "2024-04-10"),  # general election, a Wednesday
    ("2024-10-02", "2024-10-01", "2024-10-01"),  # temporary holiday for the armed forces, a Tuesday
    ("2024-10-04", "2024-10-03", "2024-10-03"),  # 개천절, a Thursday: one working day after the one before
    ("2025-01-31", "2025-01-25", "2025-01-30"),  # 설날 with a temporary holiday on Monday
    ("2025-05-07", "2025-05-03", "2025-05-06"),  # 어린이날 and 부처님오신날 on one Monday, substitute on Tuesday
    ("2025-06-04", "2025-06-03", "2025-06-03"),  # presidential election, a Tuesday
    ("2025-10-10", "2025-10-03", "2025-10-09"),  # 개천절, 추석 and 한글날
]
COUNTRIES = [
    ("KR", "", ("sat", "sun")),
    ("JP", "", ("sat", "sun")),
    ("US", "CA", ("sat", "sun")),
    ("EG", "", ("fri", "sat")),
    ("IL", "", ("fri", "sat")),
    ("DE", "BY", ("sun",)),
]
_read = {}


def days_of(country, subdivision=""):
    # Ten years of a country take the library a while, and the days never change.
    if country not in _read:
        _read[country] = LibraryFeed(country, subdivision).read(date(2018, 1, 1), date(2027, 12, 31)).days
    return _read[country]


def day(text, name="", kind="public"):
    return CalendarDay(date=date.fromisoformat(text), name=name, kind=kind)


def spans(found):
    return [(str(run.start), str(run.end), str(run.peak)) for run in found]


@pytest.mark.parametrize(("peak", "start", "end"), KOREA)
def test_korea_as_everybody_remembers_it(peak, start, end):
    found = {str(run.peak): run for run in runs(days_of("KR"))}
    assert (str(found[peak].start), str(found[peak].end)) == (start, end)


@pytest.mark.parametrize(("country", "subdivision", "weekend"), COUNTRIES)
def test_what_holds_in_every_country(country, subdivision, weekend):
    days = days_of(country, subdivision)
    options = RunOptions(weekdays_off=weekend)
    found = runs(days, options)
    assert len(found) > 30
    holds(days, options, found)


def holds(days, options, found):
    closed = {each.date for each in days}

    def is_off(when):
        return when in closed or WEEKDAYS[when.weekday()] in options.weekdays_off

    for run in found:
        assert not is_off(run.peak)
        assert is_off(run.peak - DAY)
        assert not is_off(run.start - DAY)
        assert all(is_off(run.start + n * DAY) for n in range(run.length))
        assert [each.date for each in run.holidays] == [n for n in sorted(closed) if run.start <= n <= run.end]
        assert run.makers
        assert str(run.length) in run.rule or run.length == 1
    for before, after in pairwise(found):
        assert before.peak < after.start
    for when in closed:
        if WEEKDAYS[when.weekday()] not in options.weekdays_off:
            assert sum(run.start <= when <= run.end for run in found) == 1


weekends = st.sets(st.sampled_from(WEEKDAYS), max_size=4).map(lambda days: tuple(sorted(days)))
some_days = st.lists(
    st.dates(date(2026, 1, 1), date(2026, 3, 1)).map(lambda when: CalendarDay(date=when, name=f"day {when}")),
    max_size=25,
)


@given(some_days, weekends)
def test_the_same_holds_for_any_days_and_weekend(days, weekend):
    options = RunOptions(weekdays_off=weekend)
    holds(days, options, runs(days, options))


@given(some_days, weekends)
def test_bridge_days_join_and_never_part(days, weekend):
    plain = runs(days, RunOptions(weekdays_off=weekend))
    bridged = runs(days, RunOptions(weekdays_off=weekend, bridge_days=True))
    assert len(bridged) <= len(plain)
    for run in plain:
        (around,) = [each for each in bridged if each.start <= run.start and run.end <= each.end]
        # A lone working day beside a run is a bridge: nothing off is two days away any more.
        for edge, step in ((run.start, -DAY), (run.end, DAY)):
            off = {each.date for each in days}
            beyond = edge + 2 * step
            if beyond in off or WEEKDAYS[beyond.weekday()] in weekend:
                assert around.start <= beyond <= around.end
    for before, after in pairwise(bridged):
        assert before.peak < after.start


@given(some_days, st.randoms())
def test_order_and_repetition_of_days_do_not_matter(days, random):
    shuffled = [*days, *days[:3]]
    random.shuffle(shuffled)
    assert runs(shuffled) == runs(days)


def test_a_holiday_on_a_weekend_makes_no_run_by_itself():
    assert runs([day("2026-08-15")]) == ()  # a Saturday


def test_two_stretches_parted_by_one_working_day_are_two_runs_unless_it_is_a_bridge():
    days = [day("2026-05-05", "Tuesday"), day("2026-05-07", "Thursday")]
    assert spans(runs(days)) == [("2026-05-05", "2026-05-05", "2026-05-06"), ("2026-05-07", "2026-05-07", "2026-05-08")]
    (run,) = runs(days, RunOptions(bridge_days=True))
    assert spans([run]) == [("2026-05-02", "2026-05-10", "2026-05-11")]
    assert [str(when) for when in run.bridges] == ["2026-05-04", "2026-05-06", "2026-05-08"]
    assert "2026-05-06" in run.rule


def test_a_bridge_needs_a_run_beside_it():
    # Tuesdays and Thursdays off make every Wednesday a lone working day; that alone is no reason to close.
    options = RunOptions(weekdays_off=("tue", "thu"), bridge_days=True)
    assert runs([], options) == ()
    (run,) = runs([day("2026-05-04")], options)
    assert spans([run]) == [("2026-05-04", "2026-05-07", "2026-05-08")]


def test_a_bridge_reaches_on_from_a_holiday_that_a_bridge_led_to():
    options = RunOptions(weekdays_off=("sun",), bridge_days=True)
    (run,) = runs([day("2026-05-06"), day("2026-05-08")], options)  # Wednesday, Friday; Saturday lies before Sunday
    assert spans([run]) == [("2026-05-06", "2026-05-10", "2026-05-11")]


def test_a_minimum_length_counts_weekends():
    days = [day("2026-05-05"), day("2026-05-25")]  # a Tuesday alone; a Monday after a weekend
    assert spans(runs(days, RunOptions(minimum_length=3))) == [("2026-05-23", "2026-05-25", "2026-05-26")]


def test_extra_closing_days_make_runs_and_say_so():
    (run,) = runs([], RunOptions(extra_closing_days=frozenset({date(2026, 5, 1)})))
    assert spans([run]) == [("2026-05-01", "2026-05-03", "2026-05-04")]
    assert "own choice on 2026-05-01" in run.rule


def test_days_left_out_do_not_count():
    days = [day("2026-05-05"), day("2026-06-03")]
    assert spans(runs(days, RunOptions(leave_out=frozenset({date(2026, 5, 5)})))) == [
        ("2026-06-03", "2026-06-03", "2026-06-04"),
    ]


def test_a_result_explains_itself():
    (run,) = runs([day("2026-05-04", "어린이날"), day("2026-05-05", "부처님오신날"), day("2026-05-03", "on Sunday")])
    assert run.rule == "first working day after a run of 4 days off"
    assert run.explanation == (
        "2026-05-06 is the first working day after a run of 4 days off (2026-05-02 to 2026-05-05). "
        "2026-05-03 sun on Sunday; 2026-05-04 mon 어린이날; 2026-05-05 tue 부처님오신날"
    )
    assert run.title == "Morning after on Sunday to 부처님오신날 (4 days off, 2026-05-02 to 2026-05-05)"
    assert [str(when) for when in run.makers] == ["2026-05-04", "2026-05-05"]


def test_several_names_of_a_date_are_one_day():
    days = [day("2026-05-05", "b", "temporary"), day("2026-05-05", "a"), day("2026-05-05", "b; c", "other")]
    assert one_per_date(days) == (day("2026-05-05", "a; b; c", "public"),)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"weekdays_off": ("sat", "son")}, "no weekday"),
        ({"weekdays_off": WEEKDAYS}, "no first working day"),
        ({"minimum_length": 0}, "at least 1"),
    ],
)
def test_options_that_cannot_be(wrong, said):
    with pytest.raises(ValueError, match=said):
        RunOptions(**wrong)


def test_the_ends_of_time_are_no_trouble():
    assert runs([CalendarDay(date=date.min), CalendarDay(date=date.max)], RunOptions(weekdays_off=())) != ()
