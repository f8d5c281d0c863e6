"""A redis-server of a test's own, on a free port of the loopback address."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time

from postgres import free_port


class Redis:
    """`with Redis() as redis: redis.url`. Keeps nothing on disk: a restart loses everything."""

    def __init__(self):
        self.binary = shutil.which("redis-server")
        if not self.binary:
            sys.exit("redis-server is missing: apt-get install redis-server")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.folder = tempfile.mkdtemp(prefix="llm-router-redis-")
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Starts it and waits until it answers."""
        command = [self.binary, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                if self.ask("PING") == "+PONG":
                    return
            except OSError:
                time.sleep(0.05)
        sys.exit("redis-server does not start")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def ask(self, *words):
        """Sends a command; returns the first line of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall((" ".join(words) + "\r\n").encode())
            return connection.makefile().readline().strip()
