"""Getting a feed's bytes from a file or over HTTP, within bounds.

For: every feed that is read from somewhere. Must not: follow a name to a private address unless that is allowed, read
without an end, or show a secret of a URL. What the bytes mean is the feeds' business.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from peaktime.errors import FeedError
from producers.calendar.feeds.base import BadFeedError
from producers.calendar.feeds.cache import FeedCache, Kept

if TYPE_CHECKING:
    import httpx

_HTTP_OK = 200
_HTTP_NOT_MODIFIED = 304
_HTTP_REDIRECTS = (301, 302, 303, 307, 308)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CHUNK = 64 * 1024
_LAST_PORT = 65535
_LEAST_SECONDS = 0.1
_SPARE_SECONDS = 1.0
_AGAIN = "Try again later; the last good one stays in force"

Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came back.

    Attributes:
        body: the bytes, decompressed.
        source: where from, without secrets.
        content_type: as the server says, in lower case; empty for a file.
        not_modified: whether the server said that the kept copy is still right, so that ``body`` is that copy.
    """

    body: bytes
    source: str
    content_type: str = ""
    not_modified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a fetch may go.

    Attributes:
        size: bytes, after decompression.
        seconds: for all of it, redirects included.
        redirects: how many are followed.
        allow_private: whether addresses inside a company or this machine may be asked.
    """

    size: int = 10 * 1024 * 1024
    seconds: float = 30.0
    redirects: int = 5
    allow_private: bool = False


def addresses_of(host: str, port: int) -> list[str]:
    """The addresses that a host name stands for. Raises OSError if it stands for none."""
    return list(dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Fetches within limits.

    Attributes:
        limits: how far it may go.
        cache: keeps the last copy of each URL, for ETag and Last-Modified; None keeps nothing.
        resolve: host and port → addresses.
        transport: what carries HTTP; the real network if None.
    """

    limits: Limits = field(default_factory=Limits)
    cache: FeedCache | None = None
    resolve: Resolve = addresses_of
    transport: httpx.BaseTransport | None = None

    def file(self, path: Path) -> Fetched:
        """A file's bytes. Raises FeedError if it cannot be read, or is no file, or is too large."""
        source = str(path)
        try:
            if not path.is_file():
                raise FeedError(source, "is not a file" if path.exists() else "is not there", "Name a feed that exists")
            with path.open("rb") as opened:
                body = opened.read(self.limits.size + 1)
        except OSError as error:
            raise FeedError(source, f"cannot be read: {error.strerror}", "Check the path and its rights") from error
        if len(body) > self.limits.size:
            raise self._too_large(source)
        return Fetched(body=body, source=source)

    def url(self, url: str, params: Mapping[str, str] | None = None) -> Fetched:
        """What a URL answers, after redirects.

        Args:
            url: ``http:`` or ``https:``.
            params: query parameters; they are never shown, and an answer to them is never kept.

        Raises:
            FeedError: it cannot be reached, answers with an error, or leads where it must not.
            BadFeedError: the answer is cut short or too large.
        """
        answers: list[Fetched | BaseException] = []

        def follow() -> None:
            try:
                answers.append(self._follow(url, params))
            except BaseException as error:  # noqa: BLE001  (handed to the thread that waits)
                answers.append(error)

        # A look-up of a name and the heads of an answer have no deadline of their own, so all of it is waited for.
        waiter = threading.Thread(target=follow, name="fetch", daemon=True)
        waiter.start()
        waiter.join(self.limits.seconds + _SPARE_SECONDS)
        if not answers:
            raise self._too_slow(shown(url))
        if isinstance(answers[0], BaseException):
            raise answers[0]
        return answers[0]

    def _follow(self, url: str, params: Mapping[str, str] | None) -> Fetched:
        import httpx  # noqa: PLC0415  (slow to import, and only URLs need it)

        deadline = monotonic() + self.limits.seconds
        kept = self.cache.get(url) if self.cache is not None and params is None else None
        # Proxies and credentials of the environment stay out: the address that was checked is the one that is asked.
        with httpx.Client(transport=self.transport, trust_env=False, follow_redirects=False) as client:
            try:
                here = httpx.URL(url, params=dict(params)) if params is not None else httpx.URL(url)
            except httpx.InvalidURL as error:
                raise FeedError(shown(url), f"is no URL ({error})", "Correct it") from error
            for _ in range(self.limits.redirects + 1):
                answer = self._ask(client, here, kept, deadline)
                if isinstance(answer, _Answer):
                    if params is None:
                        self._keep(url, answer)
                    return answer
                here = answer
        raise FeedError(shown(url), f"redirects more than {self.limits.redirects} times", "Give the final address")

    def _ask(self, client: httpx.Client, url: httpx.URL, kept: Kept | None, deadline: float) -> _Answer | httpx.URL:
        import httpx  # noqa: PLC0415  (see above)

        source = shown(str(url))
        request = self._request(client, url, kept, source)
        request.extensions["timeout"] = httpx.Timeout(max(_LEAST_SECONDS, deadline - monotonic())).as_dict()
        try:
            answer = client.send(request, stream=True)
            try:
                return self._answer(answer, url, kept, deadline)
            finally:
                answer.close()
        except httpx.RemoteProtocolError as error:
            if "without sending complete message body" in str(error):
                raise BadFeedError(source, "ends in the middle", _AGAIN, code="truncated") from error
            raise FeedError(source, f"does not speak HTTP ({error})", _AGAIN) from error
        except httpx.TimeoutException as error:
            raise self._too_slow(source) from error
        except httpx.HTTPError as error:
            raise FeedError(source, f"cannot be reached: {error}", _AGAIN) from error

    def _request(self, client: httpx.Client, url: httpx.URL, kept: Kept | None, source: str) -> httpx.Request:
        """The request to the very address that was checked, so that no second look-up can give another."""
        if url.scheme not in _DEFAULT_PORTS or not url.host:
            raise FeedError(source, "is not http: or https:", "Give another address")
        address = self._checked(url.host, url.port or _DEFAULT_PORTS[url.scheme], source)
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": "peaktime",
            "Accept": "text/calendar, application/json;q=0.9, */*;q=0.5",
            "Accept-Encoding": "gzip, identity",
        }
        if url.userinfo:
            headers["Authorization"] = f"Basic {base64.b64encode(unquote_to_bytes(url.userinfo)).decode()}"
        if kept is not None:
            headers |= kept.conditions()
        pinned = url.copy_with(host=address, username=None, password=None)
        return client.build_request("GET", pinned, headers=headers, extensions={"sni_hostname": url.host})

    def _checked(self, host: str, port: int, source: str) -> str:
        try:
            addresses = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise FeedError(source, f"{host} has no address", "Check the name, and try again later") from error
        if not addresses:
            raise FeedError(source, f"{host} has no address", "Check the name, and try again later")
        private = next((each for each in addresses if _is_private(each)), None)
        if private is not None and not self.limits.allow_private:
            reason = f"{host} is at the private address {private}"
            raise FeedError(source, reason, "Set allowPrivateAddresses (or --allow-private) if that is meant")
        return addresses[0]

    def _answer(
        self,
        answer: httpx.Response,
        url: httpx.URL,
        kept: Kept | None,
        deadline: float,
    ) -> _Answer | httpx.URL:
        source = shown(str(url))
        if answer.status_code in _HTTP_REDIRECTS and "location" in answer.headers:
            there = _joined(url, answer.headers["location"], source)
            if url.scheme == "https" and there.scheme == "http":
                raise FeedError(source, "redirects from https: to http:", "Give an address that stays encrypted")
            return there
        if answer.status_code == _HTTP_NOT_MODIFIED and kept is not None:
            return _Answer(body=kept.body, source=source, content_type=kept.content_type, not_modified=True)
        if answer.status_code != _HTTP_OK:
            raise FeedError(source, f"answers with HTTP status {answer.status_code}", _AGAIN)
        body = bytearray()
        for chunk in self._decoded(answer, source):
            body += chunk
            if len(body) > self.limits.size:
                raise self._too_large(source)
            if monotonic() > deadline:
                raise self._too_slow(source)
        return _Answer(
            body=bytes(body),
            source=source,
            content_type=answer.headers.get("content-type", "").lower(),
            etag=answer.headers.get("etag", ""),
            last_modified=answer.headers.get("last-modified", ""),
        )

    def _decoded(self, answer: httpx.Response, source: str) -> Iterator[bytes]:
        """The body, decompressed a bounded piece at a time: a small answer may unfold into a huge one."""
        coding = answer.headers.get("content-encoding", "identity").lower()
        if coding in ("identity", ""):
            yield from _pieces(answer)
            return
        if coding not in ("gzip", "x-gzip"):
            raise FeedError(source, f"is encoded as {coding}, which was not asked for", _AGAIN)
        unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            for chunk in _pieces(answer):
                left = chunk
                while left:
                    yield unzip.decompress(left, _CHUNK)
                    left = unzip.unconsumed_tail
            yield unzip.flush()
        except zlib.error as error:
            raise BadFeedError(source, "is not the gzip that it says", _AGAIN, code="wrong-type") from error
        if not unzip.eof:
            raise BadFeedError(source, "ends in the middle", _AGAIN, code="truncated")

    def _keep(self, url: str, answer: _Answer) -> None:
        if self.cache is None or answer.not_modified:
            return
        self.cache.put(
            url,
            Kept(
                body=answer.body,
                content_type=answer.content_type,
                etag=answer.etag,
                last_modified=answer.last_modified,
            ),
        )

    def _too_slow(self, source: str) -> FeedError:
        return FeedError(source, f"took longer than {self.limits.seconds:g} seconds", _AGAIN)

    def _too_large(self, source: str) -> BadFeedError:
        reason = f"is larger than {self.limits.size / 1024 / 1024:g} MB"
        return BadFeedError(
            source,
            reason,
            "A calendar of holidays is far smaller: check the address",
            code="wrong-type",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer(Fetched):
    etag: str = ""
    last_modified: str = ""


def _pieces(answer: httpx.Response) -> Iterator[bytes]:
    """The body as it comes in, neither decoded nor collected: a slow sender is noticed at each piece."""
    yield from cast("Iterable[bytes]", answer.stream)


def _joined(url: httpx.URL, location: str, source: str) -> httpx.URL:
    import httpx  # noqa: PLC0415  (see above)

    try:
        there = url.join(location)
    except httpx.InvalidURL as error:
        raise FeedError(source, "redirects to what is no URL", "Give the final address") from error
    if there.port is not None and there.port > _LAST_PORT:
        raise FeedError(source, "redirects to what is no URL", "Give the final address")
    return there


def _is_private(address: str) -> bool:
    """Whether an address is anything but a public one, IPv4 inside IPv6 included."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return not inner.is_global or inner.is_multicast
    return not found.is_global or found.is_multicast


def shown(url: str) -> str:
    """A URL without what may be secret: no user, no password, no query, and no part of the path named private."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        host += f":{parts.port}"
    path = "/".join("(hidden)" if piece.startswith("private-") else piece for piece in parts.path.split("/"))
    return urlunsplit((parts.scheme, host, path, "", ""))
