"""The cluster against the folded log: each object that is missing, left, edited or unexplained is named, and no other."""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest
from support.asking import Log, at, delete, profiles, scale_in, scale_out

from peaktime.core.desired import desired
from peaktime.core.outcomes import Facts
from peaktime.core.plan import Circumstances, Create, Observed, plan
from processors.replay.findings import Report
from processors.replay.objects import ObjectKind, judged
from processors.replay.report import report_json, report_lines

GRACE = timedelta(seconds=60)
NOW = Circumstances(now=at(0), grace=GRACE, namespace="peaktime")


@pytest.fixture
def log():
    log = Log()
    log.append(scale_out("o1", 60, 120, date="2026-05-04"))
    log.append(scale_in("i1", 120, date="2026-05-04"))
    log.append(scale_out("o2", 240, 300, date="2026-05-05"))
    log.append(scale_in("i2", 300, date="2026-05-05"))
    return log


def planned(log, crons, circumstances=NOW):
    want = desired("infra", log.entries, Facts(), profiles(), circumstances.now, grace=GRACE)
    seen = Observed(cron_workflows=crons)
    return plan(want, seen, log.entries, Facts(), profiles(), circumstances), want, seen


def applied(log):
    """What a worker would have made."""
    made, _, _ = planned(log, {})
    crons = {}
    for number, write in enumerate(made.writes):
        assert isinstance(write, Create)
        obj = copy.deepcopy(write.manifest)
        obj["metadata"] |= {"uid": f"u{number}", "resourceVersion": str(number)}
        crons[obj["metadata"]["name"]] = obj
    return crons


def compared(log, crons, *, waiting=False, circumstances=NOW):
    return judged(*planned(log, crons, circumstances), waiting=waiting)


def named(result):
    return [(one.key, one.kind) for one in result.differences]


def test_what_a_worker_made_is_equal(log):
    crons = applied(log)
    result = compared(log, crons)
    assert (result.equal, result.same, result.not_yet_read) == (len(crons), True, 0)
    assert len(crons) == 4


def test_one_that_is_gone_and_one_that_is_edited_are_named_with_both_sides(log):
    crons = applied(log)
    first, second, *_ = sorted(crons)
    del crons[first]
    crons[second]["spec"]["schedules"] = ["1 2 3 4 *"]
    crons[second]["spec"]["suspend"] = True
    crons[second]["metadata"]["labels"]["peaktime.io/level"] = "9"
    result = compared(log, crons)
    assert sorted(named(result)) == sorted(
        [(f"peaktime/{first}", ObjectKind.MISSING), (f"peaktime/{second}", ObjectKind.DIFFERENT)],
    )
    assert result.equal == 2
    (edited,) = [one for one in result.differences if one.kind is ObjectKind.DIFFERENT]
    fields = {path: (ours, theirs) for path, ours, theirs in edited.details()}
    assert fields.keys() == {"spec.schedules[0]", "label peaktime.io/level"}
    assert fields["spec.schedules[0]"][1] == "1 2 3 4 *"
    assert edited.entry.startswith("infra/pa/2026-05-0")


def test_one_that_somebody_suspended_is_named_unless_it_is_marked_hands_off(log):
    crons = applied(log)
    name = min(crons)
    crons[name]["spec"]["suspend"] = True
    result = compared(log, crons)
    assert (named(result), result.equal) == ([(f"peaktime/{name}", ObjectKind.SUSPENDED)], 3)
    assert result.differences[0].details() == [("spec.suspend", "False", "True")]
    crons[name]["metadata"]["annotations"]["peaktime.io/hands-off"] = "true"
    assert compared(log, crons).same


def test_what_is_not_wanted_any_more_and_what_nothing_explains_are_told_apart(log):
    crons = applied(log)
    log.append(delete("d1", date="2026-05-04"))
    stranger = copy.deepcopy(next(iter(crons.values())))
    stranger["metadata"] |= {"name": "peaktime-made-up", "annotations": {"peaktime.io/entry": "infra/pa/1999-01-01"}}
    crons["peaktime-made-up"] = stranger
    kinds = [kind for _, kind in named(compared(log, crons))]
    assert sorted(kinds) == sorted([ObjectKind.LEFT, ObjectKind.LEFT, ObjectKind.UNEXPLAINED])


def test_a_name_that_a_stranger_took_is_named(log):
    crons = applied(log)
    name = next(iter(crons))
    crons[name]["metadata"]["labels"] = {}
    assert named(compared(log, crons)) == [(f"peaktime/{name}", ObjectKind.TAKEN)]


def test_what_the_worker_has_not_read_or_replay_has_not_is_no_difference(log):
    result = compared(log, {}, waiting=True)
    assert (result.same, result.not_yet_read) == (True, 4)
    crons = applied(log)
    name = next(iter(crons))
    crons[name]["metadata"]["annotations"] |= {"peaktime.io/position": "900", "peaktime.io/entry": "infra/pa/newer"}
    crons["peaktime-newer"] = copy.deepcopy(crons[name])
    crons["peaktime-newer"]["metadata"]["name"] = "peaktime-newer"
    result = compared(log, crons)
    assert (result.same, result.not_yet_read) == (True, 1)


def test_hands_off_is_told_and_is_no_difference(log):
    crons = applied(log)
    name = next(iter(crons))
    crons[name]["metadata"]["annotations"]["peaktime.io/hands-off"] = "true"
    crons[name]["spec"]["schedules"] = ["1 2 3 4 *"]
    result = compared(log, crons)
    assert (result.same, result.by_hand, result.equal) == (True, [f"peaktime/{name}"], 3)


def test_an_owed_run_that_nobody_started_is_named(log):
    late = Circumstances(now=at(63), grace=GRACE, namespace="peaktime")
    result = compared(log, applied(log), circumstances=late)
    assert [one.kind for one in result.differences] == [ObjectKind.NOT_STARTED]


def test_it_is_told_to_people_and_to_programs(log):
    crons = applied(log)
    name = next(iter(crons))
    crons[name]["spec"]["schedules"] = ["1 2 3 4 *"]
    report = Report(cluster=compared(log, crons))
    assert not report.same
    (shown,) = report_json(report)["cluster"]["differences"]
    assert (shown["key"], shown["kind"]) == (f"peaktime/{name}", "different in the cluster")
    assert shown["fields"][0]["found"] == "1 2 3 4 *"
    lines = "\n".join(report_lines(report, "Asia/Seoul"))
    assert "cluster: 3 CronWorkflows are as they should be, 1 differ." in lines
    assert f"peaktime/{name}: different in the cluster" in lines
    assert "found 1 2 3 4 *" in lines
