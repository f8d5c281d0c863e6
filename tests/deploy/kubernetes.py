"""The manifests for Kubernetes: their schemas, and what they name."""

import pathlib
import re
import shutil
import tomllib
import urllib.parse

import kubernetes_validate
import yaml
from report import Report, expect, redis_forgets_nothing, run

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


def workloads(documents: list[dict]) -> dict[str, dict]:
    """The pods that are started, by the name of what starts them."""
    started = of_kind(documents, "Deployment") + of_kind(documents, "StatefulSet")
    return {workload["metadata"]["name"]: workload for workload in started}


def pod(workload: dict) -> dict:
    return workload["spec"]["template"]["spec"]


def container(workload: dict) -> dict:
    (only,) = pod(workload)["containers"]
    return only


def labels(workload: dict) -> dict:
    return workload["spec"]["template"]["metadata"]["labels"]


def selected(documents: list[dict], selector: dict) -> dict:
    """The one workload whose pods are selected."""
    found = [each for each in workloads(documents).values() if selector.items() <= labels(each).items()]
    expect(len(found) == 1, f"{selector} selects the pods of {len(found)} workloads")
    return found[0]


def selectors_of(policy: dict) -> list[dict]:
    sources = [source for rule in policy["spec"]["ingress"] for source in rule.get("from", [])]
    return [policy["spec"]["podSelector"]["matchLabels"]] + [
        source["podSelector"]["matchLabels"] for source in sources if "podSelector" in source
    ]


def selects_the_pods(documents: list[dict]) -> None:
    for workload in workloads(documents).values():
        own = selected(documents, workload["spec"]["selector"]["matchLabels"])
        expect(own is workload, f"{workload['metadata']['name']} selects the pods of {own['metadata']['name']}")
    selectors = [service["spec"]["selector"] for service in of_kind(documents, "Service")]
    selectors += [selector for policy in of_kind(documents, "NetworkPolicy") for selector in selectors_of(policy)]
    selectors += [budget["spec"]["selector"]["matchLabels"] for budget in of_kind(documents, "PodDisruptionBudget")]
    expect(len(selectors) > 3, f"only {selectors}")
    for selector in selectors:
        selected(documents, selector)
    services = {service["metadata"]["name"] for service in of_kind(documents, "Service")}
    for workload in of_kind(documents, "StatefulSet"):
        expect(workload["spec"]["serviceName"] in services, f"{workload['metadata']['name']} has no service for its names")


def names_ports(documents: list[dict]) -> None:
    """Every port named by a probe, a service or a policy is one of the container that it is for, and all of them are used."""
    used: dict[str, set[str]] = {}
    for name, workload in workloads(documents).items():
        probes = [container(workload).get(probe, {}) for probe in ("livenessProbe", "readinessProbe")]
        used[name] = {probe["httpGet"]["port"] for probe in probes if "httpGet" in probe}
    for service in of_kind(documents, "Service"):
        name = selected(documents, service["spec"]["selector"])["metadata"]["name"]
        used[name] |= {port["targetPort"] for port in service["spec"]["ports"]}
    for policy in of_kind(documents, "NetworkPolicy"):
        name = selected(documents, policy["spec"]["podSelector"]["matchLabels"])["metadata"]["name"]
        used[name] |= {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    for name, workload in workloads(documents).items():
        known = {port["name"] for port in container(workload)["ports"]}
        expect(used[name] == known, f"{name}: used {used[name]}, known {known}")


def has_time_to_drain(router: dict, config: dict) -> None:
    before = container(router)["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = before + config.get("server", {}).get("drain_s", DEFAULT_DRAIN_S)
    given = pod(router)["terminationGracePeriodSeconds"]
    expect(given > needed, f"terminationGracePeriodSeconds is {given}, {needed} are needed")


def reads_what_is_mounted(router: dict, kustomization: dict) -> None:
    """The configuration is mounted whole, from a ConfigMap whose name stays the same: only then a change is a reload."""
    (generator,) = kustomization["configMapGenerator"]
    expect(kustomization["generatorOptions"]["disableNameSuffixHash"], "each change would start new pods")
    (volume,) = pod(router)["volumes"]
    (mount,) = [mount for mount in container(router)["volumeMounts"] if mount["name"] == volume["name"]]
    expect(volume["configMap"] == {"name": generator["name"]}, "the volume is not the whole generated ConfigMap")
    expect("subPath" not in mount, "a subPath never changes")
    args = container(router)["args"]
    config = args[args.index("--config") + 1]
    expect(config in [f"{mount['mountPath']}/{file}" for file in generator["files"]], f"{config} is not mounted")


def replicas_are_one(documents: list[dict], router: dict, config: dict) -> None:
    """As many pods as are configured, with a volume for the journals of each, and with the stores that the configuration names."""
    shared, storage = config["shared"], config["storage"]
    running = router["spec"]["replicas"]
    expect(running == shared["replicas"] > 1, f"{running} pods, and shared.replicas is {shared['replicas']}")
    (volume,) = router["spec"]["volumeClaimTemplates"]
    (mount,) = [mount for mount in container(router)["volumeMounts"] if mount["name"] == volume["metadata"]["name"]]
    expect(storage["journal_folder"].startswith(mount["mountPath"]), f"the journals are not in {mount['mountPath']}")
    services = {service["metadata"]["name"] for service in of_kind(documents, "Service")}
    for url in (storage["url"], shared["url"]):
        host = urllib.parse.urlsplit(url).hostname
        expect(host in services, f"there is no service {host}")
    (disruption,) = [budget["spec"] for budget in of_kind(documents, "PodDisruptionBudget")]
    expect(disruption["maxUnavailable"] < running, "all pods may be moved at once")


def is_locked_up(documents: list[dict]) -> None:
    """What the namespace asks of every pod; images are pinned; no password is in clear."""
    for name, workload in workloads(documents).items():
        own, outer = container(workload), pod(workload)["securityContext"]
        context = own["securityContext"]
        expect(outer["runAsNonRoot"] and outer["runAsUser"] > 0, f"{name} may run as root")
        expect(context["capabilities"] == {"drop": ["ALL"]}, f"{name} keeps capabilities")
        expect(context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"], f"{name} can change its image")
        # That of the router gets its name and tag from the kustomization.
        expect(re.search(r":\d+(\.\d+)+$", own["image"]) or own["image"] == "llm-router", f"{own['image']} is not pinned")
        for variable in own.get("env", []):
            is_secret = re.search("PASSWORD|KEY|TOKEN", variable["name"])
            expect(not is_secret or "secretKeyRef" in variable.get("valueFrom", {}), f"{name}: {variable['name']} is in clear")


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
    report.attempt("kubernetes: pods are locked up, images pinned, passwords in a Secret", is_locked_up, documents)
    router = workloads(documents)["llm-router"]
    report.attempt("kubernetes: the grace period covers the drain", has_time_to_drain, router, config)
    report.attempt("kubernetes: a change of the configuration is a reload", reads_what_is_mounted, router, kustomization)
    report.attempt("kubernetes: pods share one ledger and one set of limits", replicas_are_one, documents, router, config)
    report.attempt("kubernetes: Redis forgets nothing", redis_forgets_nothing, container(workloads(documents)["llm-router-redis"]))
    if shutil.which("kubectl"):
        report.attempt("kubernetes: kubectl builds what fits the schemas", builds, folder)
    else:
        report.skip("kubernetes: kubectl builds what fits the schemas", "there is no kubectl")


def builds(folder: pathlib.Path) -> None:
    fits_schema(load_all(run("kubectl", "kustomize", folder)), VERSIONS[-1])
