"""What doctor asks of the API server.

Probes only: each gathers, and hands what it found to ``judge_cluster``. Must not: decide, or write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from peaktime.core.profiles import Profiles
from peaktime.core.runs import API_VERSION, Manifest
from peaktime.errors import BrokerError, ClusterError
from processors.doctor import judge_cluster as judge
from processors.doctor.api import NOT_FOUND, OK, UNAUTHORIZED, Api
from processors.doctor.checks import in_thread
from processors.doctor.lines import Line, ok, warning, wrong
from processors.doctor.unexplained import objects_lines


class ClusterProbes:
    """The checks of one cluster.

    Args:
        api: the connection.
        namespaces: where our objects are.
        profiles: the configuration in force; None if it cannot be read.
        default: namespace of what states none.
    """

    def __init__(self, api: Api, namespaces: Sequence[str], profiles: Profiles | None, default: str) -> None:
        self._api = api
        self._namespaces = namespaces
        self._profiles = profiles
        self._default = default

    async def server(self) -> list[Line]:
        """Reachable, and its clock."""
        address = await self._api.connect()
        answer = await self._api.call("GET", "/version")
        about = f"API server {address}"
        if answer.status == UNAUTHORIZED:
            return [
                wrong(about, "it does not know this identity (401)", "Renew the credentials of PEAKTIME_KUBECONFIG")
            ]
        if answer.status != OK:
            remedy = "See that this is the address of an API server, and that it is ready"
            return [wrong(about, f"answers {answer.message}", remedy)]
        said = ok(about, f"Kubernetes {answer.body.get('gitVersion', '')}, as {await self._api.who()}")
        return [said, judge.clock_line("the API server", answer.asked, answer.date)]

    async def kinds(self) -> list[Line]:
        """Argo's kinds."""
        return judge.kinds_lines(API_VERSION, await self._api.served())

    async def rights(self) -> list[Line]:
        """What this identity may do in each namespace."""
        who = await self._api.who()
        return list(await asyncio.gather(*(self._rights_in(who, namespace) for namespace in self._namespaces)))

    async def _rights_in(self, who: str, namespace: str) -> Line:
        asked = [(verb, resource) for resource, verbs in judge.RIGHTS.items() for verb in verbs]
        may = await asyncio.gather(*(self._api.may(namespace, verb, resource) for verb, resource in asked))
        answer = await self._api.call("GET", f"/api/v1/namespaces/{quote(namespace, safe='')}")
        there = {OK: True, NOT_FOUND: False}.get(answer.status)
        denied = [right for right, allowed in zip(asked, may, strict=True) if not allowed]
        return judge.rights_line(who, namespace, denied, there=there)

    async def templates(self) -> list[Line]:
        """The WorkflowTemplates that profiles name."""
        if self._profiles is None:
            return [_without_profiles("WorkflowTemplates")]
        if "workflowtemplates" not in await self._api.served():
            reason = "not checked: their kind is not served"
            return [warning("WorkflowTemplates", reason, "Mend that, then run this again")]
        wanted = judge.templates_of(self._profiles, self._default)
        places = sorted({(key.namespace, key.workflow_template) for key in wanted})
        held = await asyncio.gather(*(self._template(*place) for place in places))
        return judge.templates_lines(wanted, dict(zip(places, held, strict=True)))

    async def _template(self, namespace: str, name: str) -> frozenset[str] | str | None:
        path = f"/apis/{API_VERSION}/namespaces/{quote(namespace, safe='')}/workflowtemplates/{quote(name, safe='')}"
        answer = await self._api.call("GET", path)
        if answer.status == NOT_FOUND:
            return None
        if answer.status != OK:
            return answer.message
        templates = (answer.body.get("spec") or {}).get("templates") or []
        return frozenset(str(one.get("name", "")) for one in templates)

    async def accounts(self) -> list[Line]:
        """The service accounts that profiles name."""
        if self._profiles is None:
            return [_without_profiles("service accounts")]
        wanted = judge.accounts_of(self._profiles, self._default)
        statuses = await asyncio.gather(*(self._account(*place) for place in wanted))
        return judge.accounts_lines(wanted, dict(zip(wanted, statuses, strict=True)))

    async def _account(self, namespace: str, name: str) -> int:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/serviceaccounts/{quote(name, safe='')}"
        return (await self._api.call("GET", path)).status

    async def objects(self, read_entries: Callable[[], set[str]]) -> list[Line]:
        """Our CronWorkflows against the log; what keeps it from looking is another check's to tell."""
        try:
            crons = await every_cron_workflow(self._api, self._namespaces)
            return objects_lines(crons, await in_thread(read_entries))
        except (BrokerError, ClusterError) as error:
            said = f"not checked: {error.thing}: {error.reason}"
            return [warning("CronWorkflows", said, "Mend that, then run this again")]


async def every_cron_workflow(api: Api, namespaces: Sequence[str]) -> list[Manifest]:
    """All CronWorkflows with our label. Raises ClusterError."""
    found = await asyncio.gather(*(api.cron_workflows(namespace) for namespace in namespaces))
    return sorted((one for many in found for one in many), key=_place)


def _place(obj: Manifest) -> tuple[str, str]:
    metadata: Mapping[str, str] = obj["metadata"]
    return metadata["namespace"], metadata["name"]


def _without_profiles(about: str) -> Line:
    return warning(about, "not checked, because of the profiles", "Mend the file, then run this again")
