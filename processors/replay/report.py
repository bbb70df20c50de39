"""What a replay found, for people and for programs. Pure."""

from __future__ import annotations

from typing import Any

from peaktime.core import wording
from processors.replay.compare import Difference, Kind, Result
from processors.replay.findings import Report
from processors.replay.notices import Notice, NoticeResult
from processors.replay.objects import ClusterResult
from processors.replay.refold import Fate
from schemas.readable import to_json

#: The fates of a request, in the order of invariant I6.
FATES = (
    Fate.ACCEPTED,
    Fate.REPLACED,
    Fate.DUPLICATE,
    Fate.STALE,
    Fate.WITHDRAWN,
    Fate.REJECTED,
    Fate.FORWARDED,
    Fate.DEAD_LETTERED,
)


def report_json(report: Report) -> dict[str, Any]:
    """The report as values that ``json.dumps`` takes."""
    shown: dict[str, Any] = {
        "equal": report.same,
        "records": dict(sorted(report.records.items())),
        "offsets": {
            f"{span.topic}/{span.partition}": {"from": span.start, "to": span.end}
            for span in sorted(report.spans, key=lambda span: (span.topic, span.partition))
            if span.end > span.start
        },
        "requests": accounts(report),
        "tables": {name: _table(result) for name, result in sorted(report.tables.items())},
        "lettersMissing": report.letters_missing,
        "forwardsMissing": report.forwards_missing,
        "unreadable": report.unreadable,
        "trimmed": {topic: first.isoformat() if first is not None else None for topic, first in report.trimmed.items()},
    }
    if report.notices is not None:
        shown["notifications"] = _notices(report.notices)
    if report.cluster is not None:
        shown["cluster"] = _cluster(report.cluster)
    if report.cluster_left_out:
        shown["clusterLeftOut"] = report.cluster_left_out
    return shown


def accounts(report: Report) -> dict[str, Any]:
    """Invariant I6: requests in, and where they went."""
    counted = report.accounts
    return {
        "in": counted.read,
        **{fate.value.replace("-", "_"): counted.fates[fate] for fate in FATES},
        "not_yet_read": counted.not_yet_read,
        "balanced": counted.balanced,
    }


def _table(result: Result) -> dict[str, Any]:
    return {
        "equal": result.equal,
        "not_yet_read": result.not_yet_read,
        "older": result.older,
        "staleWrites": result.stale_writes,
        "differences": [
            {
                "key": difference.key,
                "kind": difference.kind.value,
                "partition": difference.partition,
                "fields": [
                    {"field": name, "refolded": ours, "logged": theirs} for name, ours, theirs in difference.details()
                ],
                "refolded": to_json(difference.refolded) if difference.refolded is not None else None,
                "logged": to_json(difference.logged) if difference.logged is not None else None,
            }
            for difference in result.differences
        ],
    }


def _notices(result: NoticeResult) -> dict[str, Any]:
    return {
        "equal": result.equal,
        "not_yet_read": result.not_yet_read,
        "older": result.older,
        "delivered": result.delivered,
        "not_yet_delivered": result.not_yet_delivered,
        "byOtherRules": list(map(_notice, result.by_rules)),
        "differences": list(map(_notice, result.differences)),
    }


def _notice(notice: Notice) -> dict[str, Any]:
    return {
        "id": notice.notification_id,
        "kind": notice.kind,
        "about": notice.about,
        "fields": [{"field": name, "expected": ours, "found": theirs} for name, ours, theirs in notice.details()],
        "expected": to_json(notice.expected) if notice.expected is not None else None,
        "found": to_json(notice.found) if notice.found is not None else None,
    }


def _cluster(result: ClusterResult) -> dict[str, Any]:
    return {
        "equal": result.equal,
        "not_yet_read": result.not_yet_read,
        "handsOff": result.by_hand,
        "differences": [
            {
                "key": difference.key,
                "kind": difference.kind.value,
                "entry": difference.entry,
                "reason": difference.reason,
                "fields": [
                    {"field": name, "wanted": ours, "found": theirs} for name, ours, theirs in difference.details()
                ],
                "wanted": difference.wanted,
                "found": difference.found,
            }
            for difference in result.differences
        ],
    }


def report_lines(report: Report, zone: str) -> list[str]:
    """The report for people."""
    counted = accounts(report)
    told = ", ".join(f"{counted[fate.value.replace('-', '_')]} {fate.value}" for fate in FATES)
    lines = [f"Read {sum(report.records.values())} records of {len(report.records)} topics."]
    lines += trimmed_lines(report, zone)
    lines.append(
        f"Requests: {counted['in']} in = {told}, {counted['not_yet_read']} not yet read"
        + (". It balances." if counted["balanced"] else ". It does NOT balance."),
    )
    for name, result in report.tables.items():
        lines.append(_table_line(name, result))
        lines += [f"  {line}" for difference in result.differences for line in _difference_lines(difference)]
        lines += [
            f"  {key}: an older row was written last; a worker mends that when it starts" for key in result.stale_writes
        ]
    if report.notices is not None:
        lines += _notice_lines(report.notices)
    if report.cluster is not None:
        lines += _cluster_lines(report.cluster)
    if report.cluster_left_out:
        lines.append(f"cluster: NOT compared: {report.cluster_left_out}.")
    for what, places in (
        ("No dead letter of", report.letters_missing),
        ("Misplaced, and no copy at its right place:", report.forwards_missing),
        ("Of ours, and cannot be read:", report.unreadable),
    ):
        lines += [f"{what} {place}" for place in places]
    lines.append("Equal." if report.same else "DIFFERENT.")
    return lines


def trimmed_lines(report: Report, zone: str) -> list[str]:
    """From when on the log can answer, a line for each topic whose beginning is gone."""
    return [
        f"{topic} has lost its beginning: it can answer from {wording.instant(first, zone)} on."
        if first is not None
        else f"{topic} has lost its beginning, and nothing is left of that."
        for topic, first in report.trimmed.items()
    ]


def _table_line(name: str, result: Result) -> str:
    parts = [f"{result.equal} rows are equal"]
    real = sum(difference.kind is not Kind.RULES for difference in result.differences)
    for count, words in (
        (real, "differ"),
        (len(result.differences) - real, "would be decided otherwise by today's rules"),
        (result.not_yet_read, "not yet read"),
        (result.older, "go back to before the beginning of the log"),
    ):
        if count:
            parts.append(f"{count} {words}")
    return f"{name}: {', '.join(parts)}."


def _difference_lines(difference: Difference) -> list[str]:
    lines = [f"{difference.key}: {difference.kind.value}"]
    details = difference.details()
    if details:
        return lines + [f"  {name}: refolded {ours}, on the log {theirs}" for name, ours, theirs in details]
    for name, side in (("refolded", difference.refolded), ("on the log", difference.logged)):
        lines.append(f"  {name}: {'nothing' if side is None else f'a row of position {side.position}'}")
    return lines


def _notice_lines(result: NoticeResult) -> list[str]:
    parts = [f"{result.equal} are as they should be"]
    for count, words in (
        (len(result.differences), "are not"),
        (len(result.by_rules), "would be told otherwise by today's rules"),
        (result.not_yet_read, "not yet read"),
        (result.older, "go back to before the beginning of the log"),
    ):
        if count:
            parts.append(f"{count} {words}")
    if result.delivered:
        parts.append(f"{result.delivered} reached people")
    if result.not_yet_delivered:
        parts.append(f"{result.not_yet_delivered} did not yet")
    if result.delivered is None:
        parts.append("no sink has read them")
    lines = [f"notifications: {', '.join(parts)}."]
    lines += [
        f"  {notice.notification_id}: {notice.kind} by today's rules: {notice.about}" for notice in result.by_rules
    ]
    for notice in result.differences:
        lines.append(f"  {notice.notification_id}: {notice.kind}: {notice.about}")
        lines += [f"    {name}: expected {ours}, found {theirs}" for name, ours, theirs in notice.details()]
    return lines


def _cluster_lines(result: ClusterResult) -> list[str]:
    parts = [f"{result.equal} CronWorkflows are as they should be"]
    for count, words in (
        (len(result.differences), "differ"),
        (result.not_yet_read, "not yet read"),
        (len(result.by_hand), "are marked hands-off"),
    ):
        if count:
            parts.append(f"{count} {words}")
    lines = [f"cluster: {', '.join(parts)}."]
    for difference in result.differences:
        about = f" ({difference.entry})" if difference.entry else ""
        lines.append(f"  {difference.key}: {difference.kind.value}{about}: {difference.reason}")
        lines += [f"    {name}: wanted {ours}, found {theirs}" for name, ours, theirs in difference.details()]
    return lines
