"""Log lines: structured, to stderr, and without secrets.

For: ``configure`` once in each process; everything else logs through ``structlog.get_logger`` or, in libraries,
``logging``. Must not: print to stdout, which belongs to commands' answers.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from peaktime.settings import Settings

_SECRET = re.compile(r"password|secret|token|authorization|api_?key|service_?key", re.IGNORECASE)
_HIDDEN = "(hidden)"
#: Kafka's client tells the same some thirty times a second while Kafka is away: once in so many seconds will do.
_THROTTLED = "aiokafka"
_THROTTLE_SECONDS = 10.0
_MOST_TEXTS = 1000
#: Libraries that tell every step at info.
_CHATTY = ("httpx", "httpcore", "aiokafka", "kubernetes", "faust", "mode", "uvicorn.access", "urllib3")


def configure(settings: Settings) -> None:
    """Send structlog's and the standard library's log lines to stderr, as the settings say."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[Any]
    if settings.log_format == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                # The pretty one shows local variables, and so secrets.
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        ),
    )
    debugging = level <= logging.DEBUG
    if not debugging:
        handler.addFilter(Throttle(_THROTTLED, _THROTTLE_SECONDS))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(level if debugging else max(level, logging.WARNING))
    if debugging:
        # At debug it shows every request, and so the password of whoever logs in with PLAIN.
        logging.getLogger("aiokafka.conn").setLevel(logging.INFO)
    logging.getLogger("peaktime.kafka").setLevel(logging.DEBUG if debugging else logging.CRITICAL)


class Throttle(logging.Filter):
    """Lets a library say the same thing once in a while: while Kafka is away its client tells so many times a second.

    What was held back is counted, and told with the next that is let through.
    """

    def __init__(self, library: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Hold back what a library says within these seconds of its like: the same text, whatever its arguments."""
        super().__init__()
        self._library = logging.Filter(library)
        self._seconds, self._clock = seconds, clock
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to let a record through."""
        if not self._library.filter(record):
            return True
        what = (record.name, str(record.msg))
        since, held = self._told.get(what, (-self._seconds, 0))
        now = self._clock()
        if now - since < self._seconds:
            self._told[what] = (since, held + 1)
            return False
        if len(self._told) >= _MOST_TEXTS:
            self._told.clear()
        self._told[what] = (now, 0)
        if held:
            record.msg = f"{record.msg} (and {held} times more before)"
        return True


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank every value whose name sounds like a secret: a net below the secret types, not in their place."""
    for name in event:
        if _SECRET.search(name) and event[name]:
            event[name] = _HIDDEN
    return event
