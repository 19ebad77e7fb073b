"""Agents: a machine enrols with a token, sends its trees over TLS, and is kept out when it is revoked."""
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading

from agent import AGENT, INTAKE, Agents, Intake, until
from harness import main, read, write

MIB = 1 << 20


def noise(path, size, seed=1):
    return write(path, random.Random(seed).randbytes(size))


def sha(path):
    return hashlib.sha256(read(path)).hexdigest()


class Cut:
    """A way to the vault that breaks: after so many bytes from the agent, the first time."""

    def __init__(self, port, after):
        self.port, self.after, self.broke = port, after, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()

    @property
    def server(self):
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.carry, args=(there, here, None), daemon=True).start()
            threading.Thread(target=self.carry, args=(here, there, None if self.broke else self.after),
                             daemon=True).start()

    def carry(self, source, target, left):
        try:
            while data := source.recv(65536):
                target.sendall(data)
                if left is not None:
                    left -= len(data)
                    if left < 0:
                        self.broke += 1
                        break
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        source.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Agent(Agents):
    @classmethod
    def prepare(cls):
        write("tree/カルテ/患者.txt", "synthetic")
        noise("tree/large", 3 * MIB)
        write("tree/empty")
        os.symlink("large", "tree/link")

    def test_a_machine_enrols_and_sends_what_comes_back(self):
        self.enrol()
        done = self.push("tree")
        self.assertEqual((done["source"], done["problems"], done["again"]), ("emr", 0, False))
        row, = self.snapshots()
        self.assertEqual((row["id"], row["source"]), (done["snapshot"], "emr"))
        self.good("--vault", "vault", "--key", "key", "restore", "latest", "--to", "back")
        there = self.dir / "back" / str(self.dir).lstrip("/") / "tree"
        for name in ["カルテ/患者.txt", "large", "empty"]:
            self.assertEqual(read(there / name), read(self.dir / "tree" / name))
        self.assertEqual(os.readlink(there / "link"), "large")
        shutil.rmtree("back")
        again = self.push("tree")
        self.assertNotEqual(again["snapshot"], done["snapshot"])
        self.assertEqual(again["new_bytes"], 0, "what did not change is not sent twice")
        self.dozo("verify")
        kinds = [r["kind"] for r in self.rows("--vault", "vault", "log")]
        self.assertEqual(kinds[:4], ["genesis", "invite", "enrol", "commit"])

    def test_what_the_list_says(self):
        self.assertEqual(self.rows("--vault", "vault", "enrol", "--list"), [])
        self.invite("lab")
        self.enrol()
        emr, lab = self.rows("--vault", "vault", "enrol")
        self.assertEqual((emr["source"], emr["state"], len(emr["key_sha256"])), ("emr", "enrolled", 64))
        self.assertEqual((lab["source"], lab["state"]), ("lab", "invited"))
        self.assertIn("enrolled since", self.dozo("enrol", "--list"))
        self.dozo("enrol", "--revoke", "emr")
        self.dozo("enrol", "--revoke", "lab")
        self.assertEqual(self.rows("--vault", "vault", "enrol"), [])
        super(Agents, self).refused(3, "--vault", "vault", "enrol", "--revoke", "emr", says="no machine")
        super(Agents, self).refused(2, "--vault", "vault", "enrol", "emr", "--valid", "8d", says="7d")
        super(Agents, self).refused(2, "--vault", "vault", "enrol", "emr", "--list", says="one at a time")

    def test_a_token_is_used_once(self):
        token, fingerprint = self.enrol()
        self.invite("other")  # so that strangers are let in at all
        self.refused(self.try_enrol(token, fingerprint, state="thief"), "refuses, reason 2")
        self.hears("was used before")
        self.refused(self.try_enrol(token, fingerprint), "is enrolled")
        self.push("tree/empty")

    def test_a_token_that_is_over_is_refused(self):
        token, fingerprint = self.invite("emr", "--valid", "1s")
        self.invite("other")
        until(lambda: self.rows("--vault", "vault", "enrol")[0]["source"] != "emr", "the token is over")
        self.refused(self.try_enrol(token, fingerprint), "refuses, reason 2")
        self.hears("is over")

    def test_a_guessed_token_is_refused(self):
        _, fingerprint = self.invite("emr")
        self.refused(self.try_enrol(write("guess", "00" * 16), fingerprint), "refuses, reason 2")
        self.refused(self.try_enrol(write("guess", "hello"), fingerprint), "holds no token", code=2)

    def test_the_token_is_not_shown_to_another_vault(self):
        token, fingerprint = self.invite("emr")
        wrong = ("0" if fingerprint[0] != "0" else "1") + fingerprint[1:]
        self.refused(self.try_enrol(token, wrong), "not our vault")
        self.assertEqual(self.rows("--vault", "vault", "enrol")[0]["state"], "invited")
        self.assertEqual(self.try_enrol(token, fingerprint).returncode, 0)

    def test_who_is_revoked_is_refused_and_may_enrol_anew(self):
        self.enrol()
        self.push("tree/empty")
        self.dozo("enrol", "--revoke", "emr")
        self.refused(self.try_push("tree/empty"), "revoked")
        self.hears("no longer counts")
        self.assertEqual(len(self.snapshots()), 1)
        shutil.rmtree("state-emr")
        self.enrol()
        self.push("tree/empty")

    def test_who_is_revoked_meanwhile_makes_no_snapshot(self):
        self.enrol()
        noise("slow", 2 * MIB, 7)
        agent = subprocess.Popen(
            [AGENT, "backup", "--state", self.dir / "state-emr", "--server", self.intake.server, "--tries", "1",
             "--limit-rate", "512KiB", "slow"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until(lambda: "emr is connected" in self.intake.said(), "it begins")
        agent.send_signal(signal.SIGSTOP)  # however long it takes us
        self.dozo("enrol", "--revoke", "emr")
        agent.send_signal(signal.SIGCONT)
        said = agent.communicate(timeout=120)[1].decode()
        self.assertEqual(agent.returncode, 4, said)
        self.assertEqual(self.snapshots(), [])

    def test_a_machine_that_enrols_anew_takes_the_place_of_the_one_before(self):
        self.enrol()
        os.rename("state-emr", "state-old")
        self.enrol()
        self.push("tree/empty")
        self.refused(self.try_push("tree/empty", state="old"), "enrolled anew")

    def test_a_cut_connection_goes_on_where_it_was(self):
        self.enrol()
        noise("much", 24 * MIB, 3)
        way = Cut(self.intake.port, 8 * MIB)
        done = self.agent("backup", "--server", way.server, "--json", "much")
        way.close()
        self.assertEqual((done.returncode, way.broke), (0, 1), done.stderr)
        self.assertEqual(len(self.snapshots()), 1)
        self.assertEqual(self.kept("latest", self.dir / "much"), sha("much"))
        self.hears("broke off")
        self.dozo("verify")

    def test_a_vault_that_restarts_costs_nothing_but_time(self):
        for how in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(how):
                source = f"s{int(how)}"
                self.enrol(source)
                noise("much", 6 * MIB, int(how))
                before = self.intake.said().count(f"{source} is connected")
                agent = subprocess.Popen(
                    [AGENT, "backup", "--state", self.dir / f"state-{source}", "--server", self.intake.server,
                     "--limit-rate", "2MiB", "much"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                until(lambda s=source, n=before: self.intake.said().count(f"{s} is connected") > n, "it begins")
                agent.send_signal(signal.SIGSTOP)
                self.assertEqual(self.intake.stop(how), 0 if how == signal.SIGTERM else -how)
                self.intake.start()
                agent.send_signal(signal.SIGCONT)
                said = agent.communicate(timeout=240)[1].decode()
                self.assertEqual(agent.returncode, 0, (said, self.intake.said()))
                self.assertIn("trying again", said)
                row, = [r for r in self.snapshots() if r["source"] == source]
                self.assertEqual(self.kept(row["id"], self.dir / "much"), sha("much"))

    def test_older_tls_and_no_certificate_are_refused(self):
        self.enrol()

        def connect(**more):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            for name, value in more.items():
                setattr(context, name, value)
            with socket.create_connection(("127.0.0.1", self.intake.port), 60) as plain:
                with context.wrap_socket(plain) as tls:
                    tls.sendall(bytes.fromhex("010008000000444f5a4f01000100"))
                    return tls.recv(64)

        with self.assertRaises(ssl.SSLError) as failed:
            connect(maximum_version=ssl.TLSVersion.TLSv1_2)
        self.assertIn("PROTOCOL_VERSION", str(failed.exception).upper().replace(" ", "_"))
        with self.assertRaises((ssl.SSLError, ConnectionError)):  # nobody is invited
            connect()
        self.invite("other")
        self.assertEqual(connect()[:1], b"\x02", "WELCOME, so that they can enrol")

    def test_what_speaks_tls_is_in_a_sandbox(self):
        self.invite("other")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.intake.port), 60) as plain:
            with context.wrap_socket(plain) as tls:
                tls.sendall(bytes.fromhex("010008000000444f5a4f01000100"))
                tls.recv(64)
                gates = [p.parent for p in pathlib.Path("/proc").glob("[0-9]*/cmdline")
                         if p.read_bytes() == b"/proc/self/exe\0--gate\0" and
                         f"PPid:\t{self.intake.process.pid}\n" in (p.parent / "status").read_text()]
                gate, = gates
                status = (gate / "status").read_text()
                for line in ("Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"):
                    self.assertIn(line, status)
                if os.geteuid() == 0:
                    self.assertIn("Uid:\t65534\t65534\t65534\t65534", status)
                    self.assertEqual(len(list((gate / "fd").iterdir())), 3)
                keeper, = [p.parent for p in pathlib.Path("/proc").glob("[0-9]*/cmdline")
                           if p.read_bytes() == b"/proc/self/exe\0--enrol\0vault\0" and
                           f"PPid:\t{self.intake.process.pid}\n" in (p.parent / "status").read_text()]
                status = (keeper / "status").read_text()
                self.assertIn("NoNewPrivs:\t1", status)
                # of root's powers only CAP_DAC_OVERRIDE (2^1)
                self.assertRegex(status, "CapEff:\t000000000000000[02]\n")

    def test_a_stranger_sends_nothing(self):
        self.invite("other")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        begin = b"\x03emr" + bytes(16) + b"\x00\x00\x00" + b"\x40" + bytes(64)
        with socket.create_connection(("127.0.0.1", self.intake.port), 60) as plain:
            with context.wrap_socket(plain) as tls:
                tls.sendall(bytes.fromhex("010008000000444f5a4f01000100"))
                self.assertEqual(tls.recv(64)[:1], b"\x02")
                tls.sendall(b"\x03\x00" + len(begin).to_bytes(4, "little") + begin)
                self.assertEqual(tls.recv(64)[:8], b"\x0e\x00\x05\x00\x00\x00\x02\x00", "REFUSED, not allowed")
        self.assertEqual(self.snapshots(), [])

    def test_an_ordinary_user_with_one_capability_reads_all(self):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("takes root and setpriv")
        write("private/secret", "synthetic")
        os.chmod("private/secret", 0o600)
        os.chmod("private", 0o700)
        os.chmod(self.dir, 0o711)
        token, fingerprint = self.invite("emr")
        os.chmod(token, 0o644)
        pathlib.Path("state-emr").mkdir(mode=0o700)
        os.chown("state-emr", 65534, 65534)
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search",
                "--ambient-caps=+dac_read_search"]
        if subprocess.run([*user, "true"], check=False, capture_output=True).returncode:
            self.skipTest("no capabilities here")
        done = self.try_enrol(token, fingerprint, user=user)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.push("private", user=user)
        self.assertEqual(self.kept("latest", self.dir / "private/secret"), sha("private/secret"))

    def test_the_state_is_the_agents_alone(self):
        self.enrol()
        os.chmod("state-emr", 0o755)
        self.refused(self.try_push("tree"), "0700")
        os.chmod("state-emr", 0o700)
        self.push(self.dir / "state-emr", "tree/empty")
        self.assertNotIn("key", self.good("--vault", "vault", "--key", "key", "ls", "latest", "-R"),
                         "it does not send its own key")

    def test_an_agent_has_nothing_that_reads(self):
        done = subprocess.run(["nm", AGENT], capture_output=True, text=True, check=True)
        self.assertIn(" dz_push_run\n", done.stdout)
        self.assertEqual(re.findall(r" dz_(?:vault|tlog|index|pack|segment|session|snapshot|fetch|keyfile|share|restore|"
                                    r"prune|mount|export)_\w+", done.stdout), [])

    def test_wrong_calls_say_how(self):
        for program, args in ((INTAKE, []), (INTAKE, ["--vault", "vault"]), (INTAKE, ["--vault", "v", "--listen", "x",
                              "--runs", "0"]), (AGENT, []), (AGENT, ["backup", "tree"]), (AGENT, ["restore"]),
                              (AGENT, ["enrol", "--server", "x:1"])):
            done = subprocess.run([program, *args], capture_output=True, text=True, check=False,
                                  env={"PATH": os.environ["PATH"]})
            self.assertEqual((done.returncode, "usage:" in done.stderr), (2, True), (program, args))
        done = subprocess.run([INTAKE, "--vault", "vault", "--listen", "::1"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, "HOST:PORT" in done.stderr), (3, True), done.stderr)


class NoSandbox(Agents):
    def setUp(self):
        super().setUp()
        self.intake.stop()
        self.intake = Intake("vault", "--no-sandbox")

    def test_for_development_it_goes_without(self):
        self.enrol()
        write("tree/file", "synthetic")
        self.assertEqual(self.push("tree")["problems"], 0)


class Runs(Agents):
    def setUp(self):
        super().setUp()
        self.intake.stop()
        self.intake = Intake("vault", "--runs", "1")

    def test_who_waits_is_served_in_turn(self):
        noise("a", 3 * MIB, 11)
        agents = []
        for source in ("one", "two", "three"):
            self.enrol(source)
        for source in ("one", "two", "three"):
            agents.append(subprocess.Popen(
                [AGENT, "backup", "--state", self.dir / f"state-{source}", "--server", self.intake.server, "--tries", "1",
                 "--limit-rate", "3MiB", "a"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        for agent in agents:
            said = agent.communicate(timeout=240)[1]
            self.assertEqual(agent.returncode, 0, said)
        self.assertEqual({r["source"] for r in self.snapshots()}, {"one", "two", "three"})


if __name__ == "__main__":
    main()
