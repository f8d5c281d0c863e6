#!/usr/bin/env python3
"""Runs a command with a Postgres server of its own, which is gone afterwards.

    tests/ledger/postgres.py COMMAND [ARGUMENT...]

The command finds the server's URL in LLM_ROUTER_TEST_POSTGRES. As a module: `with Server() as server: server.url`.
"""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

USER = "router"
PASSWORD = "a-password-of-the-tests"


def binary(name):
    """The newest one that is installed; Debian keeps them outside PATH."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda path: int(path.split("/")[4]))
    found = found[-1] if found else shutil.which(name)
    if not found:
        sys.exit(f"{name} is missing: apt-get install postgresql")
    return found


def unprivileged():
    """The account that the server runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    sys.exit("there is no account for a server to run as")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server on a free port of the loopback address. `settings` are lines of postgresql.conf."""

    def __init__(self, settings=()):
        self.folder = Path(tempfile.mkdtemp(prefix="llm-router-postgres-"))
        self.account = unprivileged()
        self.port = free_port()
        self.url = f"postgres://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        self.process = None
        self.settings = settings

    def __enter__(self):
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self.account:
            os.chown(self.folder, self.account.pw_uid, self.account.pw_gid)
            os.chown(password, self.account.pw_uid, self.account.pw_gid)
        init = [binary("initdb"), "-D", self.data, "-U", USER, "--pwfile", password, "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
        subprocess.run(self.plain(init), check=True, stdout=subprocess.DEVNULL, **self.as_account())
        with open(self.data / "postgresql.conf", "a") as conf:
            lines = [f"port = {self.port}", "listen_addresses = '127.0.0.1'", f"unix_socket_directories = '{self.folder}'", *self.settings]
            conf.write("\n".join(lines) + "\n")
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self):
        return self.folder / "data"

    @staticmethod
    def plain(command):
        return [str(word) for word in command]

    def as_account(self):
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "cwd": self.folder} if self.account else {}

    def start(self):
        """Starts it and waits until it can be connected to."""
        log = open(self.folder / "log", "a")
        command = self.plain([binary("postgres"), "-D", self.data])
        self.process = subprocess.Popen(command, stdout=log, stderr=log, **self.as_account())
        ready = self.plain([binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", self.port])
        for _ in range(600):
            if subprocess.run(ready).returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit("Postgres does not start:\n" + (self.folder / "log").read_text())

    def stop(self):
        """Stops it at once, as a crash would: no commit is lost by it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(subprocess.signal.SIGQUIT)
            self.process.wait(60)


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    with Server() as server:
        environment = {**os.environ, "LLM_ROUTER_TEST_POSTGRES": server.url}
        sys.exit(subprocess.run(sys.argv[1:], env=environment).returncode)


if __name__ == "__main__":
    main()
