"""What is deployed: image, compose file, manifests and chart say the same, and nothing that is not so."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from support import generated
from support.engines import build

from peaktime.calendars import load_calendars
from peaktime.cli import COMMANDS
from peaktime.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
CHART = ROOT / "helm" / "peaktime"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if name != "kafka"}
KINDS_WITH_PODS = {"Deployment", "Job", "CronJob"}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
VARIABLES = {ENV_PREFIX + name.upper() for name in Settings.model_fields}


def objects(*names):
    files = [K8S / name for name in names] if names else sorted(K8S.glob("*.yaml"))
    return [one for file in files for one in yaml.safe_load_all(file.read_text("utf-8"))]


def pod_spec(one):
    spec = one["spec"]
    if one["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec["template"]["spec"]


WORKLOADS = {one["metadata"]["name"]: one for one in objects() if one["kind"] in KINDS_WITH_PODS}
TEMPLATES = sorted([*(CHART / "templates").iterdir(), CHART / "values.yaml"])


@pytest.mark.parametrize("name", generated.FILES)
def test_generated_files_are_not_stale(name):
    text = (ROOT / name).read_text("utf-8")
    assert generated.FILES[name](text) == text, "run `PYTHONPATH=tests python -m support.generated`"


def test_the_command_prints_the_topics_of_k8s():
    done = subprocess.run(
        [sys.executable, "-m", "peaktime", "topics", "manifests"],
        check=True, capture_output=True, text=True, env={"PATH": ""}, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout == (K8S / "topics.yaml").read_text("utf-8")


class TestVersions:
    def test_the_chart_is_the_package(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
        assert chart["appVersion"] == VERSION

    def test_images_are_pinned(self):
        images = [pod_spec(one)["containers"][0]["image"] for one in WORKLOADS.values()]
        images += [re.sub(r"\$\{\w+:-(.*)\}", r"\1", one["image"]) for one in COMPOSE["services"].values()]
        arguments = re.findall(r"^ARG \w+=(.*)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
        for image in [*images, *arguments]:
            name, _, tag = image.partition(":")
            assert re.match(r"\d+\.\d+\.\d+", tag), image
            assert "." not in name.split("/")[0], f"{image} names a registry"
            assert name != "peaktime" or tag == VERSION
        [renamed] = yaml.safe_load((K8S / "kustomization.yaml").read_text("utf-8"))["images"]
        assert renamed == {"name": "peaktime", "newTag": VERSION}

    def test_kafka_is_the_one_that_is_tested(self):
        assert COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{build.KAFKA_VERSION}"


class TestCompose:
    def test_services_run_commands_that_there_are(self):
        commands = {service["command"][0] for service in OURS.values() if "command" in service}
        assert commands == {"topics", "worker", "gateway", "slack-sink", "stand-in"}
        assert commands <= COMMANDS.keys()
        [script] = re.findall(r"peaktime (\S+) --calendar", COMPOSE["services"]["importer"]["entrypoint"][2])
        assert script in COMMANDS

    def test_variables_are_settings(self):
        names = {name for service in OURS.values() for name in service.get("environment", ())}
        assert names - {"CALENDAR"} <= VARIABLES  # which is its script's own

    def test_ports_are_published_on_loopback_only(self):
        published = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
        assert published == ["127.0.0.1:8080:8080"]

    def test_our_services_can_write_only_where_they_must(self):
        for service in OURS.values():
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert service["tmpfs"] == ["/tmp"]

    def test_the_stand_in_is_asked_for(self):
        assert {name for name, one in OURS.items() if one.get("profiles")} == {"stand-in"}

    def test_everything_waits_for_the_topics(self):
        for name in ("worker", "gateway", "slack-sink", "importer"):
            assert OURS[name]["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}


class TestManifests:
    def test_the_kustomization_has_every_file_but_strimzis(self):
        kustomization = yaml.safe_load((K8S / "kustomization.yaml").read_text("utf-8"))
        there = {file.name for file in K8S.glob("*.yaml")} - {"kustomization.yaml", "topics.yaml"}
        assert set(kustomization["resources"]) == there

    def test_every_role_is_there(self):
        assert {name: pod_spec(one)["containers"][0]["args"] for name, one in WORKLOADS.items()} == {
            "peaktime-worker": ["worker"],
            "peaktime-gateway": ["gateway"],
            "peaktime-slack-sink": ["slack-sink"],
            "peaktime-importer-kr": ["import-calendar", "--calendar", "kr"],
            "peaktime-topics": ["topics", "ensure"],
        }
        assert "import-calendar" in COMMANDS

    @pytest.mark.parametrize("one", WORKLOADS.values(), ids=WORKLOADS)
    def test_pods_are_locked_down(self, one):
        pod = pod_spec(one)
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is (one["metadata"]["name"] == "peaktime-worker")
        # Else the Service called peaktime-gateway sets PEAKTIME_GATEWAY_PORT to a URL.
        assert pod["enableServiceLinks"] is False
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"name": "scratch", "mountPath": container["workingDir"]} in container["volumeMounts"]
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}

    def test_what_pods_refer_to_is_there(self):
        accounts = {one["metadata"]["name"] for one in objects("rbac.yaml") if one["kind"] == "ServiceAccount"}
        maps = {one["metadata"]["name"] for one in objects("config.yaml")}
        used_accounts, used_maps = set(), set()
        for one in WORKLOADS.values():
            pod = pod_spec(one)
            used_accounts.add(pod.get("serviceAccountName", "peaktime-worker"))
            used_maps |= {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
            sources = pod["containers"][0]["envFrom"]
            used_maps |= {source["configMapRef"]["name"] for source in sources if "configMapRef" in source}
            assert all(source["secretRef"]["optional"] for source in sources if "secretRef" in source)
        assert (used_accounts, used_maps) == (accounts, maps)

    def test_each_role_may_log_in_to_kafka_as_itself(self):
        roles = {}
        for name, one in WORKLOADS.items():
            sources = [
                source["secretRef"]["name"]
                for source in pod_spec(one)["containers"][0]["envFrom"]
                if "secretRef" in source
            ]
            # Of two that set the same variable, the later one wins.
            assert sources[0] == "peaktime-kafka", name
            roles[name] = sources[1].removeprefix("peaktime-kafka-")
        assert sorted(roles.values()) == ["gateway", "importer", "sink", "topics", "worker"]
        head = (K8S / "config.yaml").read_text("utf-8").split("apiVersion")[0]
        documented = head.split("peaktime-kafka-<role>")[1].splitlines()[0]
        assert all(role in documented for role in roles.values())

    def test_settings_are_settings(self, monkeypatch):
        data = objects("config.yaml")[0]["data"]
        assert data.keys() <= VARIABLES
        for name, value in data.items():
            monkeypatch.setenv(name, value)
        settings = Settings.load()
        ports = {
            port["name"]: port["containerPort"]
            for one in WORKLOADS.values()
            for port in pod_spec(one)["containers"][0].get("ports", ())
        }
        assert ports == {"http": settings.gateway_port, "metrics": settings.metrics_port}
        mounts = {
            mount["mountPath"] for one in WORKLOADS.values() for mount in pod_spec(one)["containers"][0]["volumeMounts"]
        }
        assert {str(settings.profiles.parent), str(settings.calendars.parent)} <= mounts

    def test_the_importer_does_no_harm_when_it_is_late(self):
        spec = WORKLOADS["peaktime-importer-kr"]["spec"]
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["startingDeadlineSeconds"]
        job = spec["jobTemplate"]["spec"]
        assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (0, "Never")
        # Over well before the next one is due.
        assert 60 <= job["activeDeadlineSeconds"] <= 1800
        chart = (CHART / "templates" / "importer.yaml").read_text("utf-8")
        for line in (
            "concurrencyPolicy: Forbid",
            "backoffLimit: 0",
            f"activeDeadlineSeconds: {job['activeDeadlineSeconds']}",
        ):
            assert line in chart
        assert "kr" in {calendar.id for calendar in load_calendars(None).calendars}

    def test_the_sample_profiles_steps_are_there(self):
        text = (ROOT / "peaktime" / "samples" / "profiles.yaml").read_text("utf-8")
        named = set(re.findall(r"workflowTemplate: ([\w-]+), template: scale", text))
        templates = {one["metadata"]["name"]: one["spec"] for one in objects("workflowtemplates.yaml")}
        assert templates.keys() == named
        for spec in templates.values():
            assert [(one["name"], *one.keys()) for one in spec["templates"]] == [("scale", "name", "suspend")]
        chart = (CHART / "templates" / "workflowtemplates.yaml").read_text("utf-8")
        assert set(re.findall(r'"(dd-[\w-]+)"', chart)) == named

    def test_no_argo_expression(self):
        for file in K8S.glob("*.yaml"):
            assert "{{" not in file.read_text("utf-8"), file.name


class TestChart:
    @pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
    def test_every_expression_is_helms(self, file):
        # Argo's would have to be quoted against Helm: {{`…`}}.
        text = file.read_text("utf-8")
        for expression in re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL):
            assert not re.match(r"\s*[=`'\"]", expression), expression
            assert not re.match(r"-?\s*(workflow|inputs|outputs|steps|tasks|item|cronworkflow|pod)\b", expression)

    def test_the_worker_has_the_same_rights(self):
        helpers = (CHART / "templates" / "_helpers.tpl").read_text("utf-8")
        [rules] = re.findall(r'define "peaktime.rules" -\}\}\n(.*?)\{\{- end', helpers, re.DOTALL)
        [role] = [one for one in objects("rbac.yaml") if one["kind"] == "Role"]
        assert yaml.safe_load(rules) == role["rules"]

    def test_the_roles_get_only_what_is_meant(self):
        [role] = [one for one in objects("rbac.yaml") if one["kind"] == "Role"]
        assert {(name, *rule["verbs"]) for rule in role["rules"] for name in rule["resources"]} == {
            ("cronworkflows", "get", "list", "watch", "create", "patch", "delete"),
            ("cronworkflows/finalizers", "update"),
            ("workflows", "get", "list", "watch", "create"),
            ("workflowtemplates", "get", "list", "watch"),
        }
        assert {tuple(rule["apiGroups"]) for rule in role["rules"]} == {("argoproj.io",)}

    def test_variables_are_settings(self):
        text = "".join(file.read_text("utf-8") for file in (CHART / "templates").iterdir())
        assert set(re.findall(r"name: (PEAKTIME_\w+)", text)) <= VARIABLES

    def test_the_schema_knows_every_value(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
        schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))

        def compare(value, part, where):
            known = part.get("properties")
            if known is None:
                return
            assert set(value) == set(known) - {"global"}, where
            for name, inner in value.items():
                if isinstance(inner, dict):
                    compare(inner, known[name], f"{where}.{name}")

        compare(values, schema, "values")


def test_the_image_holds_what_the_wheel_is_made_from():
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {*packages, "pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    assert {f"!{name}" for name in needed} <= set(ignored)
