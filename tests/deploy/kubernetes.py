"""The manifests for Kubernetes: their schemas, and what they name."""

import pathlib
import shutil
import tomllib

import kubernetes_validate
import yaml
from report import Report, expect, run

# The oldest Kubernetes that has all of what is used, and the newest known.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
DEFAULT_DRAIN_S = 30


def load_all(text: str) -> list[dict]:
    return [document for document in yaml.safe_load_all(text) if document]


def fits_schema(documents: list[dict], version: str) -> None:
    expect(documents, "nothing to check")
    for document in documents:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = "/".join(map(str, error.path))
            expect(False, f"{document['kind']} {document['metadata']['name']}: {where}: {error.message}")


def lists_every_file(folder: pathlib.Path, kustomization: dict) -> None:
    named = {*kustomization["resources"], "kustomization.yaml"}
    for generator in kustomization["configMapGenerator"]:
        named |= set(generator["files"])
    found = {file.name for file in folder.iterdir()}
    expect(named == found, f"named or there, but not both: {sorted(named ^ found)}")


def of_kind(documents: list[dict], kind: str) -> list[dict]:
    return [document for document in documents if document["kind"] == kind]


def selects_the_pods(documents: list[dict]) -> None:
    (deployment,) = of_kind(documents, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in of_kind(documents, "Service")]
    selectors += [policy["spec"]["podSelector"]["matchLabels"] for policy in of_kind(documents, "NetworkPolicy")]
    selectors += [budget["spec"]["selector"]["matchLabels"] for budget in of_kind(documents, "PodDisruptionBudget")]
    expect(len(selectors) > 3, f"only {selectors}")
    for selector in selectors:
        expect(selector.items() <= labels.items(), f"{selector} selects no pod with {labels}")


def names_ports(documents: list[dict]) -> None:
    """Every port named by a probe, a service or a policy is one of the container."""
    (deployment,) = of_kind(documents, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    known = {port["name"] for port in container["ports"]}
    used = [container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")]
    used += [port["targetPort"] for service in of_kind(documents, "Service") for port in service["spec"]["ports"]]
    for policy in of_kind(documents, "NetworkPolicy"):
        used += [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
    expect(set(used) == known, f"used {set(used)}, known {known}")


def has_time_to_drain(documents: list[dict], config: dict) -> None:
    (deployment,) = of_kind(documents, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = before + config.get("server", {}).get("drain_s", DEFAULT_DRAIN_S)
    given = pod["terminationGracePeriodSeconds"]
    expect(given > needed, f"terminationGracePeriodSeconds is {given}, {needed} are needed")


def reads_what_is_mounted(documents: list[dict], kustomization: dict) -> None:
    """The configuration is mounted whole, from a ConfigMap whose name stays the same: only then a change is a reload."""
    (generator,) = kustomization["configMapGenerator"]
    expect(kustomization["generatorOptions"]["disableNameSuffixHash"], "each change would start new pods")
    (deployment,) = of_kind(documents, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (volume,), (container,) = pod["volumes"], pod["containers"]
    (mount,) = container["volumeMounts"]
    expect(volume["configMap"] == {"name": generator["name"]}, "the volume is not the whole generated ConfigMap")
    expect("subPath" not in mount, "a subPath never changes")
    config = container["args"][container["args"].index("--config") + 1]
    expect(config in [f"{mount['mountPath']}/{file}" for file in generator["files"]], f"{config} is not mounted")


def check(report: Report, folder: pathlib.Path) -> None:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    report.attempt("kubernetes: the kustomization lists every file", lists_every_file, folder, kustomization)
    texts = [(folder / name).read_text(encoding="utf-8") for name in kustomization["resources"]]
    documents = [document for text in texts for document in load_all(text)]
    config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    for version in VERSIONS:
        report.attempt(f"kubernetes: the manifests fit the schemas of {version}", fits_schema, documents, version)
    report.attempt("kubernetes: selectors select the pods", selects_the_pods, documents)
    report.attempt("kubernetes: ports that are named exist", names_ports, documents)
    report.attempt("kubernetes: the grace period covers the drain", has_time_to_drain, documents, config)
    report.attempt("kubernetes: a change of the configuration is a reload", reads_what_is_mounted, documents, kustomization)
    if shutil.which("kubectl"):
        report.attempt("kubernetes: kubectl builds what fits the schemas", builds, folder)
    else:
        report.skip("kubernetes: kubectl builds what fits the schemas", "there is no kubectl")


def builds(folder: pathlib.Path) -> None:
    fits_schema(load_all(run("kubectl", "kustomize", folder)), VERSIONS[-1])
