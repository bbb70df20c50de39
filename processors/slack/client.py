"""Where notifications are posted: a port with two implementations, Slack's Web API and the console.

For: one attempt at a time, each failure told apart by what to do about it. Must not: retry, wait, or remember anything
but the channel's id.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from rich.console import Console
from rich.text import Text
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse

from processors.slack import render
from processors.slack.errors import RateLimitedError, RefusedError, UnavailableError, UnpostableError
from schemas.records import Notification, Severity

#: Slack allows about one message a second and channel.
SLACK_INTERVAL = 1.0
_TIMEOUT = 5
_PAGE = 200
_MOST_PAGES = 20
_DEFAULT_RETRY_AFTER = 30.0
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{7,}")
_CODE = re.compile(r"[a-z_]+")
#: The message's own fault.
UNPOSTABLE = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_block_id",
        "msg_too_long",
        "msg_blocks_too_long",
        "too_many_blocks",
        "no_text",
        "markdown_text_conflict",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "metadata_too_large",
        "invalid_arguments",
        "cannot_reply_to_message",
        "thread_not_found",
    },
)
#: The thread cannot be replied to any more; the channel can.
THREAD_GONE = frozenset({"cannot_reply_to_message", "thread_not_found"})
#: Slack's, or the network's: trying again may help. It says itself of the first two that part of it may have been done.
_UNSURE = frozenset({"internal_error", "fatal_error"})
_PASSING = frozenset({"service_unavailable", "request_timeout", "team_added_to_org", "accesslimited"})
_REMEDIES = {
    "invalid_auth": "Set PEAKTIME_SLACK_TOKEN to a valid bot token (xoxb-…)",
    "not_authed": "Set PEAKTIME_SLACK_TOKEN to a bot token (xoxb-…)",
    "account_inactive": "Install the app in the workspace again, and set PEAKTIME_SLACK_TOKEN to its new token",
    "token_revoked": "Install the app in the workspace again, and set PEAKTIME_SLACK_TOKEN to its new token",
    "token_expired": "Set PEAKTIME_SLACK_TOKEN to a token that does not expire, or to a fresh one",
    "channel_not_found": "Set PEAKTIME_SLACK_CHANNEL to an existing channel; invite the app if it is private",
    "not_in_channel": "Invite the app to the channel: /invite @peaktime",
    "is_archived": "Unarchive the channel, or set PEAKTIME_SLACK_CHANNEL to another one",
    "missing_scope": "Give the app the scope that is named, and install it again",
}
_ANY_REMEDY = "Look at the app's settings in Slack; the sink keeps the message and tries again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A message that was posted.

    Attributes:
        channel: id of its channel.
        ts: its identity in the channel.
        thread_ts: identity of its thread's first message; its own if it is that message.
    """

    channel: str
    ts: str
    thread_ts: str


class Poster(Protocol):
    """Posts notifications. Each method raises the errors of ``processors.slack.errors``."""

    sink: str
    interval: float
    """Least seconds between two posts."""

    def open(self) -> str:
        """The id of the channel that posts go to."""

    def post(self, notification: Notification, thread_ts: str | None, *, plain: bool = False) -> Posted:
        """Post it, into a thread if one is given; ``plain``: as short text, without blocks that may be refused."""

    def find(self, notification_id: str, thread_ts: str | None, since: datetime) -> str | None:
        """The ts of the message that carries this id, if there is one at or after ``since`` (UTC)."""

    def permalink(self, posted: Posted) -> str:
        """A link to the message; empty if there is none."""


class ConsolePoster:
    """Writes one line for each notification to the console; what is on a console cannot be found again.

    Args:
        console: where to write; standard output if not given.
        now: gives the instant that becomes a message's ts.
    """

    sink = "console"
    interval = 0.0

    def __init__(self, console: Console | None = None, now: Callable[[], datetime] | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._now = now or (lambda: datetime.now(UTC))

    def open(self) -> str:
        """The console's name."""
        return "console"

    def post(self, notification: Notification, thread_ts: str | None, *, plain: bool = False) -> Posted:
        """Write it as one line; ``plain`` without colours."""
        style = {Severity.ERROR: "bold red", Severity.WARNING: "yellow"}.get(notification.severity, "green")
        line = Text("  ↳ " if thread_ts else "● ")
        line.append(_flat(notification.headline), style="" if plain else style)
        for part in (notification.text, notification.link):
            if part.strip():
                line.append(f"  {_flat(part)}")
        self._console.print(line, soft_wrap=True)
        ts = f"{self._now().timestamp():.6f}"
        return Posted(channel=self.open(), ts=ts, thread_ts=thread_ts or ts)

    def find(self, notification_id: str, thread_ts: str | None, since: datetime) -> str | None:  # noqa: ARG002  (the signature is given)
        """Nothing: a console does not remember."""
        return None

    def permalink(self, posted: Posted) -> str:  # noqa: ARG002  (the signature is given)
        """Nothing: a console has no links."""
        return ""


def _flat(text: str) -> str:
    return " · ".join(line.strip() for line in render.visible(text).splitlines() if line.strip())


class SlackPoster:
    """Posts to one channel by Slack's Web API.

    It needs the bot scopes ``chat:write`` and ``channels:history`` (``groups:history`` for a private channel), and
    ``channels:read`` or ``groups:read`` if the channel is given by its name.

    Args:
        token: bot token.
        channel: id or name (``#peaktime``) of the channel.
        url: base of the Web API.
        timeout: seconds for one call.
    """

    sink = "slack"
    interval = SLACK_INTERVAL

    def __init__(self, token: str, channel: str, url: str = WebClient.BASE_URL, timeout: int = _TIMEOUT) -> None:
        # An empty list: the library would otherwise repeat a call that was cut off, and post twice.
        self._client = WebClient(token=token, base_url=_with_slash(url), timeout=timeout, retry_handlers=[])
        self._channel = channel
        self._id = channel if _CHANNEL_ID.fullmatch(channel) else ""
        self._log = structlog.get_logger(__name__)

    def open(self) -> str:
        """The channel's id; a name is looked up once."""
        if not self._id:
            self._id = self._look_up(self._channel.removeprefix("#"))
        return self._id

    def _look_up(self, name: str) -> str:
        def page(cursor: str) -> SlackResponse:
            return self._client.conversations_list(
                types="public_channel,private_channel",
                exclude_archived=True,
                limit=_PAGE,
                cursor=cursor,
            )

        for answer in self._pages(page):
            for channel in answer.get("channels") or []:
                if channel.get("name") == name:
                    return str(channel["id"])
        raise self._refused("channel_not_found", None)

    def post(self, notification: Notification, thread_ts: str | None, *, plain: bool = False) -> Posted:
        """One call of chat.postMessage.

        Args:
            notification: what to post.
            thread_ts: the thread's first message; Slack posts to the channel if that was deleted.
            plain: without blocks, for a message that was refused with them.
        """
        arguments: dict[str, Any] = {
            "channel": self.open(),
            "text": render.text(notification),
            "metadata": render.metadata(notification),
            "parse": "none",
            "link_names": False,
            "mrkdwn": False,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if not plain:
            arguments["blocks"] = render.blocks(notification)
        if thread_ts:
            arguments["thread_ts"] = thread_ts
        answer = self._call(lambda: self._client.chat_postMessage(**arguments), posts=True, plain=plain)
        ts = str(answer["ts"])
        # A reply to a message that was deleted silently becomes a message of its own: it starts a new thread.
        root = (answer.get("message") or {}).get("thread_ts")
        return Posted(channel=str(answer["channel"]), ts=ts, thread_ts=str(root or ts))

    def find(self, notification_id: str, thread_ts: str | None, since: datetime) -> str | None:
        """Look through the thread, then through the channel, newest first, for a message with this id."""
        oldest = f"{since.timestamp():.6f}"
        channel = self.open()
        places: list[Callable[[str], SlackResponse]] = []
        if thread_ts:
            places.append(
                lambda cursor: self._client.conversations_replies(
                    channel=channel,
                    ts=thread_ts,
                    oldest=oldest,
                    limit=_PAGE,
                    cursor=cursor,
                    include_all_metadata=True,
                ),
            )
        places.append(
            lambda cursor: self._client.conversations_history(
                channel=channel,
                oldest=oldest,
                limit=_PAGE,
                cursor=cursor,
                include_all_metadata=True,
            ),
        )
        for place in places:
            for answer in self._pages(place, missing="thread_not_found"):
                for message in answer.get("messages") or []:
                    marked = message.get("metadata") or {}
                    payload = marked.get("event_payload") or {}
                    if marked.get("event_type") == render.EVENT_TYPE and payload.get("id") == notification_id:
                        return str(message["ts"])
        return None

    def permalink(self, posted: Posted) -> str:
        """chat.getPermalink; a link is not worth a retry, so any failure is logged and gives none."""
        try:
            answer = self._call(
                lambda: self._client.chat_getPermalink(channel=posted.channel, message_ts=posted.ts),
                posts=False,
            )
        except (RateLimitedError, UnavailableError, RefusedError, UnpostableError) as error:
            self._log.info("no permalink", error=str(error))
            return ""
        return str(answer.get("permalink") or "")

    def _pages(self, page: Callable[[str], SlackResponse], missing: str = "") -> Iterator[SlackResponse]:
        cursor = ""
        for _ in range(_MOST_PAGES):
            try:
                answer = self._call(lambda: page(cursor), posts=False)  # noqa: B023  (called before the next turn)
            except UnpostableError as error:
                if error.code == missing:
                    return
                raise
            yield answer
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return
        self._log.warning("gave up looking through Slack", pages=_MOST_PAGES)

    def _call(self, call: Callable[[], SlackResponse], *, posts: bool, plain: bool = False) -> SlackResponse:
        """One call, its failure told apart by what to do about it."""
        try:
            return call()
        except SlackApiError as error:
            raise self._explained(error.response, posts=posts, plain=plain) from error
        except (OSError, http.client.HTTPException, SlackClientError) as error:
            # Unless the connection was refused at once, nobody knows how far the request came.
            refused = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
            reason = getattr(error, "reason", None) or error
            raise UnavailableError(
                "Slack",
                f"no answer ({reason})",
                "It is tried again",
                maybe_posted=posts and not refused,
            ) from error

    def _explained(
        self,
        response: Any,
        *,
        posts: bool,
        plain: bool,
    ) -> RateLimitedError | UnavailableError | RefusedError | UnpostableError:
        data = response.data if isinstance(response.data, dict) else {}
        code = str(data.get("error") or "")
        status = int(response.status_code)
        headers = {str(name).lower(): value for name, value in dict(response.headers or {}).items()}
        if status == http.client.TOO_MANY_REQUESTS or code in {"ratelimited", "rate_limited"}:
            return RateLimitedError(
                "Slack",
                "too many messages",
                "It is sent later",
                retry_after=_seconds(headers.get("retry-after")),
            )
        odd = status >= http.client.INTERNAL_SERVER_ERROR or not _CODE.fullmatch(code)
        if odd or code in _UNSURE or code in _PASSING:
            unsure = posts and (odd or code in _UNSURE)
            return UnavailableError(
                "Slack",
                f"{code or 'no reason'} ({status})",
                "It is tried again",
                maybe_posted=unsure,
            )
        if code == "thread_not_found" or (posts and code in UNPOSTABLE):
            remedy = "" if plain else "It is sent as plain text"
            return UnpostableError("Slack", f"does not take the message: {code}", remedy, code=code)
        if posts and not plain and code not in _REMEDIES:
            # A word that this version does not know may be about this one message: the plain form will tell.
            return UnpostableError("Slack", f"refuses: {code}", "It is sent as plain text", code=code)
        return self._refused(code, data.get("needed"))

    def _refused(self, code: str, needed: object) -> RefusedError:
        reason = f"{code} (needed: {needed})" if needed else code
        return RefusedError(f"Slack channel {self._channel}", reason, _REMEDIES.get(code, _ANY_REMEDY), code=code)


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"


def _seconds(value: object) -> float:
    """Retry-After's whole seconds; a proxy may leave it out or make a list of it."""
    if isinstance(value, list):
        value = value[0] if value else None
    try:
        return max(0.0, float(str(value)))
    except ValueError:
        return _DEFAULT_RETRY_AFTER
