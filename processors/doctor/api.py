"""Single questions to the Kubernetes API, and the one deletion of ``prune``.

A thin adapter: an answer is given as it came, 403 and 404 too. Must not: judge, retry, or watch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from peaktime.core.runs import API_VERSION, CRON_WORKFLOW, MANAGED_BY, OURS, Manifest
from peaktime.errors import ClusterError
from processors.doctor.unexplained import Removal
from processors.reconcile.api import connected

OK, CREATED, UNAUTHORIZED, NOT_FOUND, CONFLICT = 200, 201, 401, 404, 409
_THING = "API server"
_PAGE = "500"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server said.

    Attributes:
        status: of HTTP.
        body: the JSON document; empty if there was none.
        date: its own time (UTC), cut to a second; None if it said none.
        asked: this machine's time in the middle of the call (UTC).
    """

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    date: datetime | None = None
    asked: datetime

    @property
    def message(self) -> str:
        """Why it refused, in its own words."""
        return f"{self.status} {self.body.get('message', '')}".strip()


class Api:
    """A connection to an API server. Use it as a context manager.

    Args:
        kubeconfig: file with the connection; None for the pod's own, else the default file.
        patience: seconds that one call may take.
    """

    def __init__(self, kubeconfig: Path | None, patience: float) -> None:
        self._kubeconfig = kubeconfig
        self._patience = patience
        self._client: client.ApiClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def connect(self) -> str:
        """Read the connection; nothing is sent yet. Returns the server's address.

        Raises:
            ClusterError: no connection is configured, or a file that it names cannot be used.
        """
        self._client = await connected(self._kubeconfig)
        return str(self._client.configuration.host)

    async def call(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        query: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """Ask once.

        Raises:
            ClusterError: there was no answer.
        """
        if self._client is None:
            await self.connect()
        if self._client is None:
            raise AssertionError("connect() makes the client, or raises")
        before = datetime.now(UTC)
        try:
            method, url, headers, sent, _ = await self._client.param_serialize(
                method,
                path,
                query_params=list(query),
                header_params={"Content-Type": "application/json", "Accept": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._client.call_api(method, url, headers, sent, _request_timeout=self._patience)
            data, status, said = await response.read(), int(response.status), response.headers
        except ApiException as error:
            data, status, said = str(error.body or "").encode(), int(error.status or 0), error.headers or {}
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = f"does not answer: {str(error) or f'nothing came within {self._patience:g} s'}"
            where = f"{_THING} {self._client.configuration.host}"
            raise ClusterError(where, reason, "See that it is up, and look at PEAKTIME_KUBECONFIG") from error
        return Answer(
            status=status,
            body=_document(data),
            date=_date(said.get("Date")),
            asked=before + (datetime.now(UTC) - before) / 2,
        )

    async def may(self, namespace: str, verb: str, resource: str) -> bool:
        """Whether this identity may do that to one of Argo's kinds.

        Raises:
            ClusterError: there was no answer, or none that says it.
        """
        name, _, sub = resource.partition("/")
        attributes = {
            "namespace": namespace,
            "group": API_VERSION.partition("/")[0],
            "resource": name,
            "subresource": sub,
            "verb": verb,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        if answer.status != CREATED:
            remedy = "Every authenticated identity may ask, unless system:basic-user was taken from it"
            raise ClusterError("rights in Kubernetes", f"cannot be asked for: {answer.message}", remedy)
        return bool(answer.body["status"]["allowed"])

    async def who(self) -> str:
        """The name of this identity, as far as the API server tells."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        return str(answer.body["status"]["userInfo"]["username"]) if answer.status == CREATED else "this identity"

    async def served(self) -> list[str]:
        """The resources of Argo that are served; none if its API is not there.

        Raises:
            ClusterError: there was no answer, or none that says it.
        """
        answer = await self.call("GET", f"/apis/{API_VERSION}")
        if answer.status == NOT_FOUND:
            return []
        if answer.status != OK:
            raise ClusterError("Argo's kinds", f"cannot be asked for: {answer.message}", "Give it system:discovery")
        return [str(one["name"]) for one in answer.body["resources"]]

    async def cron_workflows(self, namespace: str) -> list[Manifest]:
        """All that carry our label.

        Raises:
            ClusterError: there was no answer, or a refusal.
        """
        return await self._list(namespace, "cronworkflows", f"{MANAGED_BY}={OURS}")

    async def runs_of(self, namespace: str, name: str) -> list[Manifest]:
        """The Workflows that a CronWorkflow had. Raises as above."""
        return await self._list(namespace, "workflows", f"{CRON_WORKFLOW}={name}")

    async def cron_workflow(self, namespace: str, name: str) -> Manifest | None:
        """One of that name, whoever made it; None if there is none. Raises as above."""
        answer = await self.call("GET", _path(namespace, "cronworkflows", name))
        if answer.status == NOT_FOUND:
            return None
        if answer.status != OK:
            raise _refused(f"CronWorkflow {namespace}/{name}", answer)
        return answer.body

    async def remove(self, removal: Removal) -> str | None:
        """Delete a CronWorkflow if it is just the one that was shown; its Workflows stay.

        Returns:
            Why it was not deleted; None if it was.

        Raises:
            ClusterError: there was no answer, or a refusal.
        """
        path = _path(removal.namespace, "cronworkflows", removal.name)
        answer = await self.call("DELETE", path, removal.body)
        if answer.status == NOT_FOUND:
            return "is gone already"
        if answer.status == CONFLICT:
            return "has changed since it was shown; look again"
        if answer.status >= 300:  # noqa: PLR2004  (HTTP: not done)
            raise _refused(f"CronWorkflow {removal.namespace}/{removal.name}", answer)
        return None

    async def _list(self, namespace: str, resource: str, selector: str) -> list[Manifest]:
        found: list[Manifest] = []
        token = ""
        while True:
            query = [("labelSelector", selector), ("limit", _PAGE), *([("continue", token)] if token else [])]
            answer = await self.call("GET", _path(namespace, resource), query=query)
            if answer.status != OK:
                raise _refused(f"{resource} in {namespace}", answer)
            found += answer.body["items"]
            token = answer.body["metadata"].get("continue", "")
            if not token:
                return found


def _path(namespace: str, resource: str, name: str = "") -> str:
    path = f"/apis/{API_VERSION}/namespaces/{quote(namespace, safe='')}/{resource}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _refused(thing: str, answer: Answer) -> ClusterError:
    return ClusterError(thing, f"the API server refused: {answer.message}", "`peaktime doctor` says what is missing")


def _document(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC) if text else None
    except ValueError:
        return None
