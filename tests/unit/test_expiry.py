"""What is dropped and when, against the plain way of finding it: everything that is due is looked at again each time."""

from datetime import timedelta

import pytest
from support.asking import START, Log, at, delete, scale_in, scale_out
from support.requests_log import generate

from peaktime.core.expiry import KEPT_FOR, Expiries, expires_at
from peaktime.core.requests import Entries
from peaktime.core.windows import pairs

DAY = 24 * 60


def plainly_droppable(by_key, log_time):
    """Of all entries those whose time has come, each with those that it is linked to, if the time of all has come."""
    ended = pairs(by_key.values())
    linked = {key: {key} for key in by_key}
    for (window, _), lone in ended.items():
        group = linked[window] | linked[lone.entry]
        for key in group:
            linked[key] = group
    over = {
        key
        for key, entry in by_key.items()
        if (expiry := expires_at(entry, ended=entry.scale_out is not None and (key, entry.scale_out.position) in ended))
        is not None
        and expiry < log_time
    }
    due = {key for key, entry in by_key.items() if (own := expires_at(entry)) is not None and own < log_time}
    return {member for key in due if linked[key] <= over for member in linked[key]}


@pytest.mark.parametrize("seed", range(3))
def test_what_goes_is_what_the_plain_way_finds(seed, monkeypatch):
    compared = []
    quick = Expiries.droppable

    def both(self, by_key, log_time):
        plain = plainly_droppable(by_key, log_time)
        found = quick(self, by_key, log_time)
        assert found == plain
        compared.append(len(found))
        return found

    monkeypatch.setattr(Expiries, "droppable", both)
    entries = Entries()
    for position, sent in enumerate(generate(seed, 900, per_day=6, targets=["infra"])):
        if sent.request is not None:
            entries.fold(sent.request, position, sent.at)
    assert sum(compared) > 100


def test_a_scale_in_goes_together_with_the_window_that_it_ends():
    log = Log()
    log.append(scale_out("o1", 60, date="2026-05-04"))
    log.append(scale_in("i1", 50 * DAY, date="2026-05-05"))
    late = (START + KEPT_FOR + timedelta(days=50)) - START
    log.append(delete("d1", date="2026-05-06"), late.days * DAY - 1)
    assert len(log.entries.by_key) == 3
    log.append(delete("d2", date="2026-05-07"), late.days * DAY + 1)
    assert set(log.changes) == {
        "infra/pa/2026-05-04", "infra/pa/2026-05-05", "infra/pa/2026-05-07",
    }  # fmt: skip
    assert at(0) == START


def test_requests_that_come_again_after_their_entries_were_dropped_leave_nothing_behind():
    """As after a crash while a long backlog is folded: what was not committed is delivered again."""
    records = [sent for sent in generate(5, 900, per_day=6, targets=["infra"]) if sent.request is not None]
    entries, rows = Entries(), {}

    def fold(position):
        sent = records[position]
        for key, row in entries.fold(sent.request, position, sent.at).items():
            rows.pop(key, None)
            if row is not None:
                rows[key] = row

    for position in range(len(records)):
        fold(position)
    last = dict(rows)
    for begin in (0, 100, len(records) - 50):
        entries = Entries()
        for row in last.values():
            entries.restore(row)
        for position in range(begin, len(records)):
            fold(position)
        assert entries.by_key == last
        assert rows == last
