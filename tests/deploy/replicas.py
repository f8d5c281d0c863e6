"""The routers, the balancer and Redis of compose.replicas.yaml as plain processes, beside a Postgres: same files, other addresses."""

import contextlib
import http.client
import json
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

import compose
from report import Report, expect
from stack import free_ports, process, wait_for, wait_until_up

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "ledger"))
import postgres  # noqa: E402

KEY = "sk-a-key-of-the-deployment-test"
REDIS_PASSWORD = "a-password-of-the-deployment-test"
CLIENTS, PAUSE_S = 4, 0.5
# As long as a container needs to be made anew.
AWAY_S = 3


class Replicas:
    def __init__(self, deploy: pathlib.Path, binary: pathlib.Path, folder: pathlib.Path, store: postgres.Server):
        self.deploy, self.binary, self.folder, self.store = deploy, binary, folder, store
        self.services = compose.load(deploy / "compose.replicas.yaml")["services"]
        self.routers = compose.routers(self.services)
        self.emulator, self.redis, self.balancer, *ports = free_ports(3 + 2 * len(self.routers))
        self.public, self.admin = (dict(zip(self.routers, each)) for each in (ports[::2], ports[1::2]))
        self.running = {}

    def moved(self, text: str) -> str:
        """The addresses of the compose file's network, as they are here."""
        here = {"emulator:9100": self.emulator, "0.0.0.0:9100": self.emulator, "redis:6379": self.redis, "listen 8080": self.balancer}
        here |= {f"{router}:8080": port for router, port in self.public.items()}
        for there, port in here.items():
            text = text.replace(there, f"listen 127.0.0.1:{port}" if there.startswith("listen") else f"127.0.0.1:{port}")
        text = text.replace("postgres/ledger", f"127.0.0.1:{self.store.port}/postgres").replace("/tmp/", f"{self.folder}/")
        # There is no name server of Docker's.
        return re.sub(r"^\s*resolver .*$", "", text, flags=re.MULTILINE).replace(" resolve ", " ")

    def log_of(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.log"

    def start_redis(self, held: contextlib.ExitStack) -> None:
        # "$$" is a "$" to Compose.
        *shell, script = [word.replace("$$", "$") for word in self.services["redis"]["command"]]
        script = script.replace("redis-server ", f"redis-server --bind 127.0.0.1 --port {self.redis} ")
        held.enter_context(process([*shell, script], self.log_of("redis"), {"REDIS_PASSWORD": REDIS_PASSWORD}))

    def start_router(self, name: str, held: contextlib.ExitStack) -> None:
        service = self.services[name]
        command = [self.binary, *service["command"]]
        given = command[command.index("--config") + 1]
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        config = folder / "router.toml"
        text = (self.deploy / compose.mounts(service)["/etc/llm-router"] / pathlib.Path(given).name).read_text(encoding="utf-8")
        config.write_text(self.moved(text).replace("/var/lib/llm-router", str(folder)), encoding="utf-8")
        command[command.index(given)] = config
        env = {
            "LEDGER_PASSWORD": postgres.PASSWORD,
            "REDIS_PASSWORD": REDIS_PASSWORD,
            "LLM_ROUTER_KEY_APP": KEY,
            "UPSTREAM_KEY": service["environment"]["UPSTREAM_KEY"],
            "LLM_ROUTER__SERVER__LISTEN": f"127.0.0.1:{self.public[name]}",
            "LLM_ROUTER__SERVER__ADMIN_LISTEN": f"127.0.0.1:{self.admin[name]}",
        }
        self.running[name] = held.enter_context(process(command, self.log_of(name), env))
        wait_until_up(f"http://127.0.0.1:{self.admin[name]}/readyz", self.running[name], self.log_of(name))

    def start(self, held: contextlib.ExitStack) -> bool:
        emulator = [self.binary, *map(self.moved, self.services["emulator"]["command"])]
        emulator = held.enter_context(process(emulator, self.log_of("emulator"), {}))
        wait_until_up(f"http://127.0.0.1:{self.emulator}/_control", emulator, self.log_of("emulator"))
        self.start_redis(held)
        for name in self.routers:
            self.start_router(name, held)
        nginx = self.folder / "nginx.conf"
        shipped = self.deploy / compose.mounts(self.services["balancer"])["/etc/nginx/nginx.conf"]
        nginx.write_text(self.moved(shipped.read_text(encoding="utf-8")), encoding="utf-8")
        command = ["nginx", "-c", nginx, "-p", self.folder, "-g", "daemon off;"]
        balancer = held.enter_context(process(command, self.log_of("balancer"), {}))
        wait_until_up(f"http://127.0.0.1:{self.balancer}/readyz", balancer, self.log_of("balancer"))
        return True

    def metric(self, router: str, name: str) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin[router], timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def know_each_other(self) -> None:
        for router in self.routers:
            wait_for(f"{router} shares", 30, lambda: self.metric(router, "llmrouter_shared_up") == 1, self.log_of(router))
            known = lambda: self.metric(router, "llmrouter_shared_replicas") == len(self.routers)  # noqa: E731
            wait_for(f"{router} knows the others", 30, known, self.log_of(router))

    def ask(self) -> str:
        """What became of a stream through the balancer: nothing, if it came whole."""
        body = {"model": "llama-3.1-8b", "max_tokens": 16, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.balancer, timeout=60)
        try:
            with contextlib.closing(connection):
                connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
                answer = connection.getresponse()
                text = answer.read()
        except (OSError, http.client.HTTPException) as failed:
            return repr(failed)
        return "" if answer.status == 200 and b"data: [DONE]" in text else f"{answer.status} {text[-300:]!r}"

    def rolling_restart_loses_nothing(self, held: contextlib.ExitStack) -> None:
        over, results = threading.Event(), []

        def client() -> None:
            while not over.wait(PAUSE_S):
                results.append(self.ask())

        clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for each in clients:
            each.start()
        try:
            time.sleep(2)
            for name in self.routers:
                served = self.metric(name, 'llmrouter_requests_total{')
                expect(served > 0, f"{name} was asked for nothing")
                self.running[name].send_signal(signal.SIGTERM)
                code = self.running[name].wait(timeout=60)
                expect(code == 0, f"{name} ended with {code}")
                time.sleep(AWAY_S)
                self.start_router(name, held)
            time.sleep(2)
        finally:
            over.set()
            for each in clients:
                each.join()
        failed = [result for result in results if result]
        expect(len(results) > 20, f"only {len(results)} requests")
        expect(not failed, f"{len(failed)} of {len(results)} failed: {failed[:3]}")


def check(report: Report, deploy: pathlib.Path, binary: pathlib.Path) -> None:
    missing = [tool for tool in ("nginx", "redis-server") if not shutil.which(tool)]
    if missing:
        report.skip("replicas: routers, balancer and Redis start", f"there is no {missing[0]}")
        return
    with tempfile.TemporaryDirectory(prefix="llm-router-replicas-") as folder, postgres.Server() as store, contextlib.ExitStack() as held:
        stack = Replicas(deploy, binary, pathlib.Path(folder), store)
        if not report.attempt("replicas: routers, balancer and Redis start", stack.start, held):
            return
        report.attempt("replicas: they know each other", stack.know_each_other)
        report.attempt("replicas: a rolling restart under load loses no request", stack.rolling_restart_loses_nothing, held)
        report.attempt("replicas: they know each other again", stack.know_each_other)
