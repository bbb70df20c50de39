"""The view of a cluster finds by entry what a search through everything would find."""

import copy
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import START, profiles

from peaktime.core.desired import desired
from peaktime.core.outcomes import Facts
from peaktime.core.plan import Circumstances, Plan, plan
from peaktime.core.requests import Entries
from processors.reconcile.cluster import View, identity, target_in

ENTRIES = ["svc/pa/1", "svc/pa/2", ""]


def made(kind, name, version, *, ours=True, target="svc", entry="svc/pa/1", **more):
    labels = {"peaktime.io/target": target}
    if ours:
        labels["app.kubernetes.io/managed-by"] = "peaktime"
    annotations = {"peaktime.io/entry": entry} if entry else {}
    metadata = {
        "name": name,
        "namespace": "n",
        "resourceVersion": str(version),
        "labels": labels,
        "annotations": annotations,
    }
    return {"kind": kind, "metadata": metadata, **more}


objects = st.builds(
    made,
    st.sampled_from(["CronWorkflow", "Workflow"]),
    st.sampled_from(["peaktime-create-svc-a", "peaktime-create-svc-b", "another"]),
    st.integers(1, 9),
    ours=st.sampled_from([True, True, False]),
    target=st.sampled_from(["svc", "svc", "other"]),
    entry=st.sampled_from(ENTRIES),
    status=st.sampled_from([{}, {"lastScheduledTime": "2026-05-04T00:00:00Z"}]),
)


@given(st.lists(st.tuples(objects, st.booleans()), max_size=25))
def test_what_is_found_by_entry_is_what_a_search_finds(steps):
    view, held = View(), {}
    for obj, gone in steps:
        key = identity(obj)
        before = held.get(key)
        view.changes("svc")
        if gone:
            view.drop(key)
            held.pop(key, None)
        elif before is None or int(before["metadata"]["resourceVersion"]) < int(obj["metadata"]["resourceVersion"]):
            view.put(obj)
            held[key] = obj
        changes = view.changes("svc")
        assert changes == expected_changes(before, held.get(key))
        mine = [o for o in held.values() if is_ours(o) and o["metadata"]["labels"]["peaktime.io/target"] == "svc"]
        crons = {o["metadata"]["name"]: o for o in mine if o["kind"] == "CronWorkflow"}
        workflows = {o["metadata"]["name"]: o for o in mine if o["kind"] == "Workflow"}
        assert view.entries("svc") == {entry(o) for o in crons.values()}
        assert view.notable("svc").cron_workflows == {n: o for n, o in crons.items() if o["status"]}
        assert view.notable("svc").workflows == workflows
        for one in ENTRIES:
            part = view.part("svc", [one], [], present=False)
            assert part.cron_workflows == {n: o for n, o in crons.items() if entry(o) == one}
            assert part.workflows == {n: o for n, o in workflows.items() if entry(o) == one}
            assert view.part("svc", [one], [], present=True).workflows == workflows
        names = ["peaktime-create-svc-a", "peaktime-create-svc-b"]
        whole = view.observed("svc", names)
        part = view.part("svc", ENTRIES, names, present=True)
        assert (part.cron_workflows, part.workflows) == (whole.cron_workflows, whole.workflows)


def is_ours(obj):
    return "app.kubernetes.io/managed-by" in obj["metadata"]["labels"]


def entry(obj):
    return obj["metadata"]["annotations"].get("peaktime.io/entry", "")


def expected_changes(before, after):
    """The entries of ``svc`` that are touched when an object is replaced by another, None for any."""
    if before is after:
        return set()
    changes = set()
    for obj, other in ((before, after), (after, before)):
        if obj is None:
            continue
        if is_ours(obj):
            changes |= {entry(obj)} if obj["metadata"]["labels"]["peaktime.io/target"] == "svc" else set()
        elif obj["kind"] == "CronWorkflow" and target_in(obj["metadata"]["name"], obj) == "svc":
            # One that was there already, and is still not ours, stands in the way as it did.
            came_or_went = other is None or (is_ours(other) and obj is after)
            changes |= {None} if came_or_went else set()
    return changes


def test_a_workflow_is_found_with_the_cron_workflow_that_began_it_whatever_it_says():
    view = View()
    view.put(made("CronWorkflow", "peaktime-create-svc-a", 1))
    run = made("Workflow", "peaktime-create-svc-a-1", 2, entry="")
    run["metadata"]["labels"]["workflows.argoproj.io/cron-workflow"] = "peaktime-create-svc-a"
    view.put(run)
    assert view.part("svc", ["svc/pa/1"], [], present=False).workflows == {"peaktime-create-svc-a-1": run}
    assert view.part("svc", ["svc/pa/2"], [], present=False).workflows == {}


@pytest.mark.parametrize(
    "mark",
    [{"status": {"conditions": [{"type": "SpecError", "status": "True"}]}}, {"status": {"active": [{"name": "a-1"}]}}],
)
def test_what_shows_more_than_a_plan_is_notable(mark):
    view = View()
    view.put(made("CronWorkflow", "a", 1, **mark))
    view.put(made("CronWorkflow", "b", 2))
    assert [*view.notable("svc").cron_workflows] == ["a"]


def test_who_holds_which_fields_is_kept_once_for_all():
    view = View()
    for number in range(2):
        held = {"manager": "argo", "fieldsV1": {"f:spec": {"f:suspend": {}}}}
        view.put(made("CronWorkflow", f"c{number}", number + 1))
        obj = made("CronWorkflow", f"d{number}", number + 1)
        obj["metadata"]["managedFields"] = [held]
        view.put(obj)
    one, other = (view.get(("CronWorkflow", "n", f"d{n}"))["metadata"]["managedFields"][0] for n in range(2))
    assert one == {"manager": "argo", "fieldsV1": {"f:spec": {"f:suspend": {}}}}
    assert one["fieldsV1"] is other["fieldsV1"]


@pytest.mark.parametrize(
    "odd",
    [
        {"status": "broken"},
        {"status": {"conditions": "x", "active": {"a": 1}, "nodes": []}},
        {"status": {"conditions": [None, 1], "active": ["x", {"name": 5}], "nodes": {"a": None}}},
        {"status": {"lastScheduledTime": 5, "startedAt": [], "phase": {}}},
        {"spec": "x"},
        {"spec": None, "status": None},
    ],
)
@pytest.mark.parametrize("kind", ["CronWorkflow", "Workflow"])
def test_what_people_write_where_nothing_checks_it_breaks_no_look(kind, odd):
    view = View()
    obj = made(kind, "peaktime-create-svc-a-1", 3, entry="infra/pa/1", target="infra", **copy.deepcopy(odd))
    obj["metadata"]["uid"] = "u"
    assert view.put(obj) == "infra"
    seen = view.observed("infra", [])
    at = Circumstances(now=START, grace=timedelta(seconds=60), namespace="n")
    want = desired("infra", Entries(), Facts(), profiles(), START, grace=at.grace)
    assert isinstance(plan(want, seen, Entries(), Facts(), profiles(), at), Plan)


def test_versions_that_begin_anew_are_those_of_another_cluster():
    view = View()
    view.put(made("CronWorkflow", "peaktime-create-svc-a", 90))
    view.put(made("CronWorkflow", "peaktime-create-svc-b", 91))
    view.drop(("CronWorkflow", "n", "peaktime-create-svc-b"), 92)
    assert (view.newest("CronWorkflow", "n"), view.newest("Workflow", "n")) == (90, -1)
    assert view.forget("CronWorkflow", "n") == {"svc"}
    view.put(made("CronWorkflow", "peaktime-create-svc-b", 3))
    assert view.entries("svc") == {"svc/pa/1"}
    assert view.newest("CronWorkflow", "n") == 3


def test_a_foreign_workflow_that_was_looked_at_is_known_by_its_name_until_it_is_ours_or_gone():
    view = View()
    view.put(made("Workflow", "peaktime-create-svc-a-60", 1, ours=False))
    view.put(made("CronWorkflow", "peaktime-create-svc-a-60", 1, ours=False))
    assert view.observed("svc", []).taken == {"peaktime-create-svc-a-60"}
    assert view.part("svc", [], [], present=True).taken == {"peaktime-create-svc-a-60"}
    view.put(made("Workflow", "peaktime-create-svc-a-60", 2))
    assert view.observed("svc", []).taken == frozenset()
    assert "peaktime-create-svc-a-60" in view.observed("svc", ["peaktime-create-svc-a-60"]).cron_workflows
