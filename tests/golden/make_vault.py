#!/usr/bin/env python3
"""Makes a golden vault once: make_vault.py DOZO DIR

DIR gets vault/, key and expected.json.  The tree stands in /tmp/dozo-golden while it is kept; what
expected.json says of it comes from the file system, not from dozo.  Keys, ids and times are fresh,
so no two runs give the same bytes: what was made stays, for good."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

from tree_facts import facts

TREE = pathlib.Path("/tmp/dozo-golden/tree")


def content(seed, length):
    """Bytes that no compressor helps with, and that are always the same."""
    return hashlib.shake_128(seed.encode()).digest(length)


def write(path, data, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def first_generation():
    write(TREE / "letters/hello.txt", "こんにちは, dozo\n".encode())
    write(TREE / "letters/empty", b"")
    write(TREE / "letters/text", b"".join(b"line %d of a text that compresses\n" % i for i in range(400)), 0o600)
    write(TREE / "random", content("random", 3000), 0o755)
    write(TREE / os.fsdecode(b"\x83\x4a\x83\x8b\x83\x65 (not UTF-8)\n"), b"a name is bytes")
    write(TREE / "marked", b"has attributes")
    os.setxattr(TREE / "marked", "user.colour", b"\x00red\xff")
    os.setxattr(TREE / "letters", "user.empty", b"")
    os.link(TREE / "random", TREE / "letters/the same")
    os.symlink("letters/hello.txt", TREE / "link")
    os.symlink("/nowhere/\udc80", TREE / "dangling")
    os.mkfifo(TREE / "fifo", 0o620)
    with open(TREE / "sparse", "wb") as file:
        file.write(b"start")
        file.seek(1 << 20)
        file.write(b"middle")
        file.truncate(3 << 20)
    (TREE / "locked").mkdir(mode=0o2750)
    for i in range(20):
        write(TREE / f"many/file-{i:03}", b"small file %d\n" % i)


def set_times():
    for n, path in enumerate(sorted(TREE.rglob("*"), reverse=True)):  # children before their parents
        when = (-86400 * 365 if n % 7 == 0 else 1_600_000_000 + n) * 10**9 + n * 1_000_003
        os.utime(path, ns=(when, when), follow_symlinks=False)
    os.utime(TREE, ns=(1, 1))


def second_generation():
    write(TREE / "letters/hello.txt", "さようなら\n".encode())
    write(TREE / "letters/new", content("new", 700))
    (TREE / "many/file-007").unlink()
    (TREE / "many/file-008").chmod(0o400)


def main():
    dozo, where = sys.argv[1], pathlib.Path(sys.argv[2])
    where.mkdir(parents=True)
    shutil.rmtree(TREE.parent, ignore_errors=True)
    run = lambda *args: subprocess.run([dozo, *map(str, args)], check=True, capture_output=True).stdout
    run("init", where / "vault", "--key-file", where / "key")
    snapshots = []
    for change in first_generation, second_generation:
        change()
        set_times()
        made = json.loads(run("--vault", where / "vault", "--json", "backup", "--source", "golden", TREE))
        snapshots.append({"id": made["snapshot"], "source": "golden", "tree": facts(TREE)})
    expected = {"root": str(TREE).lstrip("/"), "snapshots": snapshots}
    (where / "expected.json").write_text(json.dumps(expected, separators=(",", ":")).replace("},{", "},\n{") + "\n")
    shutil.rmtree(TREE.parent)


main()
