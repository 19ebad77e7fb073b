#!/usr/bin/env python3
"""Today's dozo reads a vault of each format version: test_vault.py DOZO READ_VAULT GOLDEN_DIR"""
import base64
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tree_facts import facts

dozo, reader, golden = sys.argv[1:4]
golden = pathlib.Path(golden)
expected = json.loads((golden / "expected.json").read_text())
ROOT = expected["root"]


def expect(what, condition, shown=""):
    if not condition:
        sys.exit(f"failed: {what}\n{shown}")


def same(what, got, want):
    for a, b in zip(got, want):
        expect(f"{what}: {b['path']!r}", a == b, f"{a}\nwanted\n{b}")
    expect(what, len(got) == len(want), f"{len(got)} rows, wanted {len(want)}")


def path_of(row):
    exact = row.get("path_base64")
    return os.fsdecode(base64.b64decode(exact)) if exact else row["path"]


class Vault:
    def __init__(self, path):
        self.path = path

    def run(self, *args, key=True, code=0):
        key = ["--key", str(golden / "key")] if key else []
        done = subprocess.run([dozo, "--vault", str(self.path), *key, *map(os.fsencode, map(str, args))],
                              capture_output=True, timeout=60)
        expect(f"dozo {args} gives {code}", done.returncode == code, done)
        return done.stdout

    def rows(self, *args, **more):
        return [json.loads(line) for line in self.run("--json", *args, **more).splitlines()]

    def check_listing(self, snapshot):
        fields = ["type", "mode", "uid", "gid", "mtime_s", "mtime_ns"]
        rows = self.rows("ls", "-R", "-l", snapshot["id"])
        got = [{"path": path_of(r)[len(ROOT):].lstrip("/"), **{f: r[f] for f in fields}} for r in rows
               if path_of(r).startswith(ROOT)]
        got.sort(key=lambda r: os.fsencode(r["path"]))
        same("listing", got, [{f: r[f] for f in ["path", *fields]} for r in snapshot["tree"]])

    def check_contents(self, snapshot):
        for row in snapshot["tree"]:
            if row["type"] == "file" and not row["path"].startswith("many/"):
                data = self.run("cat", snapshot["id"], f"{ROOT}/{row['path']}")
                expect(f"content of {row['path']!r}", hashlib.sha256(data).hexdigest() == row["sha256"])

    def check_restored(self, snapshot, to):
        self.run("restore", snapshot["id"], ROOT, "--to", to, code=0)
        got, want = facts(to / ROOT), [dict(row) for row in snapshot["tree"]]
        if os.geteuid() != 0:  # only root gives files away
            for row in got + want:
                row.pop("uid"), row.pop("gid")
        same("restored", got, want)
        sparse = os.stat(to / ROOT / "sparse")
        expect("holes stay holes", sparse.st_blocks * 512 < sparse.st_size // 2, sparse)

    def check(self, top):
        ids = [row["id"] for row in self.rows("snapshots", key=False)]
        expect("the snapshots are listed closed", ids == [s["id"] for s in expected["snapshots"]], ids)
        for snapshot in expected["snapshots"]:
            self.check_listing(snapshot)
            self.check_contents(snapshot)
            self.check_restored(snapshot, top / f"restored-{snapshot['id']}")
        self.run("verify", key=False)
        self.run("verify", "--data")


with tempfile.TemporaryDirectory() as top:
    top = pathlib.Path(top)
    for name, caches in [("with", True), ("without", False)]:
        where = top / name
        where.mkdir()
        shutil.copytree(golden / "vault", where / "vault")
        vault = Vault(where / "vault")
        if not caches:
            shutil.rmtree(vault.path / "index")
            shutil.rmtree(vault.path / "cache")
        vault.check(where)
        done = subprocess.run([sys.executable, reader, vault.path], capture_output=True, text=True)
        expect("read_vault.py agrees", done.returncode == 0, done.stdout)
        (where / "later").write_text("kept by a later dozo")
        vault.run("backup", "--source", "golden", where / "later", key=False)
        expect("it takes in more", len(vault.rows("snapshots", key=False)) == len(expected["snapshots"]) + 1)
        vault.run("verify", "--data")
print("the golden vault reads")
