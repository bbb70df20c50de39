"""What has been delivered already, and what to do with the next notification.

Pure, bounded memory. Must not: read Kafka, call Slack, or know the time.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from schemas.records import Delivery, Notification

#: An id comes again only soon after it came first (a redelivery, or an announcement that was repeated), so older ones
#: may go. A thread lives as long as its event, which is at most a year.
MOST_IDS = 200_000
MOST_THREADS = 50_000


class Known:
    """The deliveries so far: which ids, and where each thread began."""

    def __init__(self, most_ids: int = MOST_IDS, most_threads: int = MOST_THREADS) -> None:
        self._most_ids = most_ids
        self._most_threads = most_threads
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._threads: OrderedDict[tuple[str, str], tuple[tuple[int, int], str]] = OrderedDict()

    def add(self, delivery: Delivery) -> None:
        """Remember a delivery; in what order they come does not matter, the newest of a thread counts."""
        self._ids[delivery.notification_id] = None
        self._ids.move_to_end(delivery.notification_id)
        if len(self._ids) > self._most_ids:
            self._ids.popitem(last=False)
        if not delivery.thread or not delivery.thread_ts:
            return
        place, age = (delivery.channel, delivery.thread), _age(delivery.ts)
        held = self._threads.get(place)
        if held is None or held[0] <= age:
            self._threads[place] = (age, delivery.thread_ts)
            self._threads.move_to_end(place)
        if len(self._threads) > self._most_threads:
            self._threads.popitem(last=False)

    def delivered(self, notification_id: str) -> bool:
        """Whether this notification reached people."""
        return notification_id in self._ids

    def thread_ts(self, channel: str, thread: str) -> str | None:
        """Where the thread began in this channel, if it did."""
        held = self._threads.get((channel, thread))
        return held[1] if held else None

    def __len__(self) -> int:
        return len(self._ids)


def _age(ts: str) -> tuple[int, int]:
    """Slack's ``1503435956.000247`` as numbers that can be compared."""
    seconds, _, fraction = ts.partition(".")
    return (int(seconds), int(fraction or 0)) if (seconds + fraction).isdecimal() else (0, 0)


@dataclass(frozen=True, slots=True)
class Skip:
    """It reached people already."""


@dataclass(frozen=True, slots=True)
class Look:
    """It may have been posted by somebody who did not live to say so: look for it first."""

    thread_ts: str | None


@dataclass(frozen=True, slots=True)
class Post:
    """Post it, into the thread if there is one."""

    thread_ts: str | None


def decide(notification: Notification, known: Known, *, channel: str, in_doubt: bool) -> Skip | Look | Post:
    """What to do with a notification.

    Args:
        notification: the one whose turn it is.
        known: everything that was delivered.
        channel: id of the channel that posts go to; threads of another channel do not count.
        in_doubt: whether a post of it may have been under way when somebody died, or when no answer came.
    """
    if known.delivered(notification.notification_id):
        return Skip()
    thread_ts = known.thread_ts(channel, notification.thread)
    return Look(thread_ts) if in_doubt else Post(thread_ts)
