"""The notifications and deliveries that should have been made, against those that were.

Pure. What is expected follows from the refolded decisions by ``peaktime.core.messages``; a notification's words depend
on wording and zone of the day and are not compared, what it is about is. It keeps 16 bytes and a checksum for each
notification. Must not: read the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from peaktime.core.messages import (
    notification_of_dead_letter,
    notifications_of_calendar,
    notifications_of_entry,
    notifications_of_fact,
)
from processors.replay.log import LETTER_CODE, LETTER_MESSAGE, LETTER_STAGE, Place, Raw, place_of_letter
from processors.replay.refold import Row, Step
from schemas.records import Entry, Fact, Notification, NotificationKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification or delivery that is not as it should be.

    Attributes:
        notification_id: whose.
        kind: ``missing``, ``different``, ``unexplained``, ``not delivered`` or ``delivery of nothing``.
        about: what the notification is about: its kind, thread and source.
        subject: key of the entry, or else the thread.
        source: the record that it is about, ``topic/partition/offset``.
    """

    notification_id: str
    kind: str
    about: str
    subject: str = ""
    source: str = ""


@dataclass(slots=True)
class NoticeResult:
    """What the comparison of notifications and deliveries says.

    Attributes:
        equal: notifications that are as they should be.
        not_yet_read: those that announce had not reached, or that are about what replay had not read.
        older: those about decisions before the beginning of the log.
        delivered: notifications that reached people; None if no sink ever committed.
        not_yet_delivered: those that the sink had not reached.
        by_rules: those about decisions that were made by another version of the rules.
        differences: all others.
    """

    equal: int = 0
    not_yet_read: int = 0
    older: int = 0
    delivered: int | None = None
    not_yet_delivered: int = 0
    by_rules: list[Notice] = field(default_factory=list)
    differences: list[Notice] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def expected_of(row: Row, source: str, zone: str) -> tuple[Notification, ...]:
    """What announce makes of a row.

    Args:
        row: as its changelog has it.
        source: the record that it was decided about, ``topic/partition/offset``.
        zone: IANA zone of the words.
    """
    if isinstance(row, Entry):
        return notifications_of_entry(row, source, zone)
    if isinstance(row, Fact):
        return notifications_of_fact(row, source, zone)
    return notifications_of_calendar(row, source, zone)


def expected_of_letter(letter: Raw) -> Notification:
    """What announce makes of a dead letter."""
    place = place_of_letter(letter) or letter.place
    return notification_of_dead_letter(
        *place,
        code=letter.header(LETTER_CODE) or "",
        reason=letter.header(LETTER_MESSAGE) or "",
        stage=letter.header(LETTER_STAGE) or "",
        key=(letter.key or b"").decode(errors="replace"),
        log_time=letter.log_time,
    )


class Notices:
    """Give it the deliveries, the notifications, then what should have been told; then ask for the leftovers.

    Args:
        zone: IANA zone of the words.
        sink: by partition of notifications, how far the sink has read; empty if none ever did.
    """

    def __init__(self, zone: str, sink: Mapping[int, int]) -> None:
        self._zone, self._sink = zone, sink
        self._found: dict[bytes, int] = {}
        self._delivered: set[bytes] = set()
        self._claimed: set[bytes] = set()
        self._refused: set[Place] = set()
        self._pending: set[bytes] = set()
        self._letters: set[bytes] = set()
        self.result = NoticeResult(delivered=0 if sink else None)

    def delivery(self, notification_id: str) -> None:
        """Take a delivery."""
        self._delivered.add(_digest(notification_id))

    def refused(self, place: Place) -> None:
        """Take the place of a notification that the sink put aside as a dead letter."""
        self._refused.add(place)

    def waiting(self, row: Row, source: str) -> None:
        """Take a row that announce had not read: what it tells is not expected yet."""
        self._pending.update(_digest(note.notification_id) for note in expected_of(row, source, self._zone))

    def notification(self, raw: Raw, notification: Notification) -> None:
        """Take a notification as it stands on the log."""
        digest = _digest(notification.notification_id)
        self._found[digest] = _checksum(notification)
        if digest in self._delivered:
            self._claimed.add(digest)
            self.result.delivered = (self.result.delivered or 0) + 1
        elif raw.offset >= self._sink.get(raw.partition, 0):
            self.result.not_yet_delivered += bool(self._sink)
        elif raw.place not in self._refused and notification.kind is not NotificationKind.DEAD_LETTER:
            self._differs(notification, "not delivered")

    def letter(self, letter: Raw, *, reached: bool) -> None:
        """Take a dead letter; ``reached`` if announce has read it. A letter that came twice is told once."""
        notification = expected_of_letter(letter)
        digest = _digest(notification.notification_id)
        if digest not in self._letters:
            self._letters.add(digest)
            self._expect(notification, surely=reached)

    def step(self, step: Step, *, surely: bool) -> None:
        """Take a folded record; ``surely`` if the worker has folded it."""
        for row in step.changes.values():
            if row is not None:
                for notification in expected_of(row, str(step.place), self._zone):
                    self._expect(notification, surely=surely)

    def _expect(self, notification: Notification, *, surely: bool) -> None:
        digest = _digest(notification.notification_id)
        found = self._found.pop(digest, None)
        if found is None:
            if surely and digest not in self._pending:
                self._differs(notification, "missing")
            else:
                self.result.not_yet_read += 1
        elif notification.kind is not NotificationKind.DEAD_LETTER and found != _checksum(notification):
            self._differs(notification, "different")
        else:
            self.result.equal += 1

    def _differs(self, notification: Notification, kind: str) -> None:
        self.result.differences.append(
            Notice(
                notification_id=notification.notification_id,
                kind=kind,
                about=f"{notification.kind.lower()} in {notification.thread}, about {notification.source}",
                subject=notification.entry or notification.thread,
                source=notification.source,
            ),
        )

    @property
    def leftovers(self) -> bool:
        """Whether some are not explained so far: read them again and give them to ``leftover``."""
        return bool(self._found)

    def leftover(
        self,
        notification: Notification,
        starts: Mapping[tuple[str, int], int],
        ends: Mapping[tuple[str, int], int],
    ) -> None:
        """Judge a notification of the second reading.

        Args:
            notification: any; those that were explained are passed over.
            starts: first offset that was read, by topic and partition.
            ends: offset at which reading stopped.
        """
        if self._found.pop(_digest(notification.notification_id), None) is None:
            return
        place, at = _place(notification.source)
        if at >= ends.get(place, at + 1):
            self.result.not_yet_read += 1
        elif at < starts.get(place, 0):
            self.result.older += 1
        else:
            self._differs(notification, "unexplained")

    def finish(
        self,
        starts: Mapping[tuple[str, int], int],
        judged: Callable[[str], bool],
        rules_since: Mapping[tuple[str, int], int],
        *,
        complete: bool,
    ) -> NoticeResult:
        """The result.

        Args:
            starts: first offset that was read, by topic and partition.
            judged: whether the row of a subject is equal, so that its whole history is known. Where the beginning of a
                partition is gone, nothing is said of other subjects: they may go back to it.
            rules_since: by topic and partition, the first offset that was decided by today's rules; others always were.
            complete: whether the log of notifications still has its beginning.
        """
        sound = []
        for notice in self.result.differences:
            place, at = _place(notice.source)
            if starts.get(place, 0) > 0 and not judged(notice.subject):
                self.result.older += 1
            elif at < rules_since.get(place, 0):
                self.result.by_rules.append(notice)
            else:
                sound.append(notice)
        if complete:
            sound += [
                Notice(notification_id=digest.hex(), kind="delivery of nothing", about="no such notification")
                for digest in self._delivered - self._claimed
            ]
        self.result.by_rules.sort(key=lambda n: (n.kind, n.about, n.notification_id))
        self.result.differences = sorted(sound, key=lambda n: (n.kind, n.about, n.notification_id))
        return self.result


def _place(source: str) -> tuple[tuple[str, int], int]:
    """Topic and partition, and offset, of a notification's source; -1 for what is no number."""
    before, _, offset = source.rpartition("/")
    topic, _, number = before.rpartition("/")
    return (topic, int(number) if number.isdecimal() else -1), int(offset) if offset.isdecimal() else -1


def _digest(notification_id: str) -> bytes:
    try:
        return bytes.fromhex(notification_id)
    except ValueError:
        return notification_id.encode()


def _checksum(notification: Notification) -> int:
    return hash(
        (
            notification.kind,
            notification.severity,
            notification.thread,
            notification.target,
            notification.entry,
            notification.request_id,
            notification.decided_at,
            notification.source,
        ),
    )
