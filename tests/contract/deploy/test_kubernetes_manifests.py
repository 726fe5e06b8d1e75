"""deploy/k8s as it is written (no kubectl needed) and as it is rendered."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from services.detect.rules.load import rule_files
from shared.db import plain_url
from shared.topology import CONSUMERS, SERVICES, STREAMS
from tests.support.manifests import (
    CRDS,
    DEPLOY,
    containers,
    copy_of_deploy,
    documents,
    known_variables,
    kustomize,
    objects_of,
    pod_specs,
    settings_of,
)

pytestmark = pytest.mark.contract

K8S = DEPLOY / "k8s"
BASE = objects_of(K8S / "base")
KUBERNETES = ("1.30", "1.34")
INSIDE = {
    ("app.kubernetes.io/name=postgres", 5432),
    ("app.kubernetes.io/name=nats", 4222),
}


def one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def settings_env(*files: Path) -> dict[str, str]:
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def egress_of(policy: dict[str, Any]) -> set[tuple[str, int]]:
    """Return the policy's way out as (peer, port); ``internet`` is every public address."""
    found = set()
    for rule in policy["spec"].get("egress", ()):
        for peer in rule["to"]:
            if "ipBlock" in peer:
                name = "internet"
            else:
                assert set(peer) == {"podSelector"}, peer
                ((key, value),) = peer["podSelector"]["matchLabels"].items()
                name = f"{key}={value}"
            found |= {(name, port["port"]) for port in rule["ports"]}
    return found


# ---- as written -----------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", ["base", "overlays/dev"])
def test_every_pod_is_restricted(overlay: str) -> None:
    pods = list(pod_specs(objects_of(K8S / overlay)))
    assert pods
    for name, pod in pods:
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["serviceAccountName"] == name
        assert pod["enableServiceLinks"] is False, name
        assert "hostNetwork" not in pod
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] >= 999, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert set(container["resources"]) == {"requests", "limits"}, name
            assert not container["image"].endswith(":latest")
            assert ":" in container["image"]
        for volume in pod["volumes"]:
            allowed = {"emptyDir", "secret", "configMap", "projected", "persistentVolumeClaim"}
            assert set(volume) - {"name"} <= allowed, (name, volume)


def test_the_namespace_refuses_what_is_not_restricted() -> None:
    labels = one(BASE, "Namespace", "tocsin")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_everything_is_denied_that_is_not_listed() -> None:
    policy = one(BASE, "NetworkPolicy", "default-deny")["spec"]
    assert policy["podSelector"] == {}
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    assert "ingress" not in policy
    assert "egress" not in policy


@pytest.mark.parametrize("service", SERVICES)
class TestService:
    def test_has_everything_that_belongs_to_it(self, service: str) -> None:
        for kind in (
            "Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget",
        ):  # fmt: skip
            one(BASE, kind, service)
        assert one(BASE, "ServiceAccount", service)["automountServiceAccountToken"] is False

    def test_selects_its_own_pods_everywhere(self, service: str) -> None:
        label = {"app.kubernetes.io/name": service}
        deployment = one(BASE, "Deployment", service)["spec"]
        assert deployment["template"]["metadata"]["labels"] == label
        assert deployment["selector"]["matchLabels"] == label
        assert one(BASE, "Service", service)["spec"]["selector"] == label
        assert one(BASE, "NetworkPolicy", service)["spec"]["podSelector"]["matchLabels"] == label
        budget = one(BASE, "PodDisruptionBudget", service)["spec"]
        assert budget["selector"]["matchLabels"] == label
        assert budget["maxUnavailable"] < deployment["replicas"]
        for spread in deployment["template"]["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"] == label

    def test_runs_as_the_images_user_and_is_the_command(self, service: str) -> None:
        pod = one(BASE, "Deployment", service)["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["args"] == [f"services.{service}"]
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["terminationGracePeriodSeconds"] == 30
        drain = settings_of(service).model_fields["drain_seconds"].default
        assert container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain < 30

    def test_is_probed_where_it_listens(self, service: str) -> None:
        (container,) = one(BASE, "Deployment", service)["spec"]["template"]["spec"]["containers"]
        for kind, path in (
            ("startup", "/startupz"),
            ("liveness", "/livez"),
            ("readiness", "/readyz"),
        ):
            assert container[f"{kind}Probe"]["httpGet"] == {"path": path, "port": "http"}
        port = settings_of(service).model_fields["port"].default
        assert container["ports"] == [{"name": "http", "containerPort": port}]
        (exposed,) = one(BASE, "Service", service)["spec"]["ports"]
        assert (exposed["port"], exposed["targetPort"]) == (port, "http")

    def test_is_told_only_what_it_understands(self, service: str) -> None:
        (container,) = one(BASE, "Deployment", service)["spec"]["template"]["spec"]["containers"]
        common = settings_env(K8S / "base" / "settings.env", K8S / "overlays/prod/settings.env")
        own = {each["name"] for each in container.get("env", ())}
        assert (own | set(common)) - known_variables(container["args"]) == set()

    def test_finds_every_file_that_it_is_told_of(self, service: str) -> None:
        pod = one(BASE, "Deployment", service)["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        values = {
            **settings_env(K8S / "base" / "settings.env"),
            **{each["name"]: each["value"] for each in container.get("env", ())},
        }
        mounts = {each["mountPath"] for each in container["volumeMounts"]}
        assert {each["name"] for each in container["volumeMounts"]} == {
            each["name"] for each in pod["volumes"]
        }
        for variable, value in values.items():
            if value.startswith("/"):
                assert any(value.startswith(f"{mount}/") for mount in mounts), variable

    def test_goes_out_where_it_must_and_nowhere_else(self, service: str) -> None:
        sends = service in ("notify", "escalate")
        ports = (*((443, 465, 587, 25) if sends else ()), *((993,) if service == "notify" else ()))
        out = {("internet", port) for port in ports}
        policy = one(BASE, "NetworkPolicy", service)
        assert sorted(policy["spec"]["policyTypes"]) == ["Egress", "Ingress"]
        mailbox = {("internet", 993)} if service == "escalate" else set()  # of reports
        assert egress_of(policy) == INSIDE | out | mailbox

    def test_is_entered_on_its_port_from_labelled_namespaces(self, service: str) -> None:
        (rule,) = one(BASE, "NetworkPolicy", service)["spec"]["ingress"]
        assert rule["ports"] == [{"port": "http"}]
        assert all(set(peer) == {"namespaceSelector"} for peer in rule["from"])
        assert {
            peer["namespaceSelector"]["matchLabels"]["tocsin-access"] for peer in rule["from"]
        } == {
            "clients",
            "metrics",
        }


@pytest.mark.parametrize("service", ["notify", "escalate"])
def test_the_way_to_the_internet_leaves_out_every_private_network(service: str) -> None:
    for rule in one(BASE, "NetworkPolicy", service)["spec"]["egress"]:
        for peer in rule["to"]:
            block = peer.get("ipBlock")
            if block and block["cidr"] == "0.0.0.0/0":
                private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}
                assert private | {"127.0.0.0/8", "100.64.0.0/10"} <= set(block["except"])


def test_the_preparation_migrates_before_it_bootstraps_and_knows_its_variables() -> None:
    job = one(BASE, "Job", "prepare")["spec"]
    pod = job["template"]["spec"]
    steps = [*pod["initContainers"], *pod["containers"]]
    assert [step["args"] for step in steps] == [["tocsin", "migrate"], ["tocsin", "bootstrap"]]
    for step in steps:
        given = {each["name"] for each in step["env"]}
        assert given - known_variables(step["args"]) == set()
    for service in SERVICES:
        variable = f"TOCSIN_{service.upper()}_DATABASE_PASSWORD_FILE"
        assert variable in {each["name"] for each in steps[0]["env"]}
    assert egress_of(one(BASE, "NetworkPolicy", "prepare")) == INSIDE
    assert "ingress" not in one(BASE, "NetworkPolicy", "prepare")["spec"]


def store_of(objects: list[dict[str, Any]]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the volume that ingest's store lies in, if it is one, and its container."""
    pod = one(objects, "Deployment", "ingest")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == "store"] or [None]
    if mount is None:
        return None, container
    (volume,) = [v for v in pod["volumes"] if v["name"] == "store"]
    return volume, container


def test_replicas_of_ingest_share_a_log_store() -> None:
    """Every replica searches every file; without a store EVENTS is not trimmed (ADR 0013)."""
    volume, container = store_of(BASE)
    assert volume is not None
    claim = one(BASE, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    assert one(BASE, "Deployment", "ingest")["spec"]["replicas"] > 1
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    given = {e["name"]: e["value"] for e in container["env"]}
    (mount,) = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "store"]
    assert given["TOCSIN_INGEST_STORE_URL"].startswith(f"{mount}/")
    # The pod's user writes by its group, and the root of the container stays read-only.
    pod = one(BASE, "Deployment", "ingest")["spec"]["template"]["spec"]
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"] == 65532
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    fields = settings_of("ingest").model_fields
    duck = fields["store_memory_mib"].default + fields["search_memory_mib"].default
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) << 10
    assert limit >= duck + 2 * 150 + 300


def test_no_secret_is_contained() -> None:
    for path in (p for p in K8S.rglob("*.y*ml") if "secrets" not in p.parts):
        assert all(d["kind"] != "Secret" for d in documents(path) if "kind" in d), path


def test_a_rule_of_a_configmap_is_found_once(tmp_path: Path) -> None:
    """The kubelet's layout: the files, beside them the folder that they are links into."""
    real = tmp_path / "..2026_11_23"
    real.mkdir()
    (real / "one.yml").write_text("title: x\n")
    (tmp_path / "..data").symlink_to(real.name)
    (tmp_path / "one.yml").symlink_to("..data/one.yml")
    pod = one(BASE, "Deployment", "detect")["spec"]["template"]["spec"]
    (value,) = [
        each["value"]
        for each in pod["containers"][0]["env"]
        if each["name"] == "TOCSIN_DETECT_RULES"
    ]
    place = tmp_path / value.removeprefix("/etc/tocsin/rules").strip("/")
    assert [path.name for path in rule_files([place])] == ["one.yml"]


def test_the_brokers_chart_gets_the_durable_settings() -> None:
    (values,) = documents(K8S / "nats-values.yaml")
    stream_bytes = sum(stream.max_bytes for stream in STREAMS)
    jetstream = values["config"]["jetstream"]
    assert jetstream["enabled"] is True
    assert jetstream["merge"]["sync_interval"] == "always"
    store = jetstream["fileStore"]
    assert stream_bytes < int(store["maxSize"].removesuffix("Gi")) << 30
    assert int(store["maxSize"].removesuffix("Gi")) < int(store["pvc"]["size"].removesuffix("Gi"))
    assert values["config"]["cluster"] == {"enabled": True, "replicas": 3}
    assert values["container"]["image"]["tag"].startswith("2.15")


def test_the_database_cluster_declares_the_role_of_every_service() -> None:
    (cluster,) = documents(K8S / "postgres-cluster.yaml")
    roles = {role["name"] for role in cluster["spec"]["managed"]["roles"]}
    assert roles == {f"tocsin_{service}" for service in SERVICES}
    assert cluster["spec"]["bootstrap"]["initdb"]["dataChecksums"] is True


def test_the_autoscaler_looks_at_a_consumer_that_exists() -> None:
    (scaled,) = documents(K8S / "components" / "keda" / "scaled-object.yaml")
    (trigger,) = scaled["spec"]["triggers"]
    spec = {(c.stream, c.durable) for c in CONSUMERS if c.service == "detect"}
    assert (trigger["metadata"]["stream"], trigger["metadata"]["consumer"]) in spec
    assert scaled["spec"]["minReplicaCount"] >= 1


def test_the_documented_database_url_is_one_that_services_understand(tmp_path: Path) -> None:
    text = (DEPLOY.parent / "docs" / "operations.md").read_text("utf-8")
    found = re.search(r"'(tocsin-db-rw:5432/[^']+)'", text)
    assert found is not None
    mount = (K8S / "overlays/prod/deployments.yaml").read_text()
    assert "sslrootcert=/etc/tocsin/postgres-ca/ca.crt" in found[1]
    assert "mountPath: /etc/tocsin/postgres-ca" in mount
    # The authority's file is not here; what is asked of it is understood up to opening it.
    with pytest.raises(FileNotFoundError):
        plain_url(f"postgresql://tocsin_cases:x@{found[1]}")


# ---- as rendered ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = copy_of_deploy(tmp_path_factory.mktemp("k8s")) / "deploy" / "k8s"
    everything = folder / "overlays" / "everything"
    everything.mkdir()
    (everything / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "namespace": "tocsin",
                "resources": ["../../base"],
                "components": [
                    f"../../components/{path.name}"
                    for path in sorted((folder / "components").iterdir())
                ],
            }
        )
    )
    names = {"base": "base", **{n: f"overlays/{n}" for n in ("dev", "prod", "everything")}}
    return {name: kustomize(folder / path) for name, path in names.items()}


def test_the_schema_accepts_every_rendered_object(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    for objects in rendered.values():
        for each in objects:
            if each["kind"] in CRDS:
                continue
            for version in KUBERNETES:
                kubernetes_validate.validate(each, version, strict=True)


def test_the_log_store_of_a_trial_goes_with_its_pod(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    volume, _ = store_of(rendered["dev"])
    assert volume is not None
    assert set(volume) == {"name", "emptyDir"}
    assert not [o for o in rendered["dev"] if o["kind"] == "PersistentVolumeClaim"]
    volume, _ = store_of(rendered["prod"])
    assert volume is not None
    assert volume["persistentVolumeClaim"] == {"claimName": "ingest-store"}
    one(rendered["prod"], "PersistentVolumeClaim", "ingest-store")


def test_a_log_store_in_a_bucket_needs_no_volume_and_a_way_out(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    objects = rendered["everything"]
    volume, container = store_of(objects)
    assert volume is None
    assert not [o for o in objects if o["kind"] == "PersistentVolumeClaim"]
    assert "TOCSIN_INGEST_STORE_URL" not in {e["name"] for e in container["env"]}  # the overlay's
    assert egress_of(one(objects, "NetworkPolicy", "allow-store-s3")) == {("internet", 443)}


def test_everything_rendered_is_in_the_namespace(rendered: dict[str, list[dict[str, Any]]]) -> None:
    for objects in rendered.values():
        for each in objects:
            if each["kind"] not in {"Namespace", "PriorityClass"}:
                assert each["metadata"]["namespace"] == "tocsin", each["metadata"]


@pytest.mark.parametrize("overlay", ["base", "dev", "prod"])
def test_every_reference_has_its_object_or_is_documented(
    rendered: dict[str, list[dict[str, Any]]], overlay: str
) -> None:
    objects = rendered[overlay]
    documented = (DEPLOY.parent / "docs" / "operations.md").read_text("utf-8")
    there = {(o["kind"], o["metadata"]["name"]) for o in objects}
    for name, pod in pod_specs(objects):
        assert ("ServiceAccount", pod["serviceAccountName"]) in there
        if priority := pod.get("priorityClassName"):
            assert ("PriorityClass", priority) in there
        for volume in pod["volumes"]:
            for source in volume.get("projected", {}).get("sources", [volume]):
                if secret := source.get("secret"):
                    wanted = secret.get("secretName") or secret["name"]
                    assert ("Secret", wanted) in there or f"`{wanted}`" in documented, (
                        name,
                        wanted,
                    )
                if config := source.get("configMap"):
                    wanted = config["name"]
                    assert ("ConfigMap", wanted) in there or config.get("optional"), (name, wanted)
        for container in containers(pod):
            for source in container.get("envFrom", ()):
                assert ("ConfigMap", source["configMapRef"]["name"]) in there


def test_dev_holds_every_key_that_the_pods_are_told_of(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    objects = rendered["dev"]
    for service in SERVICES:
        keys = set(one(objects, "Secret", f"tocsin-{service}")["data"])
        assert {"database-url", "nats-nkey-seed"} <= keys
        pod = one(objects, "Deployment", service)["spec"]["template"]["spec"]
        told = {
            each["value"].removeprefix("/etc/tocsin/secrets/")
            for each in pod["containers"][0].get("env", ())
            if each["value"].startswith("/etc/tocsin/secrets/")
        }
        assert told <= keys
    job = one(objects, "Job", "prepare")["spec"]["template"]["spec"]
    for step in containers(job):
        for each in step["env"]:
            folder, _, key = each["value"].rpartition("/")
            if folder.startswith("/etc/tocsin/"):
                secret = f"tocsin-{folder.rpartition('/')[2]}"
                assert key in one(objects, "Secret", secret)["data"]


def test_dev_runs_one_of_each_and_production_three_of_what_scales(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    def replicas(overlay: str) -> dict[str, int | None]:
        return {
            o["metadata"]["name"]: o["spec"].get("replicas")
            for o in rendered[overlay]
            if o["kind"] == "Deployment"
        }

    assert set(replicas("dev").values()) == {1}
    assert replicas("prod") == {
        "ingest": None, "detect": 3, "escalate": 2, "cases": 2, "notify": 2,
    }  # fmt: skip
    scaler = one(rendered["prod"], "HorizontalPodAutoscaler", "ingest")["spec"]
    assert scaler["minReplicas"] == 3


def test_production_uses_the_operators_database_and_three_replicas_of_every_stream(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    objects = rendered["prod"]
    pod = one(objects, "Job", "prepare")["spec"]["template"]["spec"]
    (migrate,) = pod["initContainers"]
    assert [each["name"] for each in migrate["env"]] == ["TOCSIN_DATABASE_URL_FILE"]
    secrets = {v["name"]: v["secret"] for v in pod["volumes"] if "secret" in v}
    assert secrets["migrate"]["secretName"] == "tocsin-db-app"
    assert secrets["migrate"]["items"] == [{"key": "uri", "path": "database-url"}]
    (bootstrap,) = pod["containers"]
    assert {"name": "TOCSIN_NATS_REPLICAS", "value": "3"} in bootstrap["env"]
    database = ("cnpg.io/cluster=tocsin-db", 5432)
    for service in SERVICES:
        out = egress_of(one(objects, "NetworkPolicy", service))
        assert {peer for peer in out if peer[0] != "internet"} == {
            database,
            ("app.kubernetes.io/name=nats", 4222),
        }
    assert egress_of(one(objects, "NetworkPolicy", "allow-oidc")) == {("internet", 443)}
