"""What lies in deploy/ is valid by its own tools, names commands that exist, and agrees with itself and the code."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import COMMANDS, invoke
from itemrec import __version__
from retrieval.index.server.link import MIN_VERSION
from tests.places import ROOT

DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(p for p in (DEPLOY / "kubernetes").glob("*.yaml") if "values" not in p.name)
KUBERNETES = "1.31"


def tool(name: str) -> str:
    """A tool that the development extra installs beside this Python, or else on the path."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name) or ""


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents(path: Path) -> list[Any]:
    return [d for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d is not None]


def test_the_dockerfile_passes_its_linter() -> None:
    run(tool("hadolint"), str(DEPLOY / "Dockerfile"))


def test_the_image_is_not_root_and_has_no_tensorflow() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001:10001$", last, flags=re.MULTILINE)
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", text)
    assert set(extras.split(",")) <= {"serve", "server", "onnx", "report"}


def test_the_image_gets_all_that_a_build_reads_and_nothing_else() -> None:
    copied = set(re.findall(r"^COPY ([^-].*) \S+$", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE))
    names = {name for line in copied for name in line.split()}
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split() if line.startswith("!")}
    assert names == let_in
    for name in names:
        assert (DEPLOY.parent / name).exists(), name


@pytest.mark.parametrize("name", ["compose.yaml", "cluster/compose.yaml"])
def test_compose_files_follow_their_schema(name: str) -> None:
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(DEPLOY / name))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.name)
def test_manifests_follow_the_schemas_of_kubernetes(path: Path) -> None:
    import kubernetes_validate

    for document in documents(path):
        if document["kind"] != "Kustomization":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_a_wrong_manifest_would_be_seen() -> None:
    import kubernetes_validate

    (job,) = documents(DEPLOY / "kubernetes" / "index.yaml")
    job["spec"]["completion"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    (found,) = documents(DEPLOY / "kubernetes" / "kustomization.yaml")
    assert set(found["resources"]) == {p.name for p in MANIFESTS} - {"kustomization.yaml"}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_the_kustomization_builds() -> None:
    built = list(yaml.safe_load_all(run("kubectl", "kustomize", str(DEPLOY / "kubernetes"))))
    assert {d["kind"] for d in built} >= {"Job", "CronJob", "ConfigMap", "NetworkPolicy", "PersistentVolumeClaim"}
    job = next(d for d in built if d["kind"] == "Job")
    assert job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "itemrec"


def containers(kind: Any) -> list[Any]:
    """Every container of a manifest, however deep."""
    if isinstance(kind, dict):
        own = list(kind.get("containers", []))
        return own + [c for value in kind.values() for c in containers(value)]
    return [c for value in kind for c in containers(value)] if isinstance(kind, list) else []


def test_jobs_run_with_the_least_rights_and_limits() -> None:
    found = [c for path in MANIFESTS for d in documents(path) for c in containers(d)]
    assert len(found) == 4
    for container in found:
        rights = container["securityContext"]
        assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


SERVICES = ["serve.yaml", "page.yaml"]


@pytest.mark.parametrize("name", SERVICES)
def test_services_can_be_probed_and_scaled_as_they_are_meant(name: str) -> None:
    deployment, service, *budget = documents(DEPLOY / "kubernetes" / name)
    pod = deployment["spec"]["template"]
    (container,) = containers(deployment)
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/healthz",
    }
    assert {probe["port"] for probe in probes.values()} == {container["ports"][0]["name"]}
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    # A budget for one pod would keep its node from being drained.
    assert bool(budget) is (deployment["spec"]["replicas"] > 1)
    assert all(b["spec"]["selector"]["matchLabels"].items() <= labels.items() for b in budget)
    claims = [v["persistentVolumeClaim"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
    made = {d["metadata"]["name"] for d in documents(DEPLOY / "kubernetes" / "volumes.yaml")}
    assert {claim["claimName"] for claim in claims} <= made
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert container["args"][container["args"].index("--keys") + 1].startswith("/keys/")


def test_the_image_serves_unless_it_is_told_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    (words,) = re.findall(r"^CMD (.*)$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    kubernetes = [containers(documents(DEPLOY / "kubernetes" / name)[0])[0]["args"] for name in SERVICES]
    assert invoke(["serve", "--help"]) == 0
    text = capsys.readouterr().out
    for command in (json.loads(words), *kubernetes):
        assert command[0] == "serve"
        assert all(option in text for option in command if option.startswith("--"))
    (compose,) = documents(DEPLOY / "compose.yaml")
    assert "command" not in compose["services"]["serve"]
    assert "/readyz" in compose["services"]["serve"]["healthcheck"]["test"][-1]


def commands() -> list[tuple[str, str]]:
    """Every itemrec command in the files: in comments, and in the arguments of jobs."""
    names = "|".join(COMMANDS)
    pattern = re.compile(rf"(?:^|run --rm |exec |\s|- )itemrec ((?:{names}) [^&|\n]*)", flags=re.MULTILINE)
    files = sorted(p for p in DEPLOY.rglob("*") if p.is_file() and p.suffix != ".json")
    return [(p.name, w.strip().strip("`")) for p in files for w in pattern.findall(p.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda v: v[:50])
def test_commands_exist_with_their_options(name: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    assert invoke([words[0], "--help"]) == 0
    text = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert option in text, f"{name}: {command}"


def test_the_files_name_commands() -> None:
    assert {command.split()[0] for _, command in commands()} >= {"index", "snapshot"}


def test_versions_agree() -> None:
    text = "\n".join(p.read_text(encoding="utf-8") for p in DEPLOY.rglob("*") if p.is_file())
    assert set(re.findall(r"image: itemrec:(\S+)", text)) == {__version__}
    qdrant = set(re.findall(r"(?:qdrant/qdrant:|tag: )v([\d.]+)", text))
    assert len(qdrant) == 1
    assert tuple(map(int, qdrant.pop().split(".")[:2])) >= MIN_VERSION


def test_the_cluster_has_three_nodes_that_find_the_first() -> None:
    (found,) = documents(DEPLOY / "cluster" / "compose.yaml")
    nodes = found["services"]
    assert len(nodes) == 3
    for name, node in nodes.items():
        assert f"http://{name}:6335" in node["command"]
        assert ("--bootstrap" in node["command"]) is (name != "node1")
        assert node["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"


# As Qdrant's documentation of monitoring lists them.
METRICS = {
    "app_status_recovery_mode",
    "cluster_pending_operations_total",
    "collection_dead_replicas",
    "collection_points",
    "collection_running_optimizations",
    "grpc_responses_avg_duration_seconds",
    "grpc_responses_total",
    "rest_responses_avg_duration_seconds",
    "rest_responses_total",
    "up",
}


def asked(board: str, alerts: str) -> list[str]:
    """Every expression of a dashboard and of a file of alerts."""
    panels = json.loads((DEPLOY / "monitoring" / board).read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    (rules,) = documents(DEPLOY / "monitoring" / alerts)
    return [t["expr"] for panel in panels for t in panel["targets"]] + [
        rule["expr"] for group in rules["groups"] for rule in group["rules"]
    ]


def test_dashboard_and_alerts_ask_for_metrics_that_exist() -> None:
    words = {"sum", "max", "by", "rate", "instance", "status", "id", "endpoint", "job", "m"}
    named = set()
    for expression in asked("dashboard.json", "alerts.yaml"):
        named |= set(re.findall(r"[a-z_]+", re.sub(r'"[^"]*"', "", expression))) - words
    assert named == METRICS


def test_dashboard_and_alerts_of_the_service_ask_for_what_it_exports() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    from retrieval.service.observed import Observed

    observed = Observed()
    observed.answered("match", {"embed": 3.0})
    observed.refused("busy")
    observed.request("/v1/recognize", 200, 0.01)
    observed.inbox(photos=3, unlabeled=1, waiting=1, size=9)
    samples = [s for family in text_string_to_metric_families(observed.text().decode()) for s in family.samples]
    labels = {s.name: set(s.labels) | {"instance", "job"} for s in samples} | {"up": {"instance", "job"}}
    words = {"sum", "max", "by", "rate", "histogram_quantile", "avg_over_time", "max_over_time", "m", "d", "le"}
    used = set()
    for expression in asked("service.json", "service-alerts.yaml"):
        bare = re.sub(r'"[^"]*"', "", expression)
        for text in re.findall(r"by \(([a-z, ]+)\)|\{([^}]*)\}", bare):
            wanted = set(re.findall(r"[a-z]+", "".join(text)))
            metrics = {name for name in labels if re.search(rf"\b{name}\b", bare)}
            assert all(wanted <= labels[name] for name in metrics), expression
        names = set(re.findall(r"[a-z_]+", re.sub(r"by \([a-z, ]+\)|\{[^}]*\}|\[[^]]*\]", "", bare))) - words
        assert names <= labels.keys(), expression
        used |= names
    shown = {re.sub("_(total|bucket|count|sum|created)$", "", name) for name in labels} - {"up"}
    assert {re.sub("_(total|bucket|count)$", "", name) for name in used} - {"up"} == shown, "all of it is shown"


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize("name", ["alerts.yaml", "service-alerts.yaml"])
def test_alerts_pass_promtool(name: str) -> None:
    run("promtool", "check", "rules", str(DEPLOY / "monitoring" / name))
