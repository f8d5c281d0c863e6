"""The processes and clients of the abuse and the long checks: emulated providers, the router under 1 GiB, raw HTTP clients."""

import asyncio
import contextlib
import json
import math
import multiprocessing
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import time

GIB = 1 << 30
CGROUP = pathlib.Path("/sys/fs/cgroup")
KEYS = {"good": "sk-good", "greedy": "sk-greedy", "flood": "sk-flood"}
SECRETS = {"KEY_GOOD": KEYS["good"], "KEY_GREEDY": KEYS["greedy"], "KEY_FLOOD": KEYS["flood"], "KEY_UPSTREAM": "upstream"}

CONFIG = """
[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
max_in_flight = {max_in_flight}
drain_s = 2
[log]
access = "off"
{keys}
[[upstreams]]
id = "runpod"
provider = "runpod"
endpoint_type = "load_balancer"
base_url = "{emulator}/lb/v1"
capacity_url = "{emulator}/lb/workers"
api_key_env = "KEY_UPSTREAM"
model = "meta-llama/Llama-3.1-8B-Instruct"
max_in_flight = 100000
[[upstreams]]
id = "cerebras"
provider = "cerebras"
base_url = "{emulator}/cerebras/v1"
api_key_env = "KEY_UPSTREAM"
model = "llama3.1-8b"
max_in_flight = 100000
[[models]]
name = "llama"
strategy = "weighted"
targets = [{{ upstream = "runpod", share = 0.8 }}, {{ upstream = "cerebras", share = 0.2 }}]
[[models]]
name = "cerebras"
strategy = "weighted"
targets = [{{ upstream = "cerebras" }}]
"""


def limited_to(memory: int) -> pathlib.Path | None:
    """A control group of so much memory, if one can be made here."""
    for folder, name in ((CGROUP / "memory", "memory.limit_in_bytes"), (CGROUP, "memory.max")):
        group = folder / f"llm-router-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            if (group / name).exists():
                (group / name).write_text(str(memory))
                return group
            group.rmdir()
    return None


class Lab:
    """An emulator and a router in processes of their own, both stopped at the end of the block.

    `key_concurrent`: calls of a key at the same time, instead of a quarter of `max_in_flight`."""

    def __init__(
        self,
        binary: str,
        memory: int | None = None,
        max_in_flight: int = 2000,
        speed: float = 0,
        key_concurrent: int | None = None,
    ):
        self.binary, self.memory, self.max_in_flight, self.speed = binary, memory, max_in_flight, speed
        self.limits = f"limits = {{ concurrent = {key_concurrent} }}\n" if key_concurrent else ""
        self.folder = tempfile.TemporaryDirectory()
        self.log = pathlib.Path(self.folder.name) / "log"
        self.group = limited_to(memory) if memory else None

    def __enter__(self) -> "Lab":
        self.emulator = self._start(["emulate", "--listen", "127.0.0.1:0", "--speed", str(self.speed)], {})
        self.emulator_url = self._line(self.emulator, "http://").split("http://")[1].split()[0].split("/")[0].rstrip(".,;\"")
        keys = "".join(f'[[keys]]\nid = "{name}"\nteam = "{name}"\nenv = "KEY_{name.upper()}"\n{self.limits}' for name in KEYS)
        text = CONFIG.format(emulator=f"http://{self.emulator_url}", keys=keys, max_in_flight=self.max_in_flight)
        config = pathlib.Path(self.folder.name) / "router.toml"
        config.write_text(text)
        more = dict(SECRETS)
        if self.memory and not self.group:
            more["LLM_ROUTER__SERVER__MEMORY_BUDGET_BYTES"] = str(self.memory // 4)
        self.router = self._start(["serve", "--config", str(config)], more, self._confine)
        parts = self._line(self.router, "listens on").split("http://")
        self.public, self.admin = (self._address(part) for part in parts[1:3])
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.router, self.emulator):
            process.send_signal(signal.SIGKILL)
            process.wait(30)
        if self.group:
            with contextlib.suppress(OSError):
                self.group.rmdir()
        self.folder.cleanup()

    def _confine(self) -> None:
        if self.group:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))
        elif self.memory:
            resource.setrlimit(resource.RLIMIT_DATA, (self.memory, self.memory))

    def _start(self, arguments: list[str], more: dict[str, str], before=None) -> subprocess.Popen:
        with self.log.open("a") as log:
            return subprocess.Popen(
                [self.binary, *arguments], stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=before,
                env={**os.environ, **more},
            )

    @staticmethod
    def _line(process: subprocess.Popen, mark: str) -> str:
        for line in process.stdout:
            if mark in line:
                return line
        raise SystemExit(f"{process.args[1]} did not start")

    @staticmethod
    def _address(text: str) -> tuple[str, int]:
        host, port = text.split("/")[0].split(":")
        return host, int(port)

    def limit(self) -> str:
        return "control group of 1 GiB" if self.group else "RLIMIT_DATA of 1 GiB"

    def rss_mb(self, field: str = "VmRSS") -> float:
        """Of the router; not a number once it has ended."""
        if not self.is_alive():
            return math.nan
        lines = pathlib.Path(f"/proc/{self.router.pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(field)), math.nan) / 1024

    def cpu_s(self) -> float:
        fields = pathlib.Path(f"/proc/{self.router.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.router.pid}/fd"))

    def log_lines(self) -> int:
        return len(self.log.read_text(errors="replace").splitlines())

    def is_alive(self) -> bool:
        return self.router.poll() is None

    async def metric(self, name: str) -> float:
        _, text = await once(self.admin, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        lines = [line for line in text.decode(errors="replace").splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


class Report:
    """A line for each check, a table of figures, and the count that tests/run reads."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.rows: list[tuple[str, str]] = []

    def check(self, what: str, holds: bool, detail: str = "") -> None:
        self.passed += bool(holds)
        self.failed += not holds
        print(f"{'ok' if holds else 'FAILED'}: {what}{': ' + detail if detail else ''}", flush=True)

    def figure(self, what: str, value: str) -> None:
        self.rows.append((what, value))
        print(f"   {what}: {value}", flush=True)

    def end(self) -> int:
        print("\n| figure | value |\n|---|---|")
        for row in self.rows:
            print("| {} | {} |".format(*row))
        print(json.dumps({"passed": self.passed, "failed": self.failed}), flush=True)
        return 1 if self.failed else 0


def post(path: str, body: bytes, key: str, more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{more}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def chat(key: str, text: str = "hello", model: str = "llama", **fields: object) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return post("/v1/chat/completions", json.dumps(body).encode(), key)


class Connection:
    """A kept connection of HTTP/1.1 that opens again when the router has closed it."""

    def __init__(self, address: tuple[str, int], source: str | None = None):
        self.address, self.source, self.writer = address, source, None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        for is_last in (False, True):
            is_fresh = self.writer is None
            try:
                return await self._exchange(request)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                self.close()
                # A kept connection may be closed at any time; a fresh one may not.
                if is_fresh or is_last:
                    raise
        raise AssertionError("unreachable")

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self.writer is None:
            local = (self.source, 0) if self.source else None
            self.reader, self.writer = await asyncio.open_connection(*self.address, local_addr=local)
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        if b"content-length: " in head:
            body = await self.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        else:
            body = b""
            while size := int(await self.reader.readline() or b"0", 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        if b"connection: close" in head:
            self.close()
        return status, body

    def close(self) -> None:
        if self.writer:
            self.writer.transport.abort()
        self.writer = None


async def once(address: tuple[str, int], request: bytes) -> tuple[int, bytes]:
    """One exchange on a connection of its own; status 0 if the router only closed."""
    connection = Connection(address)
    try:
        return await connection.ask(request)
    except (OSError, asyncio.IncompleteReadError, ValueError):
        return 0, b""
    finally:
        connection.close()


async def ask_on(address: tuple[str, int], request: bytes, pause: float, over) -> tuple[list[float], list[str]]:
    """Asks once every `pause` seconds, whatever became of the last request: each answer's time, and what went wrong."""
    times, errors, idle = [], [], []

    async def one() -> None:
        connection = idle.pop() if idle else Connection(address)
        begun = time.perf_counter()
        try:
            status, _ = await asyncio.wait_for(connection.ask(request), 60)
            if status != 200:
                errors.append(str(status))
        except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
            errors.append(repr(error))
        times.append(time.perf_counter() - begun)
        idle.append(connection)

    async with asyncio.TaskGroup() as group:
        due = time.perf_counter()
        while not over.is_set():
            group.create_task(one())
            due += pause
            await asyncio.sleep(max(0, due - time.perf_counter()))
    return times, errors


def _ask_on(address, request, pause, over, results) -> None:
    results.send(asyncio.run(ask_on(address, request, pause, over)))


class Good:
    """A client that behaves, in a process of its own, so that no other client's work is in its times."""

    def __init__(self, it: Lab, a_second: float, key: str = "good"):
        self.arguments = (it.public, chat(KEYS[key]), 1 / a_second)
        self.times: list[float] = []
        self.errors: list[str] = []

    @contextlib.contextmanager
    def beside(self):
        """Runs it for the time of the block; its times and errors are there at the end."""
        over, (ours, theirs) = multiprocessing.Event(), multiprocessing.Pipe()
        process = multiprocessing.Process(target=_ask_on, args=(*self.arguments, over, theirs), daemon=True)
        process.start()
        try:
            yield self
        finally:
            over.set()
            self.times, self.errors = ours.recv()
            process.join()


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values) or [float("nan")]
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
