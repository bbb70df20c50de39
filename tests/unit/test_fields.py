"""Whose fields are whose: what our POST set is taken away by an apply only after it was handed over."""

from processors.reconcile.fields import taken_over

WANTED = {
    "metadata": {"labels": {"a": "1"}, "annotations": {"n": "1"}},
    "spec": {"schedules": ["* * * * *"], "workflowSpec": {"entrypoint": "x"}},
}


def fields(**workflow_spec):
    return {
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:annotations": {"f:n": {}}},
        "f:spec": {"f:schedules": {}, "f:workflowSpec": {"f:entrypoint": {}, **workflow_spec}},
    }


def held(manager, operation, found, **more):
    return {"manager": manager, "operation": operation, "fieldsV1": found, **more}


def seen(*entries):
    return {"metadata": {"managedFields": list(entries)}}


MORE = {"f:serviceAccountName": {}}


def test_nothing_is_done_while_all_that_our_post_set_is_wanted():
    assert taken_over(seen(held("peaktime", "Update", fields())), WANTED, "peaktime") is None
    assert taken_over({"metadata": {}}, WANTED, "peaktime") is None


def test_what_others_set_or_a_status_is_not_ours_to_take():
    others = seen(
        held("argo", "Update", fields(**MORE)),
        held("peaktime", "Apply", fields(**MORE)),
        held("peaktime", "Update", fields(**MORE), subresource="status"),
    )
    assert taken_over(others, WANTED, "peaktime") is None


def test_what_our_post_set_becomes_what_we_applied():
    other = held("argo", "Update", {"f:status": {}})
    (kept, ours) = taken_over(seen(held("peaktime", "Update", fields(**MORE)), other), WANTED, "peaktime")
    assert kept == other
    assert ours == held("peaktime", "Apply", fields(**MORE))


def test_together_with_what_we_had_applied_before():
    applied = held("peaktime", "Apply", {"f:spec": {"f:suspend": {}}}, time="later")
    (ours,) = taken_over(seen(held("peaktime", "Update", fields(**MORE)), applied), WANTED, "peaktime")
    assert ours["operation"] == "Apply"
    assert ours["time"] == "later"
    assert ours["fieldsV1"]["f:spec"] == {
        "f:suspend": {},
        "f:schedules": {},
        "f:workflowSpec": {"f:entrypoint": {}, **MORE},
    }


def test_a_label_that_is_not_wanted_any_more_counts_too():
    found = {"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}}
    assert taken_over(seen(held("peaktime", "Update", found)), WANTED, "peaktime") is not None
