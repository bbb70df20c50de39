"""What an answer of an API server means: look again, mend it, list again, or wait."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from processors.reconcile.api import GoneError, explained
from processors.reconcile.cluster import BusyError, ConflictError, RefusedError


def error(status, method="POST", retry_after=None, **body):
    return explained("name", method, status, json.dumps(body).encode(), retry_after)


@pytest.mark.parametrize(
    ("status", "method", "kind"),
    [
        (409, "POST", ConflictError),
        (409, "PATCH", ConflictError),
        (404, "DELETE", ConflictError),
        (404, "POST", RefusedError),
        (400, "POST", RefusedError),
        (403, "PATCH", RefusedError),
        (422, "POST", RefusedError),
        (410, "GET", GoneError),
        (401, "POST", BusyError),
        (408, "POST", BusyError),
        (429, "POST", BusyError),
        (500, "POST", BusyError),
        (503, "GET", BusyError),
    ],
)
def test_a_status_says_what_to_do(status, method, kind):
    found = error(status, method, message="the reason")
    assert type(found) is kind
    assert f"{status} the reason" in found.reason


def test_retry_after_is_seconds_or_a_date_or_nothing():
    assert error(429, retry_after="7").after == 7.0
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 15 < error(503, retry_after=later).after <= 20
    assert error(503, retry_after="soon").after is None
    assert error(503).after is None


def test_a_conflict_over_fields_names_who_holds_them():
    found = error(
        409,
        "PATCH",
        message="Apply failed with 1 conflict",
        details={
            "causes": [
                {
                    "reason": "FieldManagerConflict",
                    "message": 'conflict with "kubectl-edit" using argoproj.io/v1alpha1',
                    "field": ".spec.schedules",
                },
            ],
        },
    )
    assert 'conflict with "kubectl-edit"' in found.reason
    assert ".spec.schedules" in found.reason


def test_an_answer_that_is_no_status_is_shown_as_it_is():
    found = explained("name", "POST", 502, b"<html>bad gateway</html>", None)
    assert isinstance(found, BusyError)
    assert "bad gateway" in str(found)
    assert "[1, 2]" in str(explained("name", "POST", 502, b"[1, 2]", None))
