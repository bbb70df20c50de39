"""``peaktime resume``: let a paused target run again.

For: on-call engineers. Must not: touch the cluster; it puts a request on the log, and the worker does the rest.
"""

from __future__ import annotations

from peaktime.cli.operating import whole_target
from schemas.records import RequestAction

command = whole_target(
    RequestAction.RESUME,
    "Let a paused target run again. What is wanted now is brought about.",
)
