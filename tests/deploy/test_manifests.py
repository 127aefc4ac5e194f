"""The manifests as they are applied: what the cluster is asked for keeps the sidecar's promises in a pod."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path
from typing import Any, cast

import kubernetes_validate
import pytest
import typer
import yaml

from sidecar import __version__
from sidecar.cli import app
from sidecar.engine.process import configuration
from tests.support import ROOT, SIDECAR
from tests.support.pod_opa import container as container_of_base

DEPLOY = ROOT / "deploy"
KUSTOMIZE = ROOT / ".tools" / "bin" / "kustomize"
FROM_REGISTRY = "overlays/from-registry"
OVERLAYS = ("overlays/beside-server", "overlays/beside-agent", "overlays/shared", FROM_REGISTRY)
TOPOLOGIES = ("base", *OVERLAYS)
EVERY = (*TOPOLOGIES, "quickstart.yaml")
VERSIONS = ("1.33", "1.37")
"""The first in which sidecar containers are general, and the newest that the schemas know."""

Resource = dict[str, Any]


@functools.cache
def built(name: str) -> tuple[Resource, ...]:
    """Every resource of a kustomization, or of a plain file."""
    if name.endswith(".yaml"):
        text = (DEPLOY / name).read_text()
    else:
        if not KUSTOMIZE.is_file():
            raise RuntimeError("no .tools/bin/kustomize: run `make manifests`")
        text = subprocess.run(
            [KUSTOMIZE, "build", DEPLOY / name], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    return tuple(yaml.safe_load_all(text))


def of_kind(name: str, kind: str) -> list[Resource]:
    return [resource for resource in built(name) if resource["kind"] == kind]


def pod(name: str) -> Resource:
    (deployment,) = of_kind(name, "Deployment")
    found: Resource = deployment["spec"]["template"]["spec"]
    return found


def containers(name: str) -> dict[str, Resource]:
    """Every container of the pod by its name, in the order in which they start."""
    spec = pod(name)
    return {item["name"]: item for item in (*spec.get("initContainers", ()), *spec["containers"])}


def env(container: Resource) -> dict[str, str]:
    return {item["name"]: item.get("value", "(from elsewhere)") for item in container.get("env", ())}


def volumes(container: Resource) -> set[str]:
    return {mount["name"] for mount in container.get("volumeMounts", ())}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EVERY)
def test_what_is_applied_is_valid_for_the_cluster(name: str, version: str) -> None:
    for resource in built(name):
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("name", EVERY)
def test_no_container_has_more_rights_than_it_needs(name: str) -> None:
    for container in containers(name).values():
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] >= 10000
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not context.get("privileged")
        assert {"requests", "limits"} <= container["resources"].keys()
        assert re.search(r":[0-9]", container["image"]), "an image without a version"
        assert not [port for port in container.get("ports", ()) if "hostPort" in port]


@pytest.mark.parametrize("name", EVERY)
def test_the_sidecar_that_is_deployed_is_the_one_of_this_version(name: str) -> None:
    images = [container["image"] for container in containers(name).values()]
    ours = [image for image in images if "/intercept-sidecar" in image]
    assert ours
    assert {image.rpartition(":")[2] for image in ours} == {__version__}


def test_no_file_of_the_deployment_names_another_version_of_ours() -> None:
    files = [path for path in DEPLOY.rglob("*") if path.suffix in {".yaml", ".json", ".md", ""} and path.is_file()]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}
    tag = re.compile(r"intercept[-_]sidecar(?:-okx)?(?::|==|\n +newTag: )([0-9][\w.]*)")
    named = {file: set(tag.findall(text)) for file, text in texts.items()}
    assert {file: versions for file, versions in named.items() if versions} == {
        "deploy/base/kustomization.yaml": {__version__},
        "deploy/quickstart.yaml": {__version__},
    }
    # Whoever releases changes the version in each of them.
    release = (ROOT / "docs" / "release.md").read_text(encoding="utf-8")
    (step,) = re.findall(r"^1\. Write the version into (.*)$", release, re.M)
    assert {file for file, versions in named.items() if versions} <= set(re.findall(r"`([^`]+)`", step))


@pytest.mark.parametrize("name", EVERY)
def test_a_pod_has_nothing_of_the_node_and_no_token_of_the_cluster(name: str) -> None:
    spec = pod(name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & spec.keys()
    for volume in spec["volumes"]:
        assert volume.keys() - {"name"} <= {"emptyDir", "configMap", "secret"}
    for account in of_kind(name, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_app_starts_after_the_sidecar_and_ends_before_it(name: str) -> None:
    found = containers(name)
    assert list(found) == ["token", "opa", "sidecar", "app"]
    assert [item.get("restartPolicy") for item in found.values()] == [None, "Always", "Always", None]
    assert found["sidecar"]["startupProbe"]["exec"]["command"] == ["sidecar", "health"]
    assert found["app"]["lifecycle"]["preStop"]["sleep"]["seconds"] < pod(name)["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_only_the_sidecar_and_opa_share_the_socket_and_the_token(name: str) -> None:
    found = containers(name)
    assert volumes(found["sidecar"]) & volumes(found["opa"]) == {"run"}
    assert not volumes(found["app"]) & (volumes(found["sidecar"]) | volumes(found["opa"]) | volumes(found["token"]))
    users = {item: container["securityContext"]["runAsUser"] for item, container in found.items()}
    assert users["sidecar"] == users["opa"] == users["token"] != users["app"]
    (run,) = [volume for volume in pod(name)["volumes"] if volume["name"] == "run"]
    assert run["emptyDir"]["medium"] == "Memory"
    assert env(found["sidecar"])["SIDECAR_OPA_URL"] == "unix:///run/intercept/opa.sock"
    assert env(found["sidecar"])["SIDECAR_BUNDLE_TOKEN_FILE"] == "/run/intercept/token"


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_secrets_are_the_sidecars_alone(name: str) -> None:
    mounted = {volume["name"]: volume["secret"] for volume in pod(name)["volumes"] if "secret" in volume}
    assert all(secret["defaultMode"] == 0o440 for secret in mounted.values()), "readable for every user of the pod"
    secret = mounted.keys() - {"bundle-public-key"}
    for other in ("token", "opa", "app"):
        container = containers(name)[other]
        assert not volumes(container) & secret
        assert "secretKeyRef" not in str(container)
        assert "envFrom" not in container


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_sidecar_alone_has_what_signs_bundles_and_opa_what_they_are_known_by(name: str) -> None:
    halves = {"bundle-key": "private.pem", "bundle-public-key": "public.pem"}
    for volume, half in halves.items():
        (secret,) = [item["secret"] for item in pod(name)["volumes"] if item["name"] == volume]
        assert secret["items"] == [{"key": half, "path": half}]
        assert secret["defaultMode"] == 0o440
    found = containers(name)
    assert [item for item in found if "bundle-key" in volumes(found[item])] == ["sidecar"]
    assert [item for item in found if "bundle-public-key" in volumes(found[item])] == ["opa"]
    assert env(found["sidecar"])["SIDECAR_BUNDLE_SIGNING_KEY"] == "/etc/bundle-key/private.pem"
    assert pod(name)["securityContext"]["fsGroup"] == found["sidecar"]["securityContext"]["runAsGroup"]


@pytest.mark.parametrize("name", EVERY)
def test_a_variable_stands_after_those_that_it_is_made_of(name: str) -> None:
    for container in containers(name).values():
        known = set[str]()
        for item in container.get("env", ()):
            assert set(re.findall(r"\$\((\w+)\)", item.get("value", ""))) <= known
            known.add(item["name"])


@pytest.mark.parametrize("name", EVERY)
def test_every_setting_is_one_that_the_sidecar_knows(name: str) -> None:
    run = cast("Any", typer.main.get_command(app)).get_command(None, "run")
    known = {variable for option in run.params for variable in _as_list(getattr(option, "envvar", None))}
    given = {variable for variable in env(containers(name)["sidecar"]) if variable.startswith("SIDECAR_")}
    assert given
    assert given <= known


def _as_list(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


@pytest.mark.parametrize("name", EVERY)
def test_probes_ask_the_sidecar_itself(name: str) -> None:
    sidecar = containers(name)["sidecar"]
    assert sidecar["readinessProbe"]["exec"]["command"] == ["sidecar", "health"]
    port = env(sidecar)["SIDECAR_TELEMETRY"].rpartition(":")[2]
    # Not ready is no reason to be started again: that would not bring the engine back.
    assert sidecar["livenessProbe"]["exec"]["command"][-1] == f"http://127.0.0.1:{port}/healthz"
    assert sidecar["readinessProbe"]["timeoutSeconds"] > 3


@pytest.mark.parametrize("name", ["overlays/beside-server", "overlays/shared", FROM_REGISTRY])
def test_beside_the_server_the_only_way_to_it_is_through_the_sidecar(name: str) -> None:
    found = containers(name)
    assert "--host=127.0.0.1" in found["app"]["args"]
    assert "ports" not in found["app"]
    sidecar = env(found["sidecar"])
    assert sidecar["SIDECAR_UPSTREAM"] == "http://127.0.0.1:9000/mcp"
    assert "--port=9000" in found["app"]["args"]
    (service,) = of_kind(name, "Service")
    assert [port["targetPort"] for port in service["spec"]["ports"]] == [int(sidecar["SIDECAR_PORT"])]
    assert service["metadata"]["name"] in sidecar["SIDECAR_ALLOW_HOST"].split()
    assert f"{service['metadata']['name']}.$(POD_NAMESPACE).svc" in sidecar["SIDECAR_ALLOW_HOST"].split()


def test_beside_the_agent_nothing_of_the_pod_can_be_reached_and_the_agent_has_no_credentials() -> None:
    name = "overlays/beside-agent"
    found = containers(name)
    assert env(found["sidecar"])["SIDECAR_BIND"] == "127.0.0.1"
    assert of_kind(name, "Service") == []
    (credentials,) = [item for item in found["sidecar"]["volumeMounts"] if item["name"] == "credentials"]
    assert f"Authorization: file:{credentials['mountPath']}/authorization" in found["sidecar"]["args"]
    assert "Authorization" not in str(found["app"])


@pytest.mark.parametrize("name", ["overlays/shared", FROM_REGISTRY])
def test_replicas_share_one_store_and_their_number_is_said_once(name: str) -> None:
    (deployment,) = of_kind(name, "Deployment")
    (scaler,) = of_kind(name, "HorizontalPodAutoscaler")
    (budget,) = of_kind(name, "PodDisruptionBudget")
    (service,) = of_kind(name, "Service")
    assert "replicas" not in deployment["spec"]
    assert scaler["spec"]["minReplicas"] > budget["spec"]["minAvailable"]
    assert service["spec"]["sessionAffinity"] == "ClientIP"
    sidecar = containers(name)["sidecar"]
    (dsn,) = [item for item in sidecar["env"] if item["name"] == "SIDECAR_STATE_DSN"]
    assert "secretKeyRef" in dsn["valueFrom"]
    assert "SIDECAR_STATE_DIR" not in env(sidecar)
    assert env(sidecar)["SIDECAR_SERVER"]


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_network_lets_nothing_through_that_is_not_named(name: str) -> None:
    (deployment,) = of_kind(name, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    policies = of_kind(name, "NetworkPolicy")
    assert {kind for policy in policies for kind in policy["spec"]["policyTypes"]} == {"Ingress", "Egress"}
    for policy in policies:
        spec = policy["spec"]
        assert spec["podSelector"]["matchLabels"].items() <= labels.items()
        assert all("from" in rule and "ports" in rule for rule in spec.get("ingress", ()))
        assert all("to" in rule and "ports" in rule for rule in spec.get("egress", ()))
    open_ports = {
        port["port"] for item in policies for rule in item["spec"].get("ingress", ()) for port in rule["ports"]
    }
    served = {9464} if name in ("base", "overlays/beside-agent") else {8080, 9464}
    assert open_ports == served


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_opa_runs_under_the_rules_of_this_version_and_takes_policy_from_the_sidecar_only(name: str) -> None:
    (given,) = [item["data"] for item in of_kind(name, "ConfigMap") if "opa.yaml" in item["data"]]
    for file in ("authz/authz.rego", "log/mask.rego"):
        assert given[Path(file).name] == (ROOT / "rego" / "system" / file).read_text(), "run `make manifests`"
    assert yaml.safe_load(given["opa.yaml"]) == configuration(
        8282, Path("/run/intercept/token"), {"algorithm": "ES256"}
    )
    args = containers(name)["opa"]["args"]
    assert "--set-file=keys.intercept.key=/etc/bundle-public-key/public.pem" in args
    assert args == container_of_base("opa")["args"]
    assert {"--authorization=basic", "/etc/opa/authz.rego", "/etc/opa/mask.rego"} <= set(args)
    addresses = [word.partition("=")[2] for word in args if word.startswith(("--addr", "--diagnostic-addr"))]
    assert all(address.startswith(("unix://", "127.0.0.1:")) for address in addresses)


@pytest.mark.parametrize("name", [name for name in EVERY if name != FROM_REGISTRY])
def test_the_policy_that_is_shipped_is_good_and_denies_what_it_does_not_name(name: str, tmp_path: Path) -> None:
    (policy,) = [item["data"]["policy.yaml"] for item in of_kind(name, "ConfigMap") if "policy.yaml" in item["data"]]
    (tmp_path / "policy.yaml").write_text(policy)
    command = [str(SIDECAR), "validate", "-c", str(tmp_path / "policy.yaml")]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    assert yaml.safe_load(policy)["default"] == "deny"


def test_a_policy_from_a_registry_comes_from_nowhere_else_and_counts_only_when_it_is_signed() -> None:
    sidecar = containers(FROM_REGISTRY)["sidecar"]
    settings = env(sidecar)
    assert settings["SIDECAR_BUNDLE"].startswith("oci://")
    assert "SIDECAR_CONFIG" not in settings
    assert not [item for item in of_kind(FROM_REGISTRY, "ConfigMap") if "policy.yaml" in item["data"]]
    assert {"bundle-key", "policy-key", "registry"} <= volumes(sidecar)
    assert "policy" not in volumes(sidecar) | {volume["name"] for volume in pod(FROM_REGISTRY)["volumes"]}
    mounts = {mount["name"]: mount for mount in sidecar["volumeMounts"]}
    assert settings["SIDECAR_BUNDLE_KEY"] == f"{mounts['policy-key']['mountPath']}/public.pem"
    assert settings["DOCKER_CONFIG"] == mounts["registry"]["mountPath"]
    (registry,) = [volume["secret"] for volume in pod(FROM_REGISTRY)["volumes"] if volume["name"] == "registry"]
    assert registry["items"] == [{"key": ".dockerconfigjson", "path": "config.json"}]


def test_two_keys_stand_in_one_variable_while_one_replaces_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_BUNDLE_KEY", "/etc/public.pem:/etc/next.pem")
    run = cast("Any", typer.main.get_command(app)).get_command(None, "run")
    (option,) = [option for option in run.params if option.name == "bundle_key"]
    assert option.value_from_envvar(run.make_context("run", [], resilient_parsing=True)) == [
        "/etc/public.pem", "/etc/next.pem",
    ]  # fmt: skip


def test_the_way_to_the_registry_is_open_and_only_where_policy_comes_from_it() -> None:
    name = "mcp-registry"
    (network,) = [item for item in of_kind(FROM_REGISTRY, "NetworkPolicy") if item["metadata"]["name"] == name]
    assert [port for rule in network["spec"]["egress"] for port in rule["ports"]] == [{"port": 443}]
    assert name not in {item["metadata"]["name"] for item in of_kind("overlays/shared", "NetworkPolicy")}


def test_a_pod_that_waits_for_its_first_policy_is_not_started_again_and_again() -> None:
    probe = containers(FROM_REGISTRY)["sidecar"]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 3600
    assert probe["exec"] == containers("base")["sidecar"]["startupProbe"]["exec"]


def test_a_changed_policy_reaches_pods_that_run_and_a_changed_opa_starts_new_ones() -> None:
    names = {item["metadata"]["name"] for item in of_kind("base", "ConfigMap")}
    assert "mcp-policy" in names
    assert any(re.fullmatch(r"mcp-opa-[a-z0-9]+", item) for item in names)
