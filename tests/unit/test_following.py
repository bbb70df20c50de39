"""Following a cluster that is not well: an API server of a few lines that says what a test wants it to say."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from peaktime.errors import ClusterError
from peaktime.metrics import Metrics
from processors.reconcile.api import Api, connected
from processors.reconcile.kubernetes import Kubernetes


def cron(name, at):
    labels = {"app.kubernetes.io/managed-by": "peaktime", "peaktime.io/target": "infra"}
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(at), "labels": labels}}


class Server:
    """Lists its objects, and ends every watch at once."""

    def __init__(self, folder):
        self.kubeconfig, self.objects, self.at, self.token, self.gone = folder / "kubeconfig", [], 5, "one", False
        self.asked = 0

    async def answer(self, request):
        self.asked += 1
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"message": "Unauthorized"}, status=401)
        if "forbidden" in request.path:
            return web.json_response({"message": "not for you"}, status=403)
        if "watch" in request.query:
            status = 410 if self.gone else 200
            return web.json_response({"message": "too old"}, status=status) if self.gone else web.Response(body=b"")
        items = self.objects if "cronworkflows" in request.path else []
        return web.json_response({"metadata": {"resourceVersion": str(self.at)}, "items": items})

    @asynccontextmanager
    async def serving(self):
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self.write(self.token)
        try:
            yield self
        finally:
            await runner.cleanup()

    def write(self, token):
        """The kubeconfig, with a token."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        self.kubeconfig.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
async def server(tmp_path):
    async with Server(tmp_path).serving() as serving:
        yield serving


@asynccontextmanager
async def following(server, *namespaces):
    cluster = Kubernetes(namespaces=namespaces, kubeconfig=server.kubeconfig, metrics=Metrics())
    await cluster.start(lambda _target: None)
    try:
        yield cluster
    finally:
        await cluster.stop()


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  (what it waits for is the world's to do)
            await asyncio.sleep(0.01)


async def test_a_namespace_that_may_not_be_read_leaves_the_others_known(server):
    server.objects = [cron("peaktime-create-infra-a", 3)]
    async with following(server, "ns", "forbidden") as cluster:
        await until(lambda: cluster.knows({"ns"}) and "403" in cluster.trouble)
        assert not cluster.knows({"ns", "forbidden"})
        assert not cluster.synced
        assert set(cluster.observed("infra", []).cron_workflows) == {"peaktime-create-infra-a"}


async def test_a_cluster_that_was_restored_is_seen_as_it_is(server):
    server.objects, server.at, server.gone = [cron("peaktime-create-infra-a", 900)], 1000, True
    async with following(server, "ns") as cluster:
        await until(lambda: cluster.observed("infra", []).cron_workflows)
        server.objects, server.at = [cron("peaktime-create-infra-b", 12)], 20
        await until(lambda: set(cluster.observed("infra", []).cron_workflows) == {"peaktime-create-infra-b"})


async def test_an_object_that_nobody_checked_hides_no_other(server):
    server.objects = [
        {**cron("peaktime-create-infra-a", 3), "status": {"conditions": "?", "active": 7}},
        cron("peaktime-create-infra-b", 4),
    ]
    async with following(server, "ns") as cluster:
        await until(lambda: cluster.synced)
        assert len(cluster.observed("infra", []).cron_workflows) == 2


async def test_a_token_that_was_made_anew_is_read_from_the_kubeconfig(server):
    api = Api(server.kubeconfig)
    await api.open()
    try:
        await api.call("GET", "/x")
        server.token = "two"
        with pytest.raises(ClusterError, match="401"):
            await api.call("GET", "/x")
        server.write("two")
        with pytest.raises(ClusterError, match="401"):
            await api.call("GET", "/x")
        await api.call("GET", "/x")
    finally:
        await api.close()


@pytest.mark.parametrize("content", ["", "hello", "[1]", "a: [", "clusters: 5", "current-context: x"])
async def test_a_file_that_is_no_kubeconfig_is_told_by_its_name(tmp_path, content):
    path = tmp_path / "kubeconfig"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ClusterError, match="kubeconfig"):
        await connected(path)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "other,api.example"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "api.example:6443"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "api.example:443"}, "http://proxy:3128"),
    ],
)
async def test_a_proxy_is_looked_for_in_the_environment_once_and_a_kubeconfigs_own_wins(
    tmp_path, monkeypatch, environment, proxy
):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cluster = {"server": "https://api.example:6443"}
    path = tmp_path / "kubeconfig"
    for own in (None, "http://own:1"):
        clusters = [{"name": "c", "cluster": cluster | ({"proxy-url": own} if own else {})}]
        contexts = [{"name": "x", "context": {"cluster": "c", "user": "u"}}]
        users = [{"name": "u", "user": {"token": "t"}}]
        path.write_text(
            json.dumps({"clusters": clusters, "contexts": contexts, "users": users, "current-context": "x"}),
            encoding="utf-8",
        )
        client = await connected(path)
        try:
            assert client.rest_client.proxy == (own or proxy)
            session = client.rest_client._create_pool_manager()
            assert not session.trust_env
            await session.close()
        finally:
            await client.close()
