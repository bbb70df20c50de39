"""``peaktime pause``: keep everything of a target from starting.

For: on-call engineers. Must not: touch the cluster; it puts a request on the log, and the worker does the rest.
"""

from __future__ import annotations

from peaktime.cli.operating import whole_target
from schemas.records import RequestAction

command = whole_target(
    RequestAction.PAUSE,
    "Start nothing of a target until it is resumed. What goes on is left to finish; what is scheduled is suspended.",
)
