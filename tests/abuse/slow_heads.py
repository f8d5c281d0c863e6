"""Thousands of connections whose second request's head drips, on both listeners, beside a good client.

Each connection makes one whole request, and then sends its next head a byte at a time. One that the router closes is
replaced, so that the pressure stays. Afterwards one address opens more connections than it may have. The good client asks 20
times a second all along; no request of it may fail. Figures are printed; times are not compared with anything.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time

HEAD_READ_S = 5
WHOLE = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
DRIPPED = b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: " + b"y" * 4000
# So many of ours that no address has more than its part.
PER_ADDRESS = 200
BATCH = 500


class Report:
    """One line for each check, as tests/run counts them."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, holds, detail=""):
        self.passed += bool(holds)
        self.failed += not holds
        print(f"{'ok' if holds else 'FAILED'}: {what}{': ' + detail if detail else ''}", flush=True)


    def end(self):
        print(json.dumps({"passed": self.passed, "failed": self.failed}), flush=True)
        return 1 if self.failed else 0


class Router:
    def __init__(self, binary, log):
        environment = dict(
            os.environ,
            LLM_ROUTER__SERVER__LISTEN="127.0.0.1:0",
            LLM_ROUTER__SERVER__ADMIN_LISTEN="127.0.0.1:0",
            LLM_ROUTER__SERVER__HEAD_READ_S=str(HEAD_READ_S),
            LLM_ROUTER__SERVER__GRACE_S="0",
            LLM_ROUTER__LOG__ACCESS="off",
        )
        command = [binary, "serve", "--demo"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
        found = {}
        while len(found) < 2:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("the router did not start")
            for name, mark in (("public", "listening on  http://"), ("admin", "metrics       http://")):
                if mark in line:
                    host, port = line.split(mark)[1].split("/")[0].split(":")
                    found[name] = (host, int(port))
        self.public, self.admin = found["public"], found["admin"]

    def peak_mb(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

    def closed(self, reason):
        connection = http.client.HTTPConnection(*self.admin, timeout=60)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        of_reason = [line for line in lines if line.startswith("llmrouter_connections_closed_total") and f'"{reason}"' in line]
        return sum(int(float(line.split()[-1])) for line in of_reason)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


class Good(threading.Thread):
    """Asks for a chat 20 times a second whether or not the last was answered, on kept connections and fresh ones in turn."""

    BODY = json.dumps({"model": "llama-3.1-8b", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]})
    HEADERS = {"authorization": "Bearer sk-demo", "content-type": "application/json"}

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.over = address, threading.Event()
        self.times, self.errors, self.kept = [], [], threading.local()

    def connection(self, number):
        if number % 2:
            return http.client.HTTPConnection(*self.address, timeout=30)
        if not hasattr(self.kept, "connection"):
            self.kept.connection = http.client.HTTPConnection(*self.address, timeout=30)
        return self.kept.connection

    def ask(self, number, due):
        try:
            connection = self.connection(number)
            connection.request("POST", "/v1/chat/completions", self.BODY, self.HEADERS)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                self.errors.append(f"status {answer.status}")
            if number % 2:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            self.errors.append(repr(error))
        self.times.append(time.monotonic() - due)

    def run(self):
        begun, number = time.monotonic(), 0
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            while not self.over.is_set():
                number += 1
                due = begun + number / 20
                time.sleep(max(0, due - time.monotonic()))
                pool.submit(self.ask, number, due)

    def figures(self):
        times = sorted(self.times)
        at = lambda part: times[min(len(times) - 1, int(len(times) * part))] * 1e3
        return f"{len(times)} requests, median {at(0.5):.0f} ms, p99 {at(0.99):.0f} ms, longest {times[-1] * 1e3:.0f} ms"


class Drips:
    """Connections that drip, held at a number."""

    def __init__(self, addresses, count):
        self.targets, self.count = addresses, count
        self.open, self.opened, self.cut, self.lives = {}, 0, 0, []
        self.poll = select.epoll()

    def fill(self):
        for _ in range(min(BATCH, self.count - len(self.open))):
            number = self.opened
            self.opened += 1
            part = number % self.count // PER_ADDRESS
            one = socket.socket()
            one.bind((f"127.0.{1 + part // 200}.{1 + part % 200}", 0))
            one.settimeout(30)
            one.connect(self.targets[number % len(self.targets)])
            one.sendall(WHOLE)
            one.setblocking(False)
            self.open[one.fileno()] = [one, None, 0]
            self.poll.register(one.fileno(), select.EPOLLIN | select.EPOLLRDHUP)

    def drop(self, descriptor):
        one, begun, _ = self.open.pop(descriptor)
        if begun is not None:
            self.cut += 1
            self.lives.append(time.monotonic() - begun)
        self.poll.unregister(descriptor)
        one.close()

    def read(self):
        for descriptor, _ in self.poll.poll(0):
            one = self.open[descriptor]
            try:
                bytes_read = one[0].recv(4096)
            except OSError:
                bytes_read = b""
            if not bytes_read:
                self.drop(descriptor)
            elif one[1] is None:
                # The whole request is answered: its next head begins.
                one[1] = time.monotonic()

    def drip(self):
        for descriptor, one in list(self.open.items()):
            if one[1] is None or one[2] >= len(DRIPPED):
                continue
            try:
                one[0].send(DRIPPED[one[2] : one[2] + 1])
                one[2] += 1
            except OSError:
                self.drop(descriptor)

    def run(self, seconds):
        end, next_drip, most = time.monotonic() + seconds, 0, 0
        while time.monotonic() < end:
            self.fill()
            self.read()
            if time.monotonic() >= next_drip:
                self.drip()
                next_drip = time.monotonic() + 1
            most = max(most, len(self.open))
            time.sleep(0.005)
        return most

    def close(self):
        for descriptor in list(self.open):
            self.open.pop(descriptor)[0].close()


def crowd(router, count):
    """One address opens `count` connections and keeps what it gets; how many are still open afterwards."""
    held = []
    for _ in range(count):
        one = socket.socket()
        one.bind(("127.0.9.9", 0))
        one.settimeout(30)
        one.connect(router.public)
        held.append(one)
    time.sleep(1)
    alive = 0
    for one in held:
        one.setblocking(False)
        try:
            alive += one.recv(1) != b""
        except BlockingIOError:
            alive += 1
        except OSError:
            pass
        one.close()
    return alive


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--sockets", type=int, default=10_000)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--crowd", type=int, default=8_000)
    options = arguments.parse_args()
    report = Report()
    needed = max(options.sockets, options.crowd) + 2_000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    report.check("open files", hard == resource.RLIM_INFINITY or hard >= needed, f"{needed} needed, {hard} allowed (ulimit -Hn)")
    if report.failed:
        return report.end()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with open(os.devnull, "w") as log:
        router = Router(options.binary, log)
    good = Good(router.public)
    try:
        print(f"at rest: {router.peak_mb():.0f} MB", flush=True)
        good.start()
        drips = Drips([router.public, router.admin], options.sockets)
        most = drips.run(options.seconds)
        lives = sorted(drips.lives) or [float("nan")]
        print(
            f"drips: {drips.opened} opened, {most} at once, {drips.cut} cut, "
            f"head's life median {lives[len(lives) // 2]:.1f} s, longest {lives[-1]:.1f} s, limit {HEAD_READ_S} s; "
            f"peak {router.peak_mb():.0f} MB",
            flush=True,
        )
        report.check("they were all open at once", most == options.sockets, f"{most} of {options.sockets}")
        report.check("every head that drips is cut", drips.cut > 0 and router.closed("slow_head") >= drips.cut)
        report.check("a good client is served all along", not good.errors, f"{good.figures()}; {good.errors[:3]}")
        drips.close()
        alive = crowd(router, options.crowd)
        refused = router.closed("peer_limit")
        print(f"one address: {options.crowd} opened, {alive} kept, {refused} refused; peak {router.peak_mb():.0f} MB")
        report.check("one address has its part and no more", alive + refused == options.crowd and refused > 0)
        report.check("a good client is served meanwhile", not good.errors, f"{good.figures()}; {good.errors[:3]}")
    finally:
        good.over.set()
        good.join(60)
        router.stop()
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
