#!/usr/bin/env python3
"""tools/read_vault.py agrees with vaults that dozo makes, and finds what was done to them."""
import hashlib, os, pathlib, random, shutil, subprocess, sys, tempfile

dozo, reader = sys.argv[1:3]


faketime = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def run(*args, day=0):
    """So many days later."""
    env = {**os.environ, "LD_PRELOAD": str(faketime), "FAKETIME": f"+{day}d", "NO_FAKE_STAT": "1"}
    return subprocess.run([dozo, *map(str, args)], check=True, capture_output=True, env=env)


def read(*args):
    r = subprocess.run([sys.executable, reader, *map(str, args)], capture_output=True, text=True)
    return r.returncode, r.stdout + r.stderr


def expect(what, condition, shown=""):
    if not condition:
        sys.exit(f"failed: {what}\n{shown}")


def named_anew(path, data):
    """The file with other bytes, under the name that belongs to them."""
    path.unlink()
    new = path.with_name(hashlib.sha256(data).hexdigest())
    new.write_bytes(data)
    return new


with tempfile.TemporaryDirectory() as top:
    top = pathlib.Path(top)
    vault, tree = top / "vault", top / "tree"
    random.seed(1)
    (tree / "deep/er").mkdir(parents=True)
    for i in range(40):
        (tree / f"deep/file{i}").write_bytes(random.randbytes(i * 37) + b"text " * i)
    (tree / "large").write_bytes(random.randbytes(400_000))
    run("init", vault, "--key-file", top / "key")
    run("--vault", vault, "backup", "--source", "one", tree)
    (tree / "deep/er/later").write_bytes(b"later")
    run("--vault", vault, "backup", "--source", "one", tree)
    run("--vault", vault, "backup", "--source", "two", tree / "deep")

    code, out = read(vault)
    expect("a vault verifies", code == 0 and "5 leaves, 3 snapshots" in out and " are needed" in out, out)
    shutil.move(vault / "host.key", top / "host.key")
    code, out = read(vault)
    expect("without host keys, too", code == 0 and "3 snapshots: all verified" in out, out)
    code, out = read("--host-key", top / "host.key", vault)
    expect("with host keys that lie elsewhere", code == 0 and " are needed" in out, out)
    shutil.move(top / "host.key", vault / "host.key")

    truth = [*vault.glob("packs/*"), *vault.glob("commits/*"), vault / "vault.yaml", vault / "host.key",
             vault / "log/checkpoint", vault / "log/tile/0/000.p/5", vault / "log/tile/entries/000.p/5"]
    for path in truth:
        good = path.read_bytes()
        at = random.randrange(len(good))
        for what, bad in [(f"a flipped bit at {at}", good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1:]),
                          ("a cut", good[:-1]), ("something behind", good + b"x"), ("nothing", b"")]:
            path.unlink()
            path.write_bytes(bad)
            code, out = read(vault)
            expect(f"{what} in {path.name} is found", code == 1 and "WRONG" in out and "Traceback" not in out, out)
        path.unlink()
        code, out = read(vault)
        expect(f"{path.name} is missed", code == 1 or path.name == "host.key", out)
        path.write_bytes(good)

    for path in vault.glob("packs/*"):  # whoever knows no host key can name what he forged, and no more
        good = path.read_bytes()
        forged = named_anew(path, good[:-60] + bytes([good[-60] ^ 1]) + good[-59:])
        code, out = read(vault)
        expect("a table that was changed does not open", code == 1 and "does not open" in out, out)
        named_anew(forged, good)
    commit = next(vault.glob("commits/*"))
    good = commit.read_bytes()
    forged = named_anew(commit, good[:-1] + bytes([good[-1] ^ 1]))
    code, out = read(vault)
    expect("a commit that no leaf names is none", code == 1 and "is missing or damaged" in out, out)
    named_anew(forged, good)
    code, out = read(vault)
    expect("all is well again", code == 0, out)

    # what prune removed is not missed
    run("--vault", vault, "policy", "set", "one", "--timezone", "UTC", "--daily", 0, "--monthly", 0, "--yearly", 0)
    for day in 0, 70, 78:
        run("--vault", vault, "prune", day=day)
    code, out = read(vault)
    expect("a snapshot that was removed is none", code == 0 and "2 snapshots" in out, out)
print("read_vault.py agrees")
