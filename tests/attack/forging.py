"""What the tests of forged leaves share: dozo, the operators' keys, and forge_leaf.

    test_X.py DOZO FORGE_LEAF

alice, bob and carol are operators, and any two of them approve; mallory is none."""
import hashlib
import json
import os
import pathlib
import subprocess
import sys

DOZO, FORGE = map(os.path.abspath, sys.argv[1:3])
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
RELEASE, PRUNE_INTENT, PRUNE_DONE, POLICY, CLOCK_TICK, CLOCK_EVENT, OPERATOR_ADD, OPERATOR_REMOVE = 4, 5, 6, 9, 10, 11, 12, 13
REQUEST, APPROVE, SETTLED = 21, 22, 23
NAMES = ["alice", "bob", "carol", "mallory"]


def at(day, jump):
    """An environment in which so many days have passed, or the wall clock only says so."""
    return {**os.environ, "LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{day:+}d", "NO_FAKE_STAT": "1",
            **({"DONT_FAKE_MONOTONIC": "1"} if jump else {})}


def run(*command, code=0, text=None, day=None, jump=False):
    """Its output, and it must exit with `code`; or its exit code, if that is None."""
    done = subprocess.run([*map(str, command)], input=text, capture_output=True, text=True, check=False,
                          env=None if day is None else at(day, jump))
    if code is not None and done.returncode != code:
        sys.exit(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout if code is not None else done.returncode


def dozo(*args, vault="vault", **more):
    return run(DOZO, "--vault", vault, *args, **more)


def rows(*args, **more):
    return [json.loads(line) for line in dozo("--json", *args, **more).splitlines()]


def forge(kind, request, text, vault="vault", objects=(), day=None):
    """Appends a leaf; `objects` are (type, name)."""
    named = [f"{what}:{name}" for what, name in objects]
    run(FORGE, vault, kind, request or "-", *named, text=json.dumps(text), day=day)


def make_operators():
    for name in NAMES:
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name)
    pathlib.Path("operators").write_text("".join(pathlib.Path(f"{n}.pub").read_text() for n in NAMES[:3]))


def ask(*args, vault="vault", **more):
    """(its name, its text)"""
    name = json.loads(dozo("--json", "request", *args, "--why", "because", vault=vault, **more))["request"]
    return name, dozo("requests", "--text", name, vault=vault, **more)


def sign(key, text):
    pathlib.Path("text").write_text(text)
    pathlib.Path("text.sig").unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-Y", "sign", "-n", "dozo-approval", "-f", key, "text")
    return pathlib.Path("text.sig").read_text()


def approve(request, signature, **more):
    forge(APPROVE, request, {"signature": signature}, **more)


def name_of(text):
    return hashlib.sha256(text.encode()).hexdigest()
