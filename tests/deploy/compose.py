"""The compose file: its schema, what it mounts, and what Prometheus and Grafana are told about each other."""

import pathlib
import re
import urllib.parse

import yaml
from report import Report, expect, packaged, run


def load(file: pathlib.Path) -> dict:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def fits_schema(file: pathlib.Path) -> None:
    run(packaged("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", file)


def mounts(service: dict) -> dict[str, str]:
    """What is mounted from files: the path in the container and where it comes from."""
    pairs = [volume.split(":")[:2] for volume in service.get("volumes", [])]
    return {target: source for source, target in pairs if source.startswith(".")}


def files_exist(services: dict, deploy: pathlib.Path) -> None:
    sources = [source for service in services.values() for source in mounts(service).values()]
    for service in services.values():
        if build := service.get("build"):
            sources += [build["context"], f"{build['context']}/{build['dockerfile']}"]
    expect(len(sources) > 5, f"only {sources}")
    for source in sources:
        expect((deploy / source).exists(), f"{source} does not exist")


def is_closed(services: dict) -> None:
    for name, service in services.items():
        for port in service.get("ports", []):
            expect(port.startswith("127.0.0.1:"), f"{name} publishes {port} on every address")
        expect(service.get("read_only"), f"{name} can write to its image")
        expect(service.get("cap_drop") == ["ALL"], f"{name} keeps capabilities")
        expect(re.search(r":v?\d+\.\d+\.\d+$|:demo$", service["image"]), f"{service['image']} is not pinned")


def waits_can_end(services: dict) -> None:
    for name, service in services.items():
        for other, on in service.get("depends_on", {}).items():
            # Our own image brings its check along.
            has_check = "test" in services[other].get("healthcheck", {}) or "build" in services[other]
            expect(on["condition"] == "service_healthy" and has_check, f"{name} waits for {other}, which has no check")


def scrapes_as_documented(deploy: pathlib.Path, services: dict) -> None:
    """The rules and dashboards were written for the job of prometheus.yml."""
    own, shipped = load(deploy / "compose/prometheus.yml"), load(deploy / "prometheus/prometheus.yml")
    names, expected = ([job["job_name"] for job in config["scrape_configs"]] for config in (own, shipped))
    expect(names == expected, f"the jobs are {names} instead of {expected}")
    (target,) = own["scrape_configs"][0]["static_configs"][0]["targets"]
    expect(target == "router:8081" and "router" in services, f"{target} is not the router's admin listener")
    (rules,) = own["rule_files"]
    folder, pattern = rules.rsplit("/", 1)
    source = deploy / mounts(services["prometheus"])[folder]
    expect(list(source.glob(pattern)), f"no {pattern} in {source}")


def grafana_finds_all(deploy: pathlib.Path, services: dict) -> None:
    provisioning, mounted = deploy / "grafana/provisioning", mounts(services["grafana"])
    for file in provisioning.glob("datasources/*.yaml"):
        for source in load(file)["datasources"]:
            url = urllib.parse.urlsplit(source["url"])
            expect(url.hostname in services and url.port == 9090, f"{file.name}: {source['url']} is no service here")
    providers = [provider for file in provisioning.glob("dashboards/*.yaml") for provider in load(file)["providers"]]
    expect(providers, "nobody provides dashboards")
    for provider in providers:
        expect(provider["options"]["path"] in mounted, f"{provider['options']['path']} is not mounted")
    home = pathlib.PurePosixPath(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    expect((deploy / mounted[str(home.parent)] / home.name).exists(), f"{home} is not there")


def check(report: Report, deploy: pathlib.Path) -> None:
    report.attempt("compose.yaml fits the schema", fits_schema, deploy / "compose.yaml")
    services = load(deploy / "compose.yaml")["services"]
    report.attempt("compose.yaml: what it mounts and builds exists", files_exist, services, deploy)
    report.attempt("compose.yaml: loopback only, nothing to write to, pinned", is_closed, services)
    report.attempt("compose.yaml: what is waited for has a health check", waits_can_end, services)
    report.attempt("compose.yaml: Prometheus finds router and rules", scrapes_as_documented, deploy, services)
    report.attempt("compose.yaml: Grafana finds Prometheus and the dashboards", grafana_finds_all, deploy, services)
