"""A Kubernetes API server, as it is in a cluster but without nodes: etcd, kube-apiserver and two controllers.

The controllers are the garbage collector, without which a deletion with `propagationPolicy=Orphan` never ends, and the
one that empties namespaces. Nothing runs pods, and Argo itself is not there: only its kinds are.
"""

import base64
import gzip
import json
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml
from kubernetes import client, config
from support.engines import build
from support.engines.errors import EngineError, EngineNotOursError, EngineUnavailableError
from support.engines.process import Process, free_port, wait_until

ENVIRONMENT = "PEAKTIME_TEST_KUBECONFIG"
ARGO_CRDS_ENVIRONMENT = "PEAKTIME_ARGO_CRDS"

ADMIN = "admin"
# Users without any rights until a test binds them to a role: the name is their RBAC subject.
PLAIN_USERS = ("peaktime", "nobody")

Manifest = Mapping[str, Any]

_OWN_CRDS = build.RECIPES / "crds"
_RECIPES = (build.ETCD, build.APISERVER, build.CONTROLLER_MANAGER)
_CRDS_URL = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ARGO = "argoproj.io/v1alpha1"
_DEFAULT = f"/apis/{_ARGO}/namespaces/default"
_READY_SECONDS = 90
_APPLY_FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount")


def which() -> str:
    """How an API server would be had, and which kinds of Argo it would know."""
    if os.environ.get(ENVIRONMENT):
        return f"environment: {os.environ[ENVIRONMENT]}"
    crds = os.environ.get(ARGO_CRDS_ENVIRONMENT)
    built = "" if all(recipe.is_built for recipe in _RECIPES) else " (to be built)"
    return (
        f"native: {build.KUBERNETES_VERSION}{built}, {f'Argo CRDs of {crds}' if crds else 'small Argo CRDs of our own'}"
    )


def start_kubernetes(say: Callable[[str], None] = build.say_on_stderr) -> "Kubernetes":
    """An API server that answers: the one of the kubeconfig in the environment, else a native one of our own."""
    given = os.environ.get(ENVIRONMENT)
    return AddressedKubernetes(Path(given)) if given else NativeKubernetes(say)


def http_client(kubeconfig: Path) -> httpx.Client:
    """A plain HTTP client with the address and identity of a kubeconfig. The caller closes it."""
    settings = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=settings)
    tls = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if settings.cert_file:
        tls.load_cert_chain(settings.cert_file, settings.key_file)
    token = settings.get_api_key_with_prefix("authorization") or settings.get_api_key_with_prefix("BearerToken")
    return httpx.Client(
        base_url=settings.host,
        verify=tls,
        timeout=30,
        headers={"Authorization": token} if token else None,
    )


class Kubernetes:
    """An API server with Argo's kinds.

    Attributes:
        url: Its address.
        ca_file: The certificate to trust.
        source: How it was had, for the summary of a test session.

    Args:
        folder: Where kubeconfig files are written.
        admin: A kubeconfig that may do everything.
        source: See above.
    """

    def __init__(self, folder: Path, admin: Path, source: str) -> None:
        self.source = source
        self._folder = folder
        self._admin_kubeconfig = admin
        self._http = http_client(admin)
        self._definitions: set[str] = set()
        settings = client.Configuration()
        config.load_kube_config(str(admin), client_configuration=settings)
        self.url = str(settings.host)
        self.ca_file = Path(settings.ssl_ca_cert)

    def stop(self) -> None:
        """Let go of it, for good."""
        self._http.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill_apiserver(self) -> None:
        """Make the API server crash; etcd keeps what it had."""
        raise self._not_ours()

    def restart_apiserver(self) -> None:
        """End the API server in an orderly way, if it runs, and start it again at the same address."""
        raise self._not_ours()

    def pause_apiserver(self) -> None:
        """Freeze the API server: connections stay open and nothing answers."""
        raise self._not_ours()

    def resume_apiserver(self) -> None:
        """Let it go on after `pause_apiserver`."""
        raise self._not_ours()

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """The kubeconfig of the admin, or of one of `PLAIN_USERS` where the API server is our own."""
        if user == ADMIN:
            return self._admin_kubeconfig
        raise EngineNotOursError(
            f"the cluster of {ENVIRONMENT} has no user {user!r} of ours. Next: use service_account_kubeconfig().",
        )

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig with the identity of a service account, which must exist, for an hour: how rights are tested."""
        answer = self.call(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}},
        )
        path = self._folder / f"{namespace}-{name}-{uuid.uuid4().hex[:8]}.kubeconfig"
        return _write_kubeconfig(path, self.url, self.ca_file, name, answer["status"]["token"], namespace)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        **query: str,
    ) -> dict[str, Any]:
        """Ask the API server something as the admin.

        Args:
            method: The HTTP method.
            path: For example `/api/v1/namespaces`.
            body: Bytes are sent as they are, anything else as JSON.
            content_type: Of the body.
            **query: For example `propagationPolicy="Orphan"`.

        Raises:
            httpx.HTTPStatusError: If it refuses.
        """
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        answer = self._http.request(method, path, params=query, content=content, headers={"Content-Type": content_type})
        if answer.is_error:
            raise httpx.HTTPStatusError(
                f"{method} {path}: {answer.status_code} {answer.text}",
                request=answer.request,
                response=answer,
            )
        return dict(answer.json())

    def exists(self, path: str) -> bool:
        """Whether there is an object at `path`."""
        answer = self._http.get(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return False
        answer.raise_for_status()
        return True

    def apply_manifests(self, *sources: Path | Manifest, namespace: str | None = None) -> None:
        """Server-side apply manifests as the admin: files, folders of `*.yaml` or the objects themselves.

        Namespaces and definitions go first, and a definition is waited for. Objects that name no namespace get
        `namespace`, or `default`.
        """
        for manifest in sorted(_manifests(sources), key=_rank):
            path = self._path_of(manifest, namespace or "default")
            self.call(
                *("PATCH", path, manifest),
                content_type="application/apply-patch+yaml",
                fieldManager="tests",
                force="true",
            )
            if manifest["kind"] == "CustomResourceDefinition":
                self._definitions.add(manifest["metadata"]["name"])
                self._await_definitions()

    @contextmanager
    def new_namespace(self, prefix: str = "test") -> Iterator[str]:
        """A namespace of its own; afterwards it is deleted with all that is in it, which is not waited for."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        try:
            yield name
        finally:
            self.call("DELETE", f"/api/v1/namespaces/{name}")

    def _create_argo_definitions(self) -> None:
        """Define Argo's kinds unless they are there: the real ones where the environment names them, else our own."""
        given = os.environ.get(ARGO_CRDS_ENVIRONMENT)
        folder = Path(given) if given else _OWN_CRDS
        files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yaml.gz")])
        if not files:
            raise EngineError(
                f"{ARGO_CRDS_ENVIRONMENT}={given} has no *.yaml or *.yaml.gz. Next: correct it, or unset it to use small ones.",
            )
        # Created and not applied: the real ones are too large for the bookkeeping of an apply.
        for file in files:
            text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            answer = self._http.post(_CRDS_URL, content=text, headers={"Content-Type": "application/yaml"})
            if answer.status_code == httpx.codes.CONFLICT:
                continue
            if answer.is_error:
                raise EngineError(f"kube-apiserver refused {file.name}: {answer.status_code} {answer.text}")
            self._definitions.add(answer.json()["metadata"]["name"])
        self._await_definitions()

    def _await_definitions(self) -> None:
        """Wait until objects of each kind defined here can be listed, in each version of it."""

        def served(name: str) -> bool:
            definition = self.call("GET", f"{_CRDS_URL}/{name}")
            # A definition that its controller has not seen yet has "conditions": null.
            stated = definition.get("status", {}).get("conditions") or []
            conditions = {one["type"]: one["status"] for one in stated}
            spec = definition["spec"]
            group, plural = spec["group"], spec["names"]["plural"]
            # 404 before it is served, and 429 while the API server still reads what there is of it.
            return conditions.get("Established") == "True" and all(
                self._http.get(f"/apis/{group}/{version['name']}/{plural}?limit=1").is_success
                for version in spec["versions"]
                if version["served"]
            )

        for name in sorted(self._definitions):
            wait_until(f"{name} is served", partial(served, name), seconds=_READY_SECONDS)

    def _path_of(self, manifest: Manifest, namespace: str) -> str:
        version, kind = manifest["apiVersion"], manifest["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        kinds = {one["kind"]: one for one in self.call("GET", root)["resources"] if "/" not in one["name"]}
        if kind not in kinds:
            raise EngineError(f"the API server knows no {kind} in {version}. Next: apply its definition first.")
        name, metadata = kinds[kind]["name"], manifest["metadata"]
        scope = f"/namespaces/{metadata.get('namespace', namespace)}" if kinds[kind]["namespaced"] else ""
        return f"{root}{scope}/{name}/{metadata['name']}"

    def _not_ours(self) -> EngineNotOursError:
        return EngineNotOursError(
            f"the API server at {self.url} came from {ENVIRONMENT}. Next: unset it for this test.",
        )


class AddressedKubernetes(Kubernetes):
    """A cluster somebody else runs."""

    def __init__(self, kubeconfig: Path) -> None:
        folder = Path(tempfile.mkdtemp(prefix="peaktime-kubernetes-"))
        super().__init__(folder, kubeconfig, "Kubernetes, environment")
        try:
            version = self.call("GET", "/version")["gitVersion"]
        except httpx.TransportError as error:
            self.stop()
            raise EngineError(f"kubernetes: {ENVIRONMENT}={kubeconfig}: {self.url} does not answer: {error}") from error
        self.source = f"Kubernetes {version}, environment"
        self._create_argo_definitions()


class NativeKubernetes(Kubernetes):
    """An API server of our own: native processes on loopback, with etcd on a data folder of its own.

    Attributes:
        apiserver: The API server's process, for those who measure it.
    """

    def __init__(self, say: Callable[[str], None] = build.say_on_stderr) -> None:
        etcd, apiserver, controllers = (build.build(recipe, say) for recipe in _RECIPES)
        folder = Path(tempfile.mkdtemp(prefix="peaktime-kubernetes-"))
        port = free_port()
        self._tokens = {user: secrets.token_urlsafe(24) for user in (ADMIN, *PLAIN_USERS)}
        self._processes: list[Process] = []
        try:
            storage, storage_url = _etcd(etcd, folder)
            self.apiserver = _apiserver(apiserver, folder, storage_url, port, self._tokens)
            for process in (storage, self.apiserver):
                process.start()
                self._processes.append(process)
            # The API server makes its own certificate, which is its own authority, when it starts.
            ca_file = folder / "certificates" / "apiserver.crt"
            wait_until(
                "kube-apiserver has made its certificate",
                lambda: ca_file.exists() and ca_file.with_suffix(".key").exists(),
                seconds=_READY_SECONDS,
                processes=self._processes,
            )
            url = f"https://127.0.0.1:{port}"
            admin = _write_kubeconfig(folder / "admin.kubeconfig", url, ca_file, ADMIN, self._tokens[ADMIN])
            super().__init__(folder, admin, f"Kubernetes {build.KUBERNETES_VERSION}, native")
            self._await_ready()
            # Before the controllers start: they look for new kinds only every half minute.
            self._create_argo_definitions()
            controller_manager = _controller_manager(controllers, folder, admin)
            controller_manager.start()
            self._processes.append(controller_manager)
            self._await_garbage_collector()
        except BaseException:
            self._kill_processes()
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def stop(self) -> None:
        self._kill_processes()
        super().stop()

    def kill_apiserver(self) -> None:
        self.apiserver.kill()

    def restart_apiserver(self) -> None:
        self.apiserver.stop()
        self.apiserver.start()
        self._await_ready()
        self._await_definitions()

    def pause_apiserver(self) -> None:
        self.apiserver.pause()

    def resume_apiserver(self) -> None:
        self.apiserver.resume()

    def kubeconfig(self, user: str = ADMIN) -> Path:
        if user == ADMIN:
            return self._admin_kubeconfig
        return _write_kubeconfig(self._folder / f"{user}.kubeconfig", self.url, self.ca_file, user, self._tokens[user])

    def _await_ready(self) -> None:
        def ready() -> bool:
            try:
                return self._http.get("/readyz").is_success
            except httpx.TransportError:
                return False

        wait_until("kube-apiserver is ready", ready, seconds=_READY_SECONDS, processes=self._processes)

    def _await_garbage_collector(self) -> None:
        """Wait until the garbage collector knows Argo's kinds: until a Workflow outlives its CronWorkflow, orphaned."""
        wait_until(
            "kube-controller-manager orphans a Workflow",
            self._orphans_a_workflow,
            seconds=_READY_SECONDS,
            processes=self._processes,
        )

    def _orphans_a_workflow(self) -> bool:
        name = f"probe-{uuid.uuid4().hex[:8]}"
        spec = {"schedules": ["0 0 1 1 *"], "suspend": True, "workflowSpec": {}}
        owner = self.call("POST", f"{_DEFAULT}/cronworkflows", _argo("CronWorkflow", {"name": name}, spec))
        reference = {"apiVersion": _ARGO, "kind": "CronWorkflow", "name": name, "uid": owner["metadata"]["uid"]}
        child = _argo("Workflow", {"name": name, "ownerReferences": [reference]}, {})
        self.call("POST", f"{_DEFAULT}/workflows", child)
        self.call("DELETE", f"{_DEFAULT}/cronworkflows/{name}", propagationPolicy="Orphan")
        wait_until(
            "an orphaning deletion ends",
            lambda: not self.exists(f"{_DEFAULT}/cronworkflows/{name}"),
            seconds=_READY_SECONDS,
            processes=self._processes,
        )
        kept = self.call("GET", f"{_DEFAULT}/workflows/{name}")
        self.call("DELETE", f"{_DEFAULT}/workflows/{name}")
        return "ownerReferences" not in kept["metadata"]

    def _kill_processes(self) -> None:
        for process in reversed(self._processes):  # etcd last, or the others complain
            process.kill()


def _etcd(binary: Path, folder: Path) -> tuple[Process, str]:
    clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    command = [
        binary,
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",  # nobody needs this data after a power cut
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--log-level=warn",
    ]
    return Process("etcd", command, folder), clients


def _apiserver(binary: Path, folder: Path, etcd: str, port: int, tokens: Mapping[str, str]) -> Process:
    users = folder / "tokens.csv"
    users.write_text(
        "".join(
            f"{token},{user},{user}" + (',"system:masters"\n' if user == ADMIN else "\n")
            for user, token in tokens.items()
        ),
    )
    key = _signing_key(folder / "service-account.key")
    command = [
        binary,
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        "--endpoint-reconciler-type=none",  # nothing in this cluster looks for the API server by its service
        "--service-cluster-ip-range=10.96.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={users}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged=true",
        "--profiling=false",
    ]
    return Process("kube-apiserver", command, folder)


def _controller_manager(binary: Path, folder: Path, kubeconfig: Path) -> Process:
    command = [
        binary,
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--controllers=garbage-collector-controller,namespace-controller",
    ]
    return Process("kube-controller-manager", command, folder)


def _signing_key(path: Path) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise EngineUnavailableError(
            "kube-apiserver cannot run: no `openssl` on the PATH to make its signing key with. "
            "Next: install it (Debian: apt-get install openssl).",
        )
    subprocess.run([openssl, "genrsa", "-out", path, "2048"], check=True, capture_output=True, timeout=30)
    return path


def _write_kubeconfig(path: Path, url: str, ca_file: Path, user: str, token: str, namespace: str = "default") -> Path:
    authority = base64.b64encode(ca_file.read_bytes()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": namespace}}],
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": {"token": token}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2))  # JSON is YAML
    return path


def _argo(kind: str, metadata: Manifest, spec: Manifest) -> Manifest:
    return {"apiVersion": _ARGO, "kind": kind, "metadata": metadata, "spec": spec}


def _manifests(sources: Iterable[Path | Manifest]) -> Iterator[Manifest]:
    for source in sources:
        if not isinstance(source, Path):
            yield source
            continue
        for file in sorted(source.glob("*.yaml")) if source.is_dir() else [source]:
            yield from (one for one in yaml.safe_load_all(file.read_text()) if one and one["kind"] != "Kustomization")


def _rank(manifest: Manifest) -> int:
    kind = manifest["kind"]
    return _APPLY_FIRST.index(kind) if kind in _APPLY_FIRST else len(_APPLY_FIRST)
