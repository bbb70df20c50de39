"""Where a replay ends: a log time, or offsets, said in one line if they are none."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from peaktime.cli.reading import end
from peaktime.errors import SettingsError
from processors.replay.log import Offsets, Span

SEOUL = ZoneInfo("Asia/Seoul")
SHORT = {"p.requests.v1": "requests", "p.outcomes.v1": "outcomes"}


def spans():
    return [
        Span(topic="p.requests.v1", partition=0, start=2, end=10, low=2),
        Span(topic="p.requests.v1", partition=1, start=0, end=4),
        Span(topic="p.outcomes.v1", partition=0, start=0, end=7),
    ]


def test_a_time_or_offsets():
    assert end(None, SEOUL, "--until") is None
    assert end("2026-05-04T09:00", SEOUL, "--until") == datetime(2026, 5, 4, 0, 0, tzinfo=UTC)
    found = end("requests:3=1042, outcomes:3=77", SEOUL, "--until")
    assert found == Offsets({("requests", 3): 1042, ("outcomes", 3): 77})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("requests=3", "no topic:partition=offset"),
        ("requests:3=", "no topic:partition=offset"),
        ("requests:3=-1", "no topic:partition=offset"),
        ("entries:3=7", "no topic:partition=offset"),
        ("requests:3=1,requests:3=2", "named twice"),
        ("requests:3=1,", "no topic:partition=offset"),
        ("soon", "no time"),
        ("0001-01-01", "too far away"),
        ("9999-12-31T23:59:59-12:00", "too far away"),
    ],
)
def test_what_is_neither_is_said_in_one_line(text, said):
    with pytest.raises(SettingsError, match=said) as caught:
        end(text, SEOUL, "--until")
    assert "\n" not in str(caught.value)


def test_spans_are_cut_and_others_are_left():
    cut = Offsets({("requests", 0): 5, ("outcomes", 0): 0}).cut(spans(), SHORT)
    assert [(span.topic, span.partition, span.start, span.end) for span in cut] == [
        ("p.requests.v1", 0, 2, 5),
        ("p.requests.v1", 1, 0, 4),
        ("p.outcomes.v1", 0, 0, 0),
    ]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({("requests", 2): 1}, "no partition 2"),
        ({("requests", 0): 11}, "is not on the log. Name an offset from 2 to 10"),
        ({("requests", 0): 1}, "is not on the log. Name an offset from 2 to 10"),
    ],
)
def test_offsets_that_the_log_does_not_have_are_refused(ends, said):
    with pytest.raises(SettingsError) as caught:
        Offsets(ends).cut(spans(), SHORT)
    assert said in str(caught.value)
