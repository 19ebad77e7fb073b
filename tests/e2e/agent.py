"""What the tests of agents share: a vault that listens on loopback, and agents that send to it."""
import hashlib
import json
import os
import pathlib
import select
import signal
import subprocess
import time

from harness import DOZO, Case

PROGRAMS = pathlib.Path(DOZO).parent
INTAKE, AGENT = PROGRAMS / "dozo-intake", PROGRAMS / "dozo-agent"
PATIENCE = 60  # seconds, for what must happen; nothing is decided by it


def until(true, what):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


class Intake:
    """A dozo-intake that runs; `port` stays the same over restarts."""

    def __init__(self, vault, *args):
        self.vault, self.args, self.port, self.process, self.log = vault, args, 0, None, pathlib.Path("intake.log")
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [INTAKE, "--vault", self.vault, "--listen", f"127.0.0.1:{self.port}", *self.args],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env={"PATH": os.environ["PATH"]})
        said = self.process.stdout.readline().decode() if select.select([self.process.stdout], [], [], PATIENCE)[0] else ""
        assert said.startswith("listening on "), (said, self.log.read_text())
        self.port = int(said.rsplit(":", 1)[1])

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return code

    @property
    def server(self):
        return f"127.0.0.1:{self.port}"

    def said(self):
        return self.log.read_text()


class Agents(Case):
    """A vault with an intake for each test; agents have a directory each, called like their source."""

    def setUp(self):
        for name in ["vault", "key", "intake.log"]:
            subprocess.run(["rm", "-rf", name, *self.dir.glob("state-*")], check=True)
        self.good("init", "vault", "--key-file", "key")
        self.intake = Intake("vault")

    def tearDown(self):
        if self.intake.process.poll() is None:
            self.intake.stop()

    def dozo(self, *args, **more):
        return self.good("--vault", "vault", *args, **more)

    def invite(self, source, *args):
        """(token file, fingerprint)"""
        got = self.json("--vault", "vault", "enrol", source, *args)
        path = pathlib.Path(f"token-{source}")
        path.write_text(got["token"] + "\n")
        return path, got["ca_fingerprint"]

    def agent(self, *args, state="emr", user=(), env=None):
        return subprocess.run([*user, AGENT, args[0], "--state", self.dir / f"state-{state}", *map(str, args[1:])],
                              stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=300,
                              env={"PATH": os.environ["PATH"], **(env or {})})

    def enrol(self, source="emr", **more):
        token, fingerprint = self.invite(source)
        done = self.try_enrol(token, fingerprint, state=source, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return token, fingerprint

    def try_enrol(self, token, fingerprint, **more):
        return self.agent("enrol", "--server", self.intake.server, "--ca-fingerprint", fingerprint, "--token-file",
                          token, **more)

    def try_push(self, *args, state="emr", **more):
        return self.agent("backup", "--server", self.intake.server, "--json", "--tries", "1", *args, state=state, **more)

    def push(self, *args, code=0, **more):
        done = self.try_push(*args, **more)
        self.assertEqual(done.returncode, code, (done.stderr, self.intake.said()))
        return json.loads(done.stdout)

    def refused(self, done, says="", code=4):
        self.assertEqual(done.returncode, code, (done.stdout, done.stderr, self.intake.said()))
        self.assertIn(says, done.stderr.decode())

    def hears(self, what):
        """The intake says so, in its own time."""
        until(lambda: what in self.intake.said(), f"{what}: not in {self.intake.said()}")

    def snapshots(self):
        return self.rows("--vault", "vault", "snapshots")

    def kept(self, snapshot, path):
        """SHA-256 of a file in a snapshot."""
        done = self.run_dozo("--vault", "vault", "--key", "key", "cat", snapshot, str(path).lstrip("/"))
        self.assertEqual(done.returncode, 0, done.stderr)
        return hashlib.sha256(done.stdout).hexdigest()
