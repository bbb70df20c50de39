"""A stand-in for Slack's Web API on a free loopback port, which follows what Slack documents and people measured.

- every method is POSTed with a bearer token, as JSON or as a form; a wrong token is answered ``invalid_auth``
- an answer is HTTP 200 with ``ok``; only rate limiting (429 with Retry-After) and broken servers (5xx) are not
- chat.postMessage takes a channel by id or name, and answers the channel's id, ``ts`` and the message
- it refuses more than 50 blocks, headers over 150 and sections over 3,000 characters (``invalid_blocks``), blocks of
  over 13,200 characters in all (``msg_blocks_too_long``), texts over 40,000 (``msg_too_long``), nothing (``no_text``)
- a reply to a message that is not there silently becomes a message of the channel, without ``thread_ts``
- conversations.history gives the channel's own messages, newest first, by id only; conversations.replies a thread,
  oldest first, or ``thread_not_found``; both in pages with a cursor, and metadata only if ``include_all_metadata``
- conversations.list gives channels in pages; chat.getPermalink links
- a scope that was taken away is answered ``missing_scope`` with ``needed``
"""

from __future__ import annotations

import html
import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

TOKEN = "xoxb-test"
CHANNEL = "C0PEAKTIME"


@dataclass
class Fault:
    """What the next call of a method meets instead of an answer.

    ``error``: ok=false with that word. ``status``: that HTTP status. ``retry_after``: its header. ``body``: what is
    answered instead of JSON. ``drop``: the connection is cut, ``"before"`` or ``"after"`` the work was done.
    """

    error: str = ""
    status: int = 200
    retry_after: int | None = None
    body: str = ""
    drop: str = ""


@dataclass
class FakeSlack:
    """The workspace: one channel and what was posted there."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    channels: list[dict[str, str]] = field(
        default_factory=lambda: [{"id": "C0OTHER00", "name": "other"}, {"id": CHANNEL, "name": "peaktime"}],
    )
    missing_scopes: dict[str, str] = field(default_factory=dict)
    token: str = TOKEN
    page: int = 2
    #: While cleared, posts are done but not answered.
    answering: threading.Event = field(default_factory=threading.Event)
    #: Set whenever a post was done.
    posted: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.answering.set()
        self._lock = threading.Lock()
        self._clock = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.slack = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/api/"

    def close(self) -> None:
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def fail(self, method: str, *faults: Fault) -> None:
        """The next calls of a method meet these faults, one each."""
        self.faults.setdefault(method, deque()).extend(faults)

    def delete(self, ts: str) -> None:
        """A person deletes a message."""
        self.messages = [message for message in self.messages if message["ts"] != ts]

    def ids(self) -> list[str]:
        """The ids of the notifications that were posted, in order."""
        return [message["metadata"]["event_payload"]["id"] for message in self.messages]

    def called(self, method: str) -> int:
        return sum(1 for name, _ in self.calls if name == method)

    def answer(self, method: str, token: str, arguments: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.calls.append((method, arguments))
            if token != self.token:
                return {"ok": False, "error": "invalid_auth"}
            if method in self.missing_scopes:
                return {"ok": False, "error": "missing_scope", "needed": self.missing_scopes[method], "provided": "x"}
            handler = getattr(self, "_" + re.sub(r"\W", "_", method), None)
            return handler(arguments) if handler else {"ok": False, "error": "unknown_method"}

    def _chat_postMessage(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel = next((c for c in self.channels if arguments["channel"] in (c["id"], f"#{c['name']}")), None)
        if channel is None:
            return {"ok": False, "error": "channel_not_found"}
        error = refusal(arguments)
        if error:
            return {"ok": False, "error": error}
        self._clock += 1
        message = {
            "type": "message",
            "channel": channel["id"],
            "ts": f"17778528{self._clock:02d}.{self._clock:06d}",
            "text": arguments.get("text", ""),
            "blocks": arguments.get("blocks", []),
            "metadata": arguments.get("metadata"),
        }
        root = arguments.get("thread_ts")
        if root and any(m["ts"] == root for m in self.messages):
            message["thread_ts"] = root
        self.messages.append(message)
        self.posted.set()
        return {"ok": True, "channel": channel["id"], "ts": message["ts"], "message": message}

    def _conversations_history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if all(c["id"] != arguments["channel"] for c in self.channels):
            return {"ok": False, "error": "channel_not_found"}
        own = [m for m in self.messages if m["channel"] == arguments["channel"] and "thread_ts" not in m]
        return self._listed(list(reversed(own)), arguments)

    def _conversations_replies(self, arguments: dict[str, Any]) -> dict[str, Any]:
        root = arguments["ts"]
        if all(m["ts"] != root for m in self.messages):
            return {"ok": False, "error": "thread_not_found"}
        return self._listed([m for m in self.messages if root in (m["ts"], m.get("thread_ts"))], arguments)

    def _listed(self, messages: list[dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
        found = [m for m in messages if float(m["ts"]) > float(arguments.get("oldest") or 0)]
        if str(arguments.get("include_all_metadata")).lower() not in ("1", "true"):
            found = [{key: value for key, value in m.items() if key != "metadata"} for m in found]
        return self._paged("messages", found, arguments)

    def _conversations_list(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return self._paged("channels", self.channels, arguments)

    def _paged(self, name: str, items: list[Any], arguments: dict[str, Any]) -> dict[str, Any]:
        start = int(arguments.get("cursor") or 0)
        end = start + self.page
        cursor = str(end) if end < len(items) else ""
        return {"ok": True, name: items[start:end], "response_metadata": {"next_cursor": cursor}}

    def _chat_getPermalink(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        ts = arguments["message_ts"]
        if all(m["ts"] != ts for m in self.messages):
            return {"ok": False, "error": "message_not_found"}
        return {
            "ok": True,
            "permalink": f"https://ws.slack.test/archives/{arguments['channel']}/p{ts.replace('.', '')}",
        }


def refusal(arguments: dict[str, Any]) -> str:
    """Slack's word for what is wrong with a message; empty if it takes it."""
    blocks = arguments.get("blocks") or []
    if not blocks and not arguments.get("text"):
        return "no_text"
    if len(arguments.get("text") or "") > 40_000:
        return "msg_too_long"
    total = 0
    for block in blocks:
        parts = [part for part in [block.get("text"), *block.get("fields", []), *block.get("elements", [])] if part]
        most = {"header": 150, "section": 3000, "context": 3000}[block["type"]]
        if not parts or len(block.get("fields", [])) > 10 or any(not 1 <= len(p["text"]) <= most for p in parts):
            return "invalid_blocks"
        if any(len(p["text"]) > 2000 for p in block.get("fields", [])):
            return "invalid_blocks"
        total += sum(len(p["text"]) for p in parts)
    if len(blocks) > 50:
        return "invalid_blocks"
    return "msg_blocks_too_long" if total > 13_200 else ""


def shown(message: dict[str, Any]) -> str:
    """What people read of a message's blocks: entities become characters again."""
    texts = []
    for block in message["blocks"]:
        parts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
        texts += [html.unescape(part["text"]) for part in parts if part]
    return "\n".join(texts)


def commands(message: dict[str, Any]) -> list[str]:
    """Everything in a message that Slack would act on: ``<!channel>``, ``<@U1>``, ``<#C1>``, ``<https://…>``."""
    texts = [message["text"]]
    for block in message["blocks"]:
        texts += [p["text"] for p in [block.get("text"), *block.get("fields", []), *block.get("elements", [])] if p]
    return [found for text in texts for found in re.findall(r"<[^<>]*>", text)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    slack: FakeSlack


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        slack = self.server.slack
        method = self.path.rsplit("/", 1)[-1].split("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.headers.get("Content-Type", "").startswith("application/json"):
            arguments = json.loads(body)
        else:
            arguments = {key: values[0] for key, values in parse_qs(body).items()}
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        faults = slack.faults.get(method)
        fault = faults.popleft() if faults else Fault()
        if fault.drop != "before" and not fault.error and not fault.body and fault.status == 200:
            answer = slack.answer(method, token, arguments)
        else:
            slack.calls.append((method, arguments))
            answer = {"ok": False, "error": fault.error or "ratelimited"}
        if method == "chat.postMessage" and answer["ok"]:
            slack.answering.wait(30)
        if fault.drop:
            self.close_connection = True
            return
        data = (fault.body or json.dumps(answer)).encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", "text/html" if fault.body else "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        if fault.retry_after is not None:
            self.send_header("Retry-After", str(fault.retry_after))
        self.end_headers()
        try:
            self.wfile.write(data)
        except OSError:  # the caller was killed: nobody is there to be answered
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the calls are kept instead."""
