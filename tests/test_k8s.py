"""The Kubernetes manifests: valid, restricted as Pod Security asks, in agreement with the code and the Dockerfile."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.app import create_admin_app
from service.auth import SCOPES, parse_tokens
from service.settings import Settings, variable_name
from tests.service.fake_engine import fake_repository

ROOT = Path(__file__).parent.parent
BASE = ROOT / "k8s" / "base"
# The oldest release whose schema has all we use (preStop's sleep), and the newest that is bundled.
RELEASES = ("1.30.0", kubernetes_validate.latest_version())

Manifest = dict[str, Any]


def render_base() -> list[Manifest]:
    """What `kubectl kustomize k8s/base` prints, as far as this file tests it."""
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    manifests = [yaml.safe_load((BASE / name).read_text()) for name in kustomization["resources"]]
    for manifest in manifests:
        if manifest["kind"] != "Namespace":
            manifest["metadata"]["namespace"] = kustomization["namespace"]
    return manifests


MANIFESTS = render_base()
UPLOAD = yaml.safe_load((ROOT / "k8s" / "upload.yaml").read_text())
PODS = {"deployment": next(m for m in MANIFESTS if m["kind"] == "Deployment")["spec"]["template"], "upload": UPLOAD}


def find(kind: str) -> Manifest:
    [manifest] = [manifest for manifest in MANIFESTS if manifest["kind"] == kind]
    return manifest


def pod() -> Manifest:
    return PODS["deployment"]["spec"]


def server() -> Manifest:
    [container] = pod()["containers"]
    return container


def settings() -> Settings:
    return Settings.from_env(find("ConfigMap")["data"])


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("manifest", [*MANIFESTS, UPLOAD], ids=lambda manifest: manifest["kind"])
def test_a_manifest_is_valid(manifest, release):
    kubernetes_validate.validate(manifest, release, strict=True)


def test_the_kustomization_names_every_file_beside_it():
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    assert set(kustomization["resources"]) == {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert kustomization["namespace"] == find("Namespace")["metadata"]["name"] == UPLOAD["metadata"]["namespace"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which renders kustomizations, is not here")
def test_kustomize_renders_what_these_tests_read():
    rendered = list(yaml.safe_load_all(kustomize("k8s/base")))
    for manifest in rendered:
        if manifest["kind"] == "Deployment":
            container = manifest["spec"]["template"]["spec"]["containers"][0]
            assert re.fullmatch(r"kiln-service:[0-9.]+", container["image"])
            container["image"] = server()["image"]
    assert sorted(rendered, key=lambda m: m["kind"]) == sorted(MANIFESTS, key=lambda m: m["kind"])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which renders kustomizations, is not here")
def test_the_overlay_for_baked_models_needs_no_volume_claim():
    rendered = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(kustomize("k8s/overlays/baked"))}
    assert "PersistentVolumeClaim" not in rendered
    spec = rendered["Deployment"]["spec"]["template"]["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["tokens", "model-config", "temporary"]
    assert [mount["name"] for mount in spec["containers"][0]["volumeMounts"]] == ["tokens", "model-config", "temporary"]
    kubernetes_validate.validate(rendered["Deployment"], RELEASES[0], strict=True)


def kustomize(folder: str) -> str:
    command = ["kubectl", "kustomize", folder]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_namespace_enforces_the_restricted_standard():
    assert find("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", PODS)
def test_a_pod_meets_the_restricted_standard(name):
    spec = PODS[name]["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    assert all((set(volume) - {"name"}) <= allowed for volume in spec["volumes"])
    for container in spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not any("hostPort" in port for port in container.get("ports", []))


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_a_read_only_root_limits_and_no_token(name):
    spec = PODS[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == find("ServiceAccount")["metadata"]["name"]
    for container in spec["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert set(container["resources"]) == {"requests", "limits"}
        assert all({"cpu", "memory"} == set(amounts) for amounts in container["resources"].values())


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_as_the_user_of_the_image(name):
    [user, _] = re.findall(r"(?m)^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text())
    context = PODS[name]["spec"]["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user


@pytest.mark.parametrize("name", PODS)
def test_kubernetes_adds_no_variables_that_look_like_settings(name):
    assert PODS[name]["spec"]["enableServiceLinks"] is False


def test_every_key_of_the_config_map_is_a_setting_of_the_service():
    known = {variable_name(field) for field in Settings.__dataclass_fields__}
    assert set(find("ConfigMap")["data"]) <= known
    settings()


def test_the_container_reads_the_config_map():
    assert server()["envFrom"] == [{"configMapRef": {"name": find("ConfigMap")["metadata"]["name"]}}]


def test_the_ports_agree():
    port, admin = server()["ports"]
    assert port["containerPort"] == settings().port
    assert (admin["name"], admin["containerPort"]) == ("admin", settings().admin_port)
    assert settings().host == "0.0.0.0"
    [service_port] = find("Service")["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]


def test_the_selectors_find_the_pods_of_the_deployment_and_no_others():
    labels = PODS["deployment"]["metadata"]["labels"]
    for selector in (find("Deployment")["spec"]["selector"]["matchLabels"], find("Service")["spec"]["selector"]):
        assert selector.items() <= labels.items()
        assert not selector.items() <= UPLOAD["metadata"]["labels"].items()


def test_the_models_are_mounted_read_only_where_the_service_looks_for_them():
    [mount] = [mount for mount in server()["volumeMounts"] if mount["name"] == "models"]
    assert mount == {"name": "models", "mountPath": str(settings().model_repository), "readOnly": True}
    [volume] = [volume for volume in pod()["volumes"] if volume["name"] == "models"]
    assert volume["persistentVolumeClaim"]["claimName"] == find("PersistentVolumeClaim")["metadata"]["name"]


@pytest.mark.parametrize(
    ("volume", "kind", "name", "variable", "file"),
    [
        ("tokens", "secret", "kiln-tokens", "KILN_TOKEN_FILE", "tokens"),
        ("model-config", "configMap", "kiln-model-config", "KILN_MODEL_CONFIG", "models.toml"),
    ],
)
def test_a_pod_starts_without_what_is_mounted_only_where_it_exists(volume, kind, name, variable, file):
    [mounted] = [entry[kind] for entry in pod()["volumes"] if entry["name"] == volume]
    assert (mounted.get("secretName", mounted.get("name")), mounted["optional"]) == (name, True)
    [mount] = [mount for mount in server()["volumeMounts"] if mount["name"] == volume]
    assert mount["readOnly"] is True
    readme = (ROOT / "k8s" / "README.md").read_text()
    assert f"`{variable}: {mount['mountPath']}/{file}`" in readme
    assert re.search(rf"create \w+ (generic )?{name} --from-file={re.escape(file)}\n", readme)
    assert variable not in find("ConfigMap")["data"]


def test_the_tokens_in_the_readme_are_readable_by_the_service():
    readme = (ROOT / "k8s" / "README.md").read_text()
    [form] = re.findall(r"printf '(.*)' \$\(openssl", readme)
    text = form.replace("\\n", "\n") % ("a" * 64, "b" * 64, "c" * 64)
    assert [scopes for _, scopes in parse_tokens(text)] == [{"predict"}, {"metrics"}, SCOPES]


def test_only_the_user_of_the_service_reads_the_tokens():
    [volume] = [entry["secret"] for entry in pod()["volumes"] if entry["name"] == "tokens"]
    assert volume["defaultMode"] == 0o440
    assert pod()["securityContext"]["fsGroup"] == pod()["securityContext"]["runAsGroup"]


def test_memory_is_enough_for_the_engine_and_the_workers():
    limits = server()["resources"]["limits"]["memory"]
    assert limits == "1Gi"
    assert 350 + 50 * settings().workers < 1024 / 2


def test_every_volume_is_mounted():
    assert {mount["name"] for mount in server()["volumeMounts"]} == {volume["name"] for volume in pod()["volumes"]}


def test_the_temporary_folder_is_memory_with_a_limit():
    [volume] = [volume for volume in pod()["volumes"] if volume["name"] == "temporary"]
    assert volume["emptyDir"]["medium"] == "Memory"
    assert "sizeLimit" in volume["emptyDir"]


@pytest.mark.parametrize(
    ("probe", "path"),
    [
        ("startupProbe", "/v2/health/ready"),
        ("readinessProbe", "/v2/health/ready"),
        ("livenessProbe", "/v2/health/live"),
    ],
)
def test_a_probe_asks_a_route_that_the_service_has(probe, path, tmp_path):
    assert server()[probe]["httpGet"] == {"path": path, "port": "admin"}
    routes = {rule.rule for rule in create_admin_app(Settings(), fake_repository(tmp_path, None)).url_map.iter_rules()}
    assert path in routes


def test_a_pod_has_two_minutes_to_load_its_models():
    probe = server()["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 120


def test_a_pod_has_time_to_finish_its_requests():
    sleep = server()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod()["terminationGracePeriodSeconds"] > sleep + settings().graceful_timeout_seconds


def test_a_rollout_takes_no_pod_away_before_its_successor_is_ready():
    assert find("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
