"""What is known of deliveries, and what follows for the next notification."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from processors.slack.known import Known, Look, Post, Skip, decide
from schemas.records import Delivery, Notification

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def delivery(notification_id="n1", thread="t", channel="C1", ts="100.000001", thread_ts="100.000001"):
    return Delivery(
        notification_id=notification_id,
        thread=thread,
        channel=channel,
        ts=ts,
        thread_ts=thread_ts,
        delivered_at=NOW,
    )


def notification(notification_id="n1", thread="t"):
    return Notification(notification_id=notification_id, thread=thread, headline="h", decided_at=NOW)


def test_what_was_delivered_is_skipped_even_in_doubt():
    known = Known()
    known.add(delivery())
    assert decide(notification(), known, channel="C1", in_doubt=False) == Skip()
    assert decide(notification(), known, channel="C1", in_doubt=True) == Skip()


def test_the_first_of_a_thread_is_posted_to_the_channel_and_the_next_into_the_thread():
    known = Known()
    assert decide(notification(), known, channel="C1", in_doubt=False) == Post(None)
    known.add(delivery())
    assert decide(notification("n2"), known, channel="C1", in_doubt=False) == Post("100.000001")
    assert decide(notification("n2", "other"), known, channel="C1", in_doubt=False) == Post(None)


def test_in_doubt_it_is_looked_for_first():
    known = Known()
    assert decide(notification(), known, channel="C1", in_doubt=True) == Look(None)
    known.add(delivery())
    assert decide(notification("n2"), known, channel="C1", in_doubt=True) == Look("100.000001")


def test_threads_of_another_channel_do_not_count():
    known = Known()
    known.add(delivery(channel="console"))
    assert decide(notification("n2"), known, channel="C1", in_doubt=False) == Post(None)


@given(st.permutations([delivery("n1"), delivery("n2", ts="101.0"), delivery("n3", ts="99999999.5", thread_ts="7.0")]))
def test_the_newest_delivery_says_where_a_thread_is_in_whatever_order_they_are_read(deliveries):
    known = Known()
    for one in deliveries:
        known.add(one)
    assert known.thread_ts("C1", "t") == "7.0"
    assert len(known) == 3


def test_memory_is_bounded_and_the_oldest_go_first():
    known = Known(most_ids=2, most_threads=2)
    for n in range(4):
        known.add(delivery(f"n{n}", thread=f"t{n}", ts=f"{n}.0", thread_ts=f"{n}.0"))
    assert [known.delivered(f"n{n}") for n in range(4)] == [False, False, True, True]
    assert [known.thread_ts("C1", f"t{n}") for n in range(4)] == [None, None, "2.0", "3.0"]


def test_a_delivery_without_a_readable_ts_is_still_known():
    known = Known()
    known.add(delivery(ts="soon", thread_ts="soon"))
    assert known.delivered("n1")
    assert known.thread_ts("C1", "t") == "soon"
