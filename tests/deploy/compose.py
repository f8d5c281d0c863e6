"""The compose file: its schema, what it mounts, and what Prometheus and Grafana are told about each other."""

import pathlib
import re
import tomllib
import urllib.parse

import yaml
from report import Report, expect, packaged, redis_forgets_nothing, run

DEFAULT_DRAIN_S = 30


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
        expect(re.search(r":v?\d+(\.\d+)+$|:demo$", service["image"]), f"{service['image']} is not pinned")


def waits_can_end(services: dict) -> None:
    for name, service in services.items():
        for other, on in service.get("depends_on", {}).items():
            # Our own image brings its check along.
            has_check = "test" in services[other].get("healthcheck", {}) or "build" in services[other]
            expect(on["condition"] == "service_healthy" and has_check, f"{name} waits for {other}, which has no check")


def routers(services: dict) -> list[str]:
    """The names of the services that are routers."""
    return sorted(name for name, service in services.items() if "serve" in service.get("command", []))


def scrapes_as_documented(deploy: pathlib.Path, services: dict) -> None:
    """Every router is scraped, by the job of prometheus.yml, for which the rules and dashboards were written."""
    mounted = mounts(services["prometheus"])
    own, shipped = load(deploy / mounted["/etc/prometheus/prometheus.yml"]), load(deploy / "prometheus/prometheus.yml")
    names, expected = ([job["job_name"] for job in config["scrape_configs"]] for config in (own, shipped))
    expect(names == expected, f"the jobs are {names} instead of {expected}")
    targets = own["scrape_configs"][0]["static_configs"][0]["targets"]
    admin = [f"{router}:8081" for router in routers(services)]
    expect(targets == admin and admin, f"{targets} are scraped instead of {admin}")
    (rules,) = own["rule_files"]
    folder, pattern = rules.rsplit("/", 1)
    source = deploy / mounted[folder]
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


def has_no_secret_in_clear(services: dict) -> None:
    """Secrets are variables of the shell, and their absence stops the start."""
    given = [(name, *each) for name, service in services.items() for each in (service.get("environment") or {}).items()]
    # The emulator's is none.
    secrets = [each for each in given if re.search("PASSWORD|LLM_ROUTER_KEY", each[1])]
    expect(len(secrets) > 3, f"only {secrets}")
    for service, name, value in secrets:
        is_required = re.match(r"\$\{[A-Z_]+:\?.+\}$", str(value))
        expect(is_required, f"{service}: {name} is in clear, or may be missing")


def replicas_are_one(deploy: pathlib.Path, services: dict) -> None:
    """All routers have one file that names the stores here, and a volume each; the balancer knows all of them."""
    names = routers(services)
    (folder,) = {mounts(services[name])["/etc/llm-router"] for name in names}
    config = tomllib.loads((deploy / folder / "router.toml").read_text(encoding="utf-8"))
    expect(config["shared"]["replicas"] == len(names) > 1, f"{names} run, and shared.replicas is {config['shared']['replicas']}")
    for url in (config["storage"]["url"], config["shared"]["url"]):
        host = urllib.parse.urlsplit(url).hostname
        expect(host in services, f"there is no service {host}")
    journals = pathlib.PurePosixPath(config["storage"]["journal_folder"])
    volumes = [source for name in names for source in services[name]["volumes"] if source.endswith(f":{journals.parent}")]
    expect(len(set(volumes)) == len(names), f"journals are on {volumes}, where each replica needs a volume of its own")
    nginx = (deploy / mounts(services["balancer"])["/etc/nginx/nginx.conf"]).read_text(encoding="utf-8")
    servers = re.findall(r"^\s+server (\S+):8080 ", nginx, re.MULTILINE)
    expect(sorted(servers) == names, f"the balancer knows {servers}")
    expect("proxy_buffering off;" in nginx, "the balancer keeps streams back")


def has_time_to_drain(services: dict) -> None:
    for name in routers(services):
        given = services[name]["stop_grace_period"]
        expect(int(given.removesuffix("s")) > DEFAULT_DRAIN_S, f"{name} is killed after {given}")


def check(report: Report, deploy: pathlib.Path) -> None:
    for name in ("compose.yaml", "compose.replicas.yaml"):
        report.attempt(f"{name} fits the schema", fits_schema, deploy / name)
        services = load(deploy / name)["services"]
        report.attempt(f"{name}: what it mounts and builds exists", files_exist, services, deploy)
        report.attempt(f"{name}: loopback only, nothing to write to, pinned", is_closed, services)
        report.attempt(f"{name}: what is waited for has a health check", waits_can_end, services)
        report.attempt(f"{name}: a stop leaves time to drain", has_time_to_drain, services)
        report.attempt(f"{name}: Prometheus finds routers and rules", scrapes_as_documented, deploy, services)
    report.attempt("compose.replicas.yaml: no secret in clear", has_no_secret_in_clear, services)
    report.attempt("compose.replicas.yaml: its routers are one", replicas_are_one, deploy, services)
    report.attempt("compose.replicas.yaml: Redis forgets nothing", redis_forgets_nothing, services["redis"])
    services = load(deploy / "compose.yaml")["services"]
    report.attempt("compose.yaml: Grafana finds Prometheus and the dashboards", grafana_finds_all, deploy, services)
