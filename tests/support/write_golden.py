"""Writes ``schemas/examples/<Record>.json`` and ``.bin``: ``python tests/support/write_golden.py``.

Only for a record that is new or has new fields: an example that is there shows what was once written, and stays.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

from schemas import records as r
from schemas.codec import Codec
from schemas.readable import to_json

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


REQUEST = r.ScaleRequest(
    request_id="7b0f6a52-5c1f-4b4c-9a5e-0d9f1f1c2a01",
    action=r.RequestAction.SCALE_OUT,
    target="infra",
    day="mon",
    band="morning",
    event_date="2026-05-04",
    starts_at=at("2026-05-04T08:30:00+09:00"),
    ends_at=at("2026-05-04T12:00:00+09:00"),
    title="적금 특판 오픈 🎉",
    description="Double the usual traffic from 09:00",
    owner="marketing@example.com",
    requested_at=at("2026-04-20T10:15:30.250+09:00"),
    revision=3,
    group="spring",
)
SCALE_IN = r.ScaleRequest(
    request_id="7b0f6a52-5c1f-4b4c-9a5e-0d9f1f1c2a02",
    action=r.RequestAction.SCALE_IN,
    target="infra",
    day="common",
    band="common",
    event_date="2026-05-04",
    ends_at=at("2026-05-04T12:30:00+09:00"),
    title="적금 특판 오픈 🎉",
    owner="marketing@example.com",
    requested_at=at("2026-04-20T10:16:00+09:00"),
)


def action(request: r.ScaleRequest, position: int) -> r.Action:
    names = (
        "request_id",
        "day",
        "band",
        "starts_at",
        "ends_at",
        "title",
        "description",
        "owner",
        "requested_at",
        "revision",
        "group",
    )
    return r.Action(
        **{name: getattr(request, name) for name in names},
        position=position,
        changed_at=at("2026-04-20T10:16:01.004+09:00"),
        ended_at=at("2026-04-20T10:16:02+09:00"),
    )


ENTRY = r.Entry(
    target="infra",
    event_date="2026-05-04",
    position=1042,
    log_time=at("2026-04-20T10:16:01.004+09:00"),
    scale_out=action(REQUEST, 1041),
    scale_in=action(SCALE_IN, 1042),
    deletion=r.Deletion(
        request_id="d-1",
        title="적금 특판 오픈",
        owner="ops",
        requested_at=at("2026-04-19T10:00:00+09:00"),
        position=1030,
        changed_at=at("2026-04-19T10:00:00.120+09:00"),
    ),
    closed=(
        r.ClosedWindow(
            starts_at=at("2026-04-20T09:00:00+09:00"),
            closed_at=at("2026-04-20T09:40:12+09:00"),
            end_stated=True,
            scale_out=action(REQUEST, 1001),
            scale_in=action(SCALE_IN, 1002),
            position=1040,
        ),
    ),
    scale_out_ids=(REQUEST.request_id, "earlier"),
    scale_in_ids=(SCALE_IN.request_id,),
    delete_ids=("d-1",),
    rerun=r.Rerun(
        request_id="again-1",
        run="peaktime-create-infra-mon-morning-20260504-1777852800",
        owner="jun",
        why="the quota is raised",
        position=1041,
        changed_at=at("2026-05-04T09:00:00+09:00"),
    ),
    pause=r.Pause(
        request_id="pause-1",
        owner="jun",
        why="load test",
        requested_at=at("2026-05-04T09:00:00+09:00"),
        position=1042,
        changed_at=at("2026-05-04T09:00:00+09:00"),
    ),
    rerun_ids=("again-1",),
    pause_ids=("pause-1",),
    resume_ids=("resume-1",),
    verdict=r.Verdict(
        kind=r.VerdictKind.REPLACED,
        code="changed",
        reason="newest wins",
        request=SCALE_IN,
        changes=(r.Change(field="endsAt", before="12:00", after="12:30"),),
        previous_owner="sales@example.com",
    ),
)
RUN = "peaktime-create-infra-mon-morning-20260504-1777851000"
OUTCOME = r.Outcome(
    outcome_id=f"STARTED/run/{RUN}",
    kind=r.OutcomeKind.STARTED,
    subject=f"run/{RUN}",
    target="infra",
    at=at("2026-05-04T08:30:02+09:00"),
    entry=ENTRY.key,
    origin="pa",
    event_date="2026-05-04",
    request_id=REQUEST.request_id,
    title=REQUEST.title,
    owner=REQUEST.owner,
    action=r.RequestAction.SCALE_OUT,
    day="mon",
    band="morning",
    level=3,
    namespace="peaktime",
    cron_workflow="peaktime-create-infra-mon-morning-20260504",
    workflow=RUN,
    fires_at=at("2026-05-04T08:30:00+09:00"),
    started_at=at("2026-05-04T08:30:02+09:00"),
    finished_at=at("2026-05-04T08:34:41+09:00"),
    code="started",
    message="dd-account-batch-start first",
    link="https://argo.example/workflows/peaktime/" + RUN,
    position=1042,
    reporter="worker-0",
    details={"stage": "1", "service": "account"},
)
FACT = r.Fact(
    subject=OUTCOME.subject,
    target="infra",
    position=77,
    log_time=at("2026-05-04T08:30:02.512+09:00"),
    state=r.FactState.STARTED,
    episode=2,
    scheduled_at=at("2026-04-20T10:16:02+09:00"),
    started_at=at("2026-05-04T08:30:02+09:00"),
    finished_at=at("2026-05-04T08:34:41+09:00"),
    slow=True,
    outcome=OUTCOME,
)
HOLIDAY = r.CalendarDay(date=date(2026, 9, 25), name="추석")
GOLDEN = (
    REQUEST,
    ENTRY,
    OUTCOME,
    FACT,
    r.Notification(
        notification_id="entries.v1/infra/pa/2026-05-04/1042",
        kind=r.NotificationKind.REPLACED,
        severity=r.Severity.WARNING,
        thread=ENTRY.key,
        target="infra",
        entry=ENTRY.key,
        request_id=SCALE_IN.request_id,
        headline="적금 특판 오픈: the end moved to 12:30",
        text="It was sales@example.com's.",
        fields=(r.NotificationField(name="until", value="12:30"),),
        link="https://argo.example/",
        decided_at=at("2026-04-20T10:16:01.004+09:00"),
        source="peaktime.entries.v1/4/1042",
    ),
    r.Delivery(
        notification_id="entries.v1/infra/pa/2026-05-04/1042",
        thread=ENTRY.key,
        sink="slack",
        channel="C024BE91L",
        ts="1776647761.000200",
        thread_ts="1776647700.000100",
        delivered_at=at("2026-04-20T10:16:01.900+09:00"),
        attempts=2,
        permalink="https://example.slack.com/archives/C024BE91L/p1776647761000200",
    ),
    r.CalendarSnapshot(
        calendar_id="kr-holidays",
        taken_at=at("2026-05-01T03:00:00+09:00"),
        source="https://feeds.example/kr.ics",
        taken_by="importer/0.1.0",
        covers_from=date(2026, 1, 1),
        covers_to=date(2027, 12, 31),
        days=(HOLIDAY, r.CalendarDay(date=date(2026, 8, 17), name="광복절 대체휴일", kind="substitute")),
        target="infra",
        weekdays_off=("sat", "sun"),
        minimum_length=3,
        bridge_days=True,
        extra_closing_days=(date(2026, 5, 1),),
        leave_out=(date(2026, 1, 2),),
        owner="platform",
        fingerprint="5f1d",
        accepted_by="kim",
        accepted_why="announced yesterday",
        refused="half of the days are gone",
        refused_code="withdrawals",
    ),
    r.CalendarState(
        calendar_id="kr-holidays",
        position=12,
        log_time=at("2026-05-01T03:00:01+09:00"),
        fingerprint="5f1d",
        target="infra",
        good_at=at("2026-05-01T03:00:01+09:00"),
        refused="half of the days are gone",
        refused_told=("withdrawals",),
        peaks=(
            r.Peak(
                event_date=date(2026, 9, 28),
                run_start=date(2026, 9, 24),
                run_end=date(2026, 9, 27),
                holidays=(HOLIDAY,),
                rule="first working day after 4 days off",
                withdrawn=True,
                position=12,
                requests=(REQUEST, SCALE_IN),
            ),
        ),
        changes=(
            r.PeakChange(
                kind=r.PeakChangeKind.MOVED,
                before=date(2026, 9, 27),
                after=date(2026, 9, 28),
                why="temporary holiday",
            ),
        ),
    ),
)


def main() -> None:
    EXAMPLES.mkdir(exist_ok=True)
    for record in GOLDEN:
        name = type(record).__name__
        text = json.dumps(to_json(record), ensure_ascii=False, indent=2) + "\n"
        (EXAMPLES / f"{name}.json").write_text(text, encoding="utf-8")
        (EXAMPLES / f"{name}.bin").write_bytes(Codec().encode(record, name))


if __name__ == "__main__":
    main()
