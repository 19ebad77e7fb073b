#!/usr/bin/env python3
"""No vault directory, however hostile, makes a command crash, hang or eat the machine.

  test_hostile_vault.py DOZO [--seconds N] [--seed N] [--no-memory-limit] [CASE...]

A small good vault is copied, something is done to the copy, and every command runs over it.  Each
must end in time, within its memory, with an exit code of 0 to 4 and, unless it is 0, a message; what
it gives while it says 0 must be what was kept.  First each structural case, then random ones until
the time is over (a case is named by its number: give it to run it alone)."""
import argparse
import collections
import concurrent.futures
import hashlib
import os
import pathlib
import random
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

MEMORY = 2 << 30    # bytes of address space that a command may have
RESIDENT = 600      # MiB that it may really use
TIMEOUT = 30        # seconds on a busy machine; a command takes a few hundredths of one
TiB = 1 << 40

args = argparse.ArgumentParser()
args.add_argument("dozo")
args.add_argument("--seconds", type=float, default=20)
args.add_argument("--seed", type=int, default=int(time.time()))
args.add_argument("--no-memory-limit", action="store_true")
args.add_argument("cases", nargs="*")
args = args.parse_args()
failures = []
counted = threading.Lock()
ran = collections.Counter()  # commands by exit code
most = [0, ""]               # MiB, by whom


def run(*command, timeout=TIMEOUT):
    """(exit code or None, output, errors, MiB)"""
    limits = ["prlimit", "--core=0", f"--cpu={timeout}", f"--fsize={1 << 30}"]
    if not args.no_memory_limit:
        limits.append(f"--as={MEMORY}")
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen([*limits, args.dozo, *map(str, command)], stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=err)
        timer = threading.Timer(timeout, child.kill)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        timed_out = not timer.is_alive()
        timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return None if timed_out else child.returncode, out.read(), err.read(), usage.ru_maxrss >> 10


# ---- what is done to a file of the vault ----
def replaced(make):
    """A mutation that puts something else where a file or directory was."""
    def mutate(path):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        make(path)
    return mutate


def rewritten(change):
    def mutate(path):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(change(data))
    return mutate


def stretched(path):
    path.chmod(0o600)
    os.truncate(path, TiB)


def make_socket(path):
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


FILE_CASES = {
    "gone": replaced(lambda p: None),
    "empty": rewritten(lambda d: b""),
    "half": rewritten(lambda d: d[:len(d) // 2]),
    "one byte more": rewritten(lambda d: d + b"x"),
    "zeros": rewritten(lambda d: bytes(len(d))),
    "all ones": rewritten(lambda d: b"\xff" * len(d)),
    "head of ones": rewritten(lambda d: d[:12] + b"\xff" * len(d[12:64]) + d[64:]),
    "tail of ones": rewritten(lambda d: d[:-48] + b"\xff" * 40 + d[-8:]),
    "a tebibyte": stretched,
    "a FIFO": replaced(os.mkfifo),
    "a socket": replaced(make_socket),
    "a directory": replaced(lambda p: (p / "in/side").mkdir(parents=True)),
    "a link to passwd": replaced(lambda p: p.symlink_to("/etc/passwd")),
    "a link to zeros": replaced(lambda p: p.symlink_to("/dev/zero")),
    "a link to itself": replaced(lambda p: p.symlink_to(p.name)),
    "not readable": lambda p: p.chmod(0),
}
if os.geteuid() == 0:
    FILE_CASES["a device"] = replaced(lambda p: os.mknod(p, stat.S_IFCHR | 0o600, os.makedev(1, 5)))


# ---- what is done to a directory of the vault ----
def garbage(path):
    deep = path
    for i in range(60):
        deep = deep / ("deeper and deeper %d" % i)
    deep.mkdir(parents=True)
    for name in ["a" * 255, "\n\x1b[31m", "-rf", "x000", "001.p", "w-", "path-", "damaged~", ".run", "f" * 64, "F" * 64]:
        (path / name).write_bytes(os.urandom(100))
    (path / ("0" * 64)).mkdir(exist_ok=True)
    os.mkfifo(path / ("1" * 64))
    (path / ("2" * 64)).symlink_to("/dev/zero")
    os.mkfifo(path / ("3" * 32 + ".run"))
    os.mkfifo(path / "w-0123456789abcdef")


def crowd(path):
    for i in range(10_000):
        (path / hashlib.sha256(b"%d" % i).hexdigest()).touch()


DIR_CASES = {
    "gone": replaced(lambda p: None),
    "a file": replaced(lambda p: p.write_bytes(b"x" * 1000)),
    "a FIFO": replaced(os.mkfifo),
    "a link elsewhere": replaced(lambda p: p.symlink_to("/etc")),
    "a link to itself": replaced(lambda p: p.symlink_to(p.name)),
    "garbage": garbage,
    "a crowd": crowd,
    "not readable": lambda p: p.chmod(0),
}


# ---- where no key is needed to make it look right ----
def renamed(change):
    """A file named by its hash, changed and named anew."""
    def mutate(path):
        data = change(path.read_bytes())
        path.unlink()
        path.with_name(hashlib.sha256(data).hexdigest()).write_bytes(data)
    return mutate


def le(value, n=8):
    return value.to_bytes(n, "little")


def patched(at, value):
    def change(data):
        where = at if at >= 0 else len(data) + at
        return data[:where] + value + data[where + len(value):]
    return change


def vast_cache(path):
    data = path.read_bytes()
    path.unlink()
    slots = (TiB - 64) // 16
    path.write_bytes(data[:24] + le(0) + le(slots) + le(0) + data[48:64])
    os.truncate(path, 64 + 16 * slots)


FORGED = {
    "pack: vast table": ("packs/*", renamed(patched(-24, le(2**63)))),
    "pack: table from nowhere": ("packs/*", renamed(patched(-32, le(2**64 - 40)))),
    "pack: largest table": ("packs/*", renamed(lambda d: d[:32] + bytes((32 << 20) + 16) + d[-48:-32] + le(32)
                                              + le((32 << 20) + 16) + d[-16:])),
    "pack: another vault": ("packs/*", renamed(patched(16, b"another vault ab"))),
    "pack: newer": ("packs/*", renamed(patched(8, le(2, 2)))),
    "pack: vast segment": ("packs/*", renamed(patched(40, le(2**32 - 1, 4)))),
    "commit: vast part": ("commits/*", renamed(patched(48, b"\xff" * 9 + b"\1"))),
    "commit: 5 MiB": ("commits/*", renamed(lambda d: d + bytes(5 << 20))),
    "log: vast size": ("log/checkpoint", rewritten(lambda d: d.replace(b"\n3\n", b"\n1099511627776\n"))),
    "log: long checkpoint": ("log/checkpoint", rewritten(lambda d: d + "— x AAAA\n".encode() * 200_000)),
    "log: long leaf": ("log/tile/entries/000.p/3", rewritten(patched(0, b"\xff\xff"))),
    "config: anchors": ("vault.yaml", rewritten(lambda d: d + b"a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b]\n")),
    "config: brackets": ("vault.yaml", rewritten(lambda d: d + b"x: " + b"[" * 250_000)),
    "config: indents": ("vault.yaml", rewritten(lambda d: d + b"x:\n" + b"".join(b" " * i + b"- \n" for i in range(1, 700)))),
    "config: host key is a device": ("vault.yaml", rewritten(lambda d: d.replace(b'"host.key"', b'"/dev/zero"'))),
    "config: host key is a FIFO": ("vault.yaml", lambda p: (os.mkfifo(p.with_name("fifo")), rewritten(
        lambda d: d.replace(b'"host.key"', b'"fifo"'))(p))),
    "cache: vast table": ("cache/path-*", vast_cache),
    "index: all counts": ("index/*", rewritten(lambda d: d[:64] + b"\xff" * 48 + d[112:])),
}


# ---- the vault, and what must come back ----
class Good:
    def __init__(self, top):
        self.top, self.vault, self.key, self.tree = top, top / "vault", top / "key", top / "tree"
        rng = random.Random(1)
        (self.tree / "sub").mkdir(parents=True)
        for i in range(30):
            (self.tree / f"sub/file{i}").write_bytes(rng.randbytes(i * 50))
        (self.tree / "large").write_bytes(rng.randbytes(1 << 20))
        self.must("init", self.vault, "--key-file", self.key)
        for i in range(2):
            (self.tree / "new").write_bytes(b"%d" % i)
            time.sleep(0.05)
            self.must("--vault", self.vault, "backup", "--source", "s", self.tree)
        self.name = str(self.tree / "large")[1:]
        self.content = (self.tree / "large").read_bytes()
        self.listing = self.must("--vault", self.vault, "--key", self.key, "ls", "-R", "latest")

    @staticmethod
    def must(*command):
        code, out, err, _ = run(*command)
        if code != 0:
            sys.exit(f"failed: {command} gives {code}\n{err.decode(errors='replace')}")
        return out

    def commands(self, vault, restored):
        opened = ["--vault", vault, "--key", self.key]
        yield ["--vault", vault, "snapshots"], None
        yield [*opened, "ls", "-R", "latest"], self.listing
        yield [*opened, "cat", "latest", self.name], self.content
        yield [*opened, "restore", "latest", "--to", restored], None
        yield ["--vault", vault, "status"], None
        yield ["--vault", vault, "log"], None
        yield ["--vault", vault, "verify"], None
        yield ["--vault", vault, "backup", "--source", "s", self.tree], None
        yield [*opened, "verify", "--data"], None
        yield ["--vault", vault, "rebuild"], None


def complain(case, command, what, err=b""):
    shown = " ".join(map(str, command))
    failures.append(f"{case}: {shown}: {what}\n    {err[:600].decode(errors='replace')}")


def judge(case, command, want, result):
    code, out, err, resident = result
    if code is None:
        return complain(case, command, f"not done in {TIMEOUT} s", err)
    if not 0 <= code <= 4:
        return complain(case, command, f"exit code {code}", err)
    if code != 0 and not (out + err).strip():
        return complain(case, command, f"exit code {code} without a word")
    if not args.no_memory_limit and resident > RESIDENT:
        return complain(case, command, f"{resident} MiB")
    if code == 0 and want is not None and out != want:
        return complain(case, command, "exit code 0 with another result", err)
    if b"root:x:" in out + err:
        return complain(case, command, "shows a file that is none of its business")


def try_case(good, case, mutate):
    if args.cases and case not in args.cases:
        return
    with tempfile.TemporaryDirectory(dir=good.top) as room:
        vault = pathlib.Path(room) / "vault"
        shutil.copytree(good.vault, vault)
        mutate(vault)
        for command, want in good.commands(vault, pathlib.Path(room) / "restored"):
            result = run(*command)
            judge(case, command, want, result)
            with counted:
                ran[result[0]] += 1
                most[:] = max(most, [result[3], f"{case}: {command[-1]}"])
        for path in vault.rglob("*"):  # so that it can be deleted
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)


def structural(good):
    first = {"pack": "packs/*", "commit": "commits/*", "index run": "index/*", "path cache": "cache/path-*"}
    files = {f"{what} {i}": path.relative_to(good.vault) for what, pattern in first.items()
             for i, path in enumerate(sorted(good.vault.glob(pattern))[:2 if what == "pack" else 1])}
    files.update((name, pathlib.Path(name)) for name in [
        "vault.yaml", "host.key", "log/checkpoint", "log/lock", "log/tile/0/000.p/3", "log/tile/entries/000.p/3"])
    for name, path in files.items():
        for what, mutate in FILE_CASES.items():
            yield f"{name}: {what}", lambda v, m=mutate, p=path: m(v / p)
    for name in ["packs", "commits", "log", "index", "cache", "tmp", "log/tile", "log/tile/entries"]:
        for what, mutate in DIR_CASES.items():
            yield f"{name}/: {what}", lambda v, m=mutate, p=name: m(v / p)
    for what, (pattern, mutate) in FORGED.items():
        yield what, lambda v, m=mutate, p=pattern: m(sorted(v.glob(p))[0])


def random_case(seed):
    def mutate(vault):
        rng = random.Random(seed)
        for _ in range(rng.choice([1, 1, 2, 5])):
            files = sorted(p for p in vault.rglob("*") if p.is_file() and not p.is_symlink())
            path = rng.choice(files)
            data, at = bytearray(path.read_bytes()), 0
            if data:
                at = rng.randrange(len(data))
                how = rng.randrange(4)
                if how == 0:
                    data[at] ^= 1 << rng.randrange(8)
                elif how == 1:
                    data[at:at + 8] = rng.choice([b"\xff" * 8, bytes(8), rng.randbytes(8)])
                elif how == 2:
                    del data[at:at + rng.randrange(1, 100)]
                else:
                    data[at:at] = data[:rng.randrange(1, 5000)]
            path.unlink()
            if len(path.name) == 64 and rng.random() < 0.5:
                path = path.with_name(hashlib.sha256(data).hexdigest())
            path.write_bytes(data)
    return mutate


def main():
    print(f"seed {args.seed}")
    with tempfile.TemporaryDirectory(prefix="dozo-attack-") as top, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        good = Good(pathlib.Path(top).resolve())
        jobs = [pool.submit(try_case, good, case, mutate) for case, mutate in structural(good)]
        for job in jobs:
            job.result()
        end, n = time.monotonic() + args.seconds, 0
        while (not args.cases and time.monotonic() < end) or n == 0:
            some = [f"random {args.seed + n + i}" for i in range(8)]
            some = [c for c in args.cases if c.startswith("random ")] if args.cases else some
            for job in [pool.submit(try_case, good, c, random_case(int(c.split()[1]))) for c in some]:
                job.result()
            n += max(len(some), 1)
    for failure in failures:
        print("FAILED", failure)
    codes = ", ".join(f"{n} gave {code}" for code, n in sorted(ran.items(), key=str))
    print(f"{ran.total()} commands over hostile vaults ({codes}); at most {most[0]} MiB ({most[1]}); "
          f"{len(failures)} failures")
    return 1 if failures else 0


sys.exit(main())
