#!/usr/bin/env python3
"""With a stolen agent's key, or with none, and a client written by hand: what the network lets one do.

  test_wire.py DOZO

A vault listens on loopback.  "honest" sends again and again; "stolen" is an agent whose directory an intruder
copied.  Each attempt says what it saw; a table says what was expected.  At the end the honest source's
snapshots are compared with what it sent, the vault is verified, and nothing may be left of the attempts."""
import hashlib
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

DOZO = os.path.abspath(sys.argv[1])
INTAKE, AGENT = (str(pathlib.Path(DOZO).with_name(name)) for name in ("dozo-intake", "dozo-agent"))
ENV = {"PATH": os.environ["PATH"]}
EVIL = "127.0.0.2"  # where the intruder sits
HELLO, BEGIN, HAVE, CHUNK, REFS, ENTRY, COMMIT, ENROL = 1, 3, 5, 7, 9, 11, 15, 17
NOT_ALLOWED, BAD_FRAME, BAD_CHUNK, NOT_YOURS, MISMATCH = 2, 3, 4, 5, 10
PATIENCE = 90


def run(*command, code=0):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=ENV, timeout=300)
    if done.returncode != code:
        sys.exit(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def dozo(*args, **more):
    return run(DOZO, "--vault", "vault", *args, **more)


def rows(*args):
    return [json.loads(line) for line in dozo("--json", *args).splitlines()]


def openssl(*args, data=b""):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


# --- a client ---------------------------------------------------------------------------------------------------

def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(data):
    return varint(len(data)) + data


def frame(kind, payload=b""):
    return struct.pack("<BBI", kind, 0, len(payload)) + payload


def entry(path, size):
    record = bytes([1]) + varint(0o644) + bytes(4) + varint(size) + b"\0"
    return frame(ENTRY, b"\0" + field(path) + field(record))


def chunk(data, name=None):
    return frame(CHUNK, (name or hashlib.sha256(data).digest()) + data)


def commit(entries, size):
    return frame(COMMIT, varint(entries) + varint(size))


class Identity:
    """What stands in an agent's directory, as files for OpenSSL."""

    def __init__(self, name):
        self.source = name
        self.key, self.cert = pathlib.Path(f"{name}.key"), pathlib.Path(f"{name}.pem")
        seed, data = pathlib.Path(f"state-{name}/key").read_bytes(), pathlib.Path(f"state-{name}/identity").read_bytes()
        self.key.write_bytes(openssl("pkey", "-inform", "DER", data=bytes.fromhex("302e020100300506032b657004220420") + seed))
        at, fields = 0, []
        while at < len(data):
            n, shift = 0, 0
            while True:
                byte, at = data[at], at + 1
                n, shift = n | (byte & 127) << shift, shift + 7
                if byte < 128:
                    break
            fields.append(data[at:at + n])
            at += n
        self.cert.write_bytes(openssl("x509", "-inform", "DER", data=fields[1]))

    def sign(self, digest):
        pathlib.Path("digest").write_bytes(digest)
        return openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(self.key), "-in", "digest")


class Client:
    def __init__(self, who=None, **more):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for name, value in more.items():
            setattr(context, name, value)
        if who:
            context.load_cert_chain(who.cert, who.key)
        self.who, self.heard = who, b""
        plain = socket.create_connection(("127.0.0.1", PORT), PATIENCE, source_address=(EVIL, 0))
        self.tls = context.wrap_socket(plain)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def say(self, data):
        self.tls.sendall(data)

    def hear(self):
        """The next frame: (type, payload); (0, why) at the end."""
        while True:
            if len(self.heard) >= 6:
                kind, _, size = struct.unpack_from("<BBI", self.heard)
                if len(self.heard) >= 6 + size:
                    payload, self.heard = self.heard[6:6 + size], self.heard[6 + size:]
                    if kind != 8:
                        return kind, payload
                    continue
            try:
                more = self.tls.recv(65536)
            except (ssl.SSLError, OSError) as why:
                return 0, str(why).encode()
            if not more:
                return 0, b"closed"
            self.heard += more

    def refused(self):
        """What came instead of an answer."""
        kind, payload = self.hear()
        if kind == 14:
            return f"refused {struct.unpack_from('<H', payload)[0]}"
        return f"TAKEN: {kind}" if kind else "closed"

    def hello(self):
        self.say(frame(HELLO, b"DOZO" + struct.pack("<HH", 1, 1)))
        kind, payload = self.hear()
        assert kind == 2, (kind, payload)
        return payload[2:]

    def begin(self, nonce, source=None, run_id=None, proof=None):
        head = field((source or self.who.source).encode()) + (run_id or os.urandom(16)) + field(b"evil") + b"\0\0"
        if proof is None:
            proof = self.who.sign(hashlib.sha256(b"dozo wire v1 begin\0" + nonce + head + b"\0").digest())
        self.last = frame(BEGIN, head + field(proof))
        self.say(self.last)

    def started(self, **more):
        self.begin(self.hello(), **more)
        kind, payload = self.hear()
        assert kind == 4, (kind, payload)
        return self


def in_a_run(*frames):
    with Client(STOLEN).started() as c:
        try:
            c.say(b"".join(frames))
        except (ssl.SSLError, OSError):
            pass
        return c.refused()


# --- attempts ---------------------------------------------------------------------------------------------------

def another_sources_name():
    with Client(STOLEN) as c:
        c.begin(c.hello(), source="honest")
        return c.refused()


def its_own_name_unsigned():
    with Client(STOLEN) as c:
        c.begin(c.hello(), proof=b"")
        return c.refused()


def a_begin_of_another_connection_replayed():
    with Client(STOLEN).started() as c:
        replay = c.last
    with Client(STOLEN) as c:
        c.hello()
        c.say(replay)
        return c.refused()


def a_message_that_does_not_exist():
    return " ".join(sorted({in_a_run(frame(kind, bytes(16))) for kind in (0, 2, 4, 6, 10, 19, 21, 33, 254, 255)}))


def bytes_that_are_not_what_they_are_called():
    return in_a_run(chunk(b"rubbish", hashlib.sha256(b"treasure").digest()))


def naming_what_the_honest_source_sent():
    return in_a_run(frame(REFS, varint(len(HONEST)) + hashlib.sha256(HONEST).digest()), entry(b"a", len(HONEST)), commit(1, len(HONEST)))


def asking_whether_the_honest_source_has_a_chunk():
    with Client(STOLEN).started() as c:
        c.say(frame(HAVE, hashlib.sha256(HONEST).digest()))
        kind, payload = c.hear()
        return "not told" if (kind, payload) == (6, b"\1\0\0") else f"TAKEN: {payload.hex()}"


def a_name_that_leads_elsewhere():
    return " ".join(sorted({in_a_run(entry(p, 0), commit(1, 0)) for p in (b"../x", b"/etc/passwd", b"a//b", b"./a", b"a\0b")}))


def a_commit_that_counts_otherwise():
    return in_a_run(chunk(b"x"), entry(b"a", 1), commit(2, 1))


def a_gigantic_frame():
    return in_a_run(struct.pack("<BBI", CHUNK, 0, 0xffffffff) + bytes(65536))


def out_of_turn():
    with Client(STOLEN) as c:
        c.hello()
        c.say(commit(0, 0))
        return c.refused()


def a_stranger_who_begins():
    dozo("enrol", "other")
    with Client() as c:
        c.hello()
        c.say(frame(BEGIN, field(b"honest") + bytes(16) + bytes(3) + field(bytes(64))))
        return c.refused()


def tokens_guessed():
    seen = set()
    for n in range(12):
        with Client() as c:
            nonce = c.hello()
            body = hashlib.sha256(b"%d" % n).digest()[:16] + STOLEN_KEY
            proof = STOLEN.sign(hashlib.sha256(b"dozo wire v1 enrol\0" + nonce + body).digest())
            c.say(frame(ENROL, body + proof))
            seen.add(c.refused())
    dozo("enrol", "--revoke", "other")
    return " ".join(sorted(seen))


def handshake(*args, **more):
    try:
        with Client(*args, **more) as c:
            c.say(frame(HELLO, b"DOZO" + struct.pack("<HH", 1, 1)))
            return c.refused()
    except (ssl.SSLError, OSError):
        return "closed"


def tls_1_2():
    return handshake(STOLEN, maximum_version=ssl.TLSVersion.TLSv1_2)


def no_certificate_while_nobody_is_invited():
    return handshake()


def a_certificate_of_its_own():
    openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "own.key", "-out", "own.pem", "-subj", "/name=honest")
    own = Identity.__new__(Identity)
    own.source, own.key, own.cert = "honest", "own.key", "own.pem"
    return handshake(own)


def a_revoked_certificate():
    dozo("enrol", "--revoke", "revoked")
    return handshake(Identity("revoked"))


def tcp():
    return socket.create_connection(("127.0.0.1", PORT), PATIENCE, source_address=(EVIL, 0))


def ended(connection):
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass
    connection.close()


def half_open():
    """Connections that say nothing: more than an address may have; all are ended."""
    idle = [tcp() for _ in range(30)]
    for connection in idle:
        ended(connection)
    return "closed"


def rubbish_instead_of_tls():
    rng = random.Random(5)
    for n in range(20):
        connection = tcp()
        try:
            connection.sendall(rng.randbytes(1 << n % 17))
            connection.shutdown(socket.SHUT_WR)  # one that waits for more gets no more
        except OSError:
            pass
        ended(connection)
    return "closed"


def a_slow_handshake():
    connection = tcp()
    try:
        for byte in bytes.fromhex("1603010200010001fc0303") + bytes(500):
            connection.sendall(bytes([byte]))
            time.sleep(0.1)
    except OSError:
        return "closed"
    return "TAKEN"


def endless():
    """Questions without end, whose answers nobody reads: it stops taking them, and grows no more."""
    with Client(STOLEN).started() as c:
        c.tls.settimeout(2)
        question, said = frame(HAVE, os.urandom(32) * 1024), 0
        try:
            while said < 256 << 20:
                c.say(question)
                said += len(question)
        except (ssl.SSLError, OSError):
            pass
        largest = max(memory(pid) for pid in parts())
        return "bounded" if largest < 192 << 20 else f"TAKEN: {largest} bytes"


def truncated():
    whole = chunk(b"x" * 1000) + entry(b"a", 1000) + commit(1, 1000)
    for cut in (0, 3, 6, 500, 1030, 1045, len(whole) - 1):
        with Client(STOLEN).started() as c:
            c.say(whole[:cut])
    return "no snapshot"


def mutated():
    """One bit of a run's frames turned round: refused, or another run of this source's own."""
    whole, rng, seen = chunk(b"x" * 100) + entry(b"a", 100) + commit(1, 100), random.Random(7), set()
    for _ in range(25):
        bad, at = bytearray(whole), rng.randrange(len(whole) * 8)
        bad[at // 8] ^= 1 << at % 8
        with Client(STOLEN).started() as c:
            c.tls.settimeout(1)  # one that waits for more of a frame waits in vain
            c.say(bytes(bad))
            seen.add(c.refused().split()[0])
    return "its own at most" if seen <= {"refused", "closed", "TAKEN:"} else " ".join(seen)


def the_same_run_twice():
    made = set()
    for n in range(2):
        with Client(STOLEN) as c:
            c.begin(c.hello(), run_id=b"r" * 16)
            kind, payload = c.hear()
            if n == 0:
                c.say(chunk(b"y") + entry(b"a", 1) + commit(1, 1))
                kind, payload = c.hear()
            assert kind == 10, kind
            made.add(payload)
    return "one snapshot" if len(made) == 1 else f"TAKEN: {len(made)}"


def again_and_again():
    """The stolen key comes back before it is done: it disturbs itself alone."""
    for _ in range(20):
        with Client(STOLEN) as c:
            c.hello()
    return "no snapshot"


def a_thousand_connections():
    many = []
    for n in range(1000):
        try:
            many.append(socket.create_connection(("127.0.0.1", PORT), PATIENCE, source_address=(f"127.0.0.{2 + n % 200}", 0)))
        except OSError:
            pass
    most = len(parts())
    for connection in many:
        connection.close()
    return "bounded" if most <= 1 + 64 + 16 else f"TAKEN: {most} processes"


EXPECTED = {
    another_sources_name: "refused 2", its_own_name_unsigned: "refused 2",
    a_begin_of_another_connection_replayed: "refused 2", a_message_that_does_not_exist: "refused 3",
    bytes_that_are_not_what_they_are_called: "refused 4", naming_what_the_honest_source_sent: "refused 5",
    asking_whether_the_honest_source_has_a_chunk: "not told", a_name_that_leads_elsewhere: "refused 3",
    a_commit_that_counts_otherwise: "refused 10", a_gigantic_frame: "refused 3", out_of_turn: "refused 3",
    a_stranger_who_begins: "refused 2", tokens_guessed: "refused 2", tls_1_2: "closed",
    no_certificate_while_nobody_is_invited: "closed", a_certificate_of_its_own: "closed",
    a_revoked_certificate: "refused 2", half_open: "closed", rubbish_instead_of_tls: "closed",
    a_slow_handshake: "closed", endless: "bounded", truncated: "no snapshot", mutated: "its own at most",
    the_same_run_twice: "one snapshot", again_and_again: "no snapshot", a_thousand_connections: "bounded",
}
MAKES = {mutated, the_same_run_twice}  # may add to the stolen source's snapshots


# --- the vault and the honest source ----------------------------------------------------------------------------

def parts():
    """The intake's processes."""
    found = [INTAKE_PROCESS.pid]
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if path.read_text().rsplit(")", 1)[1].split()[1] == str(INTAKE_PROCESS.pid):
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def memory(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def descriptors():
    return len(list(pathlib.Path(f"/proc/{INTAKE_PROCESS.pid}/fd").iterdir()))


def enrol(name, server):
    got = json.loads(dozo("--json", "enrol", name))
    pathlib.Path("token").write_text(got["token"])
    run(AGENT, "enrol", "--state", pathlib.Path(f"state-{name}").resolve(), "--server", server, "--ca-fingerprint",
        got["ca_fingerprint"], "--token-file", "token")


class Honest(threading.Thread):
    """Sends its tree, which changes, until it is told that it was enough."""

    def __init__(self, server):
        super().__init__()
        self.server, self.enough, self.sent, self.failed = server, threading.Event(), [], []

    def run(self):
        rng = random.Random(1)
        while not self.enough.is_set() or not self.sent:
            pathlib.Path("honest/new").write_bytes(data := rng.randbytes(2 << 20))
            done = subprocess.run(
                [AGENT, "backup", "--json", "--state", pathlib.Path("state-honest").resolve(), "--server", self.server,
                 "--limit-rate", "4MiB", "honest"], capture_output=True, check=False, env=ENV, timeout=300)
            if done.returncode:
                self.failed.append(done.stderr.decode())
            else:
                self.sent.append((json.loads(done.stdout)["snapshot"], hashlib.sha256(data).hexdigest()))


def others():
    """The snapshots of everybody but the intruder's source."""
    return {r["id"] for r in rows("snapshots") if r["source"] != "stolen"}


def mine():
    return {r["id"] for r in rows("snapshots") if r["source"] == "stolen"}


def main():
    global PORT, INTAKE_PROCESS, STOLEN, STOLEN_KEY, HONEST
    run(DOZO, "init", "vault", "--key-file", "key")
    log = open("intake.log", "wb")
    INTAKE_PROCESS = subprocess.Popen([INTAKE, "--vault", "vault", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                      stderr=log, stdin=subprocess.DEVNULL, env=ENV)
    PORT = int(INTAKE_PROCESS.stdout.readline().decode().rsplit(":", 1)[1])
    server = f"127.0.0.1:{PORT}"
    HONEST = b"what only the honest source has"
    pathlib.Path("honest").mkdir()
    pathlib.Path("honest/treasure").write_bytes(HONEST)
    for name in ("honest", "stolen", "revoked"):
        enrol(name, server)
    STOLEN = Identity("stolen")
    STOLEN_KEY = openssl("pkey", "-in", str(STOLEN.key), "-pubout", "-outform", "DER")[-32:]
    before = descriptors()
    honest = Honest(server)
    honest.start()
    failed = 0
    try:
        print(f"{'attempt':56} {'expected':16} seen")
        for attempt, expected in EXPECTED.items():
            had = mine()
            seen = attempt()
            if attempt not in MAKES and mine() != had:
                seen = "TAKEN: a snapshot"
            failed += seen != expected
            print(f"{attempt.__name__.replace('_', ' '):56} {expected:16} {seen}", flush=True)
    finally:
        honest.enough.set()
        honest.join()
    problems = honest.failed
    if others() != {snapshot for snapshot, _ in honest.sent}:
        problems.append("other snapshots than the honest source's stand beside the stolen one's")
    for snapshot, sha in honest.sent:
        data = subprocess.run([DOZO, "--vault", "vault", "--key", "key", "cat", snapshot,
                               str(pathlib.Path("honest/new").resolve()).lstrip("/")], capture_output=True, check=True,
                              env=ENV).stdout
        if hashlib.sha256(data).hexdigest() != sha:
            problems.append(f"snapshot {snapshot} is not what was sent")
    dozo("verify")
    end = time.monotonic() + PATIENCE
    while (len(parts()) > 1 or descriptors() > before) and time.monotonic() < end:
        time.sleep(0.1)
    if len(parts()) > 1 or descriptors() > before:
        problems.append(f"{len(parts())} processes and {descriptors()} descriptors are left, not 1 and {before}")
    INTAKE_PROCESS.send_signal(signal.SIGTERM)
    if INTAKE_PROCESS.wait(PATIENCE) != 0:
        problems.append("the intake did not end well")
    log.close()
    INTAKE_PROCESS.stdout.close()
    print(f"the honest source meanwhile: {len(honest.sent)} snapshots, as they were sent")
    if failed or problems:
        print(pathlib.Path("intake.log").read_text()[-4000:], *problems, sep="\n")
        sys.exit(f"{failed} of {len(EXPECTED)} attempts, {len(problems)} problems")


with tempfile.TemporaryDirectory(prefix="dozo-wire-") as directory:
    os.chdir(directory)
    try:
        main()
    finally:
        os.chdir("/")
