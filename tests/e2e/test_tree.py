#!/usr/bin/env python3
"""Everything a tree can hold goes through the program and comes back.

usage: test_tree.py DOZO [NAME...]      only the tests with these names

Without root some kinds of things cannot be made; they are named and left out.
"""
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback

import whole_tree

DOZO = os.path.abspath(sys.argv[1])
WORK = os.path.realpath(tempfile.mkdtemp(prefix="dozo-tree-", dir=os.environ.get("TMPDIR", "/var/tmp")))
VAULT, KEY = f"{WORK}/vault", f"{WORK}/key"
TREE = f"{WORK}/tree"


class Failed(Exception):
    pass


def dozo(*args, code=0, **more):
    got = subprocess.run([DOZO, "--vault", VAULT, "--key", KEY, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if got.returncode != code:
        raise Failed(f"dozo {args[0]} gave {got.returncode} instead of {code}:\n" +
                     (got.stderr + got.stdout)[-2000:].decode(errors="replace"))
    return got


def result(*args, code=0):
    return json.loads(dozo("--json", *args, code=code).stdout)


def lines(*args, code=0):
    return [json.loads(line) for line in dozo("--json", *args, code=code).stdout.splitlines()]


def same(a, b, ignore=()):
    found = whole_tree.differences(a, b, ignore)
    if found:
        raise Failed(f"{len(found)} differences:\n" + "\n".join(found[:25]))


def check(truth, what):
    if not truth:
        raise Failed(what)


def below(directory, tree=TREE):
    """Where a restored tree stands."""
    return os.fsencode(f"{directory}{tree}")


def without_sockets(tree):
    """Sockets are noted, not made: a program makes its own."""
    return {path: row for path, row in tree.items() if not stat.S_ISSOCK(row["type"])}


def remove(path):
    if not whole_tree.ROOT:
        whole_tree.open_up(path)
    subprocess.run(["rm", "-rf", "--", path], check=True)


def restored(*args, code=0):
    """A fresh directory with what restore made in it."""
    to = tempfile.mkdtemp(prefix="to-", dir=WORK)
    got = result("restore", *args, "--to", to, code=code)
    return to, got


# --- the tests: each gets the snapshot's id and what the tree was ------------------------------------------------------


def comes_back_whole(snap, tree):
    to, got = restored(snap)
    same(without_sockets(tree), whole_tree.describe(below(to)))
    check(got["errors"] == 0, f"restore counts {got['errors']} errors")
    remove(to)


def lists_everything(snap, tree):
    rows = lines("ls", snap, "-R", TREE[1:])
    check(len(rows) in (len(tree), len(tree) - 1), f"ls -R gives {len(rows)} of {len(tree)}")
    text = dozo("ls", snap, "-R", "-l", TREE[1:]).stdout
    # in a pipe names and targets are given as they are
    more = sum((os.path.basename(path) + row.get("target", b"")).count(b"\n") for path, row in tree.items())
    check(text.count(b"\n") == len(rows) + more, "ls -l gives another number of lines")


def gives_one_file(snap, tree):
    with open(f"{TREE}/plain/noise", "rb") as f:
        check(dozo("cat", snap, f"{TREE[1:]}/plain/noise").stdout == f.read(), "cat gives something else")
    name = os.fsencode(TREE[1:]) + b"/names/\xff/\xff"
    check(dozo("cat", snap, name).stdout == b"content\n", "cat of a name that is no UTF-8")
    for sparse in ("start", "end", "small", "all"):
        with open(f"{TREE}/holes/{sparse}", "rb") as f:
            check(dozo("cat", snap, f"{TREE[1:]}/holes/{sparse}").stdout == f.read(), f"cat of holes/{sparse}")


def leaves_alone_what_is_there(snap, tree):
    to, _ = restored(snap, f"{TREE[1:]}/plain", f"{TREE[1:]}/links")
    before = whole_tree.describe(below(to))
    inodes = {name: os.lstat(below(to) + b"/plain/" + name).st_ino for name in os.listdir(below(to) + b"/plain")}
    got = result("restore", snap, f"{TREE[1:]}/plain", f"{TREE[1:]}/links", "--to", to)
    check(got["present"] >= len(inodes), "what is there already is not known again")
    same(before, whole_tree.describe(below(to)))
    check(inodes == {name: os.lstat(below(to) + b"/plain/" + name).st_ino for name in inodes}, "files were made anew")

    mine = below(to) + b"/plain/1"
    with open(mine, "wb") as f:
        f.write(b"mine, and of another size")
    got = result("restore", snap, "--to", to, f"{TREE[1:]}/plain", code=1)
    check(got["errors"] == 1, f"{got['errors']} errors instead of one")
    with open(mine, "rb") as f:
        check(f.read() == b"mine, and of another size", "a file was overwritten")
    result("restore", snap, "--to", to, "--overwrite", f"{TREE[1:]}/plain")
    same(before, whole_tree.describe(below(to)), ignore=["time"])
    remove(to)


def goes_on_after_a_kill(snap, tree):
    to = tempfile.mkdtemp(prefix="to-", dir=WORK)
    kills = 0
    for files in (1, 20, 60, 90):
        p = subprocess.Popen([DOZO, "--vault", VAULT, "--key", KEY, "--quiet", "restore", snap, "--to", to],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while p.poll() is None and sum(len(f) for _, _, f in os.walk(to)) < files:
            time.sleep(0.001)
        if p.poll() is None:
            p.send_signal(signal.SIGKILL)
            kills += 1
        p.wait()
    result("restore", snap, "--to", to)
    same(without_sockets(tree), whole_tree.describe(below(to)))
    check(kills > 0, "it was never killed")
    remove(to)


def never_leaves_the_target(snap, tree):
    outside = tempfile.mkdtemp(prefix="outside-", dir=WORK)
    for planted in (os.path.dirname(TREE[1:]), TREE[1:], f"{TREE[1:]}/plain"):
        to = tempfile.mkdtemp(prefix="to-", dir=WORK)
        os.makedirs(os.path.dirname(f"{to}/{planted}"))
        os.symlink(outside, f"{to}/{planted}")
        for more in ((), ("--overwrite",)):
            got = subprocess.run([DOZO, "--vault", VAULT, "--key", KEY, "--quiet", "restore", snap, "--to", to, *more],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            check(not os.listdir(outside), f"a link planted at {planted} was followed")
            check(more or got.returncode in (1, 3), f"exit code {got.returncode} although a link was in the way")
        remove(to)


def takes_paths_and_strips(snap, tree):
    to, _ = restored(snap, f"{TREE[1:]}/links/x", "--strip", str(TREE.count("/") + 1))
    check(sorted(os.listdir(to)) == ["x"], f"--strip leaves {os.listdir(to)}")
    check(sorted(os.listdir(f"{to}/x")) == ["empty", "first"], "the directory is not whole")
    remove(to)
    to, got = restored(snap, f"{TREE[1:]}/plain/noise")
    check(got["files"] == 1, f"{got['files']} files instead of one")
    check(os.path.getsize(f"{to}{TREE}/plain/noise") == 3 << 20, "the file is not whole")
    remove(to)
    dozo("restore", snap, f"{TREE[1:]}/nothing", "--to", to, code=3)


def tells_what_differs(snap, tree):
    def changes(a, b, code):
        return {(row["change"], os.path.relpath("/" + row["path"], TREE)) for row in lines("diff", a, b, code=code)
                if ("/" + row["path"]).startswith(TREE + "/")}

    copy = f"{WORK}/hold"
    os.mkdir(copy)
    subprocess.run(["cp", "-a", f"{TREE}/plain", copy], check=True)
    check(changes(snap, snap, 0) == set(), "a snapshot differs from itself")
    with open(f"{TREE}/plain/added", "w") as f:
        f.write("new")
    os.remove(f"{TREE}/plain/1")
    with open(f"{TREE}/plain/4096", "ab") as f:
        f.write(b"more")
    os.chmod(f"{TREE}/plain/4097", 0o600)
    os.remove(f"{TREE}/plain/0")
    os.symlink("x", f"{TREE}/plain/0")
    os.setxattr(f"{TREE}/plain/4095", "user.new", b"1")
    later = result("backup", "--source", "tree", TREE)["snapshot"]
    found = changes(snap, later, 1)
    shutil.rmtree(f"{TREE}/plain")
    subprocess.run(["cp", "-a", f"{copy}/plain", TREE], check=True)
    expected = {("added", "plain/added"), ("removed", "plain/1"), ("content", "plain/4096"), ("meta", "plain/4097"),
                ("type", "plain/0"), ("meta", "plain/4095")}
    check(found - {("meta", "plain")} == expected, f"diff says {sorted(found)}")
    back = changes(later, snap, 1)
    check(("removed", "plain/added") in back and ("added", "plain/1") in back, f"backwards diff says {sorted(back)}")


def becomes_a_tar(snap, tree):
    if subprocess.run([DOZO, "help", "export"], capture_output=True).returncode:
        return "no such command yet"
    # GNU tar cannot make paths longer than the kernel takes
    snap = result("backup", "--source", "flat", TREE, "--exclude", f"{TREE}/deep")["snapshot"]
    to = tempfile.mkdtemp(prefix="to-", dir=WORK)
    dozo("export", snap, "--tar", f"{to}.tar")
    got = subprocess.run(["tar", "-C", to, "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf", f"{to}.tar"],
                         capture_output=True)
    check(got.returncode == 0, f"tar gives {got.returncode}: {got.stderr[-1000:]}")
    wanted = {p: row for p, row in without_sockets(tree).items() if not p.startswith(b"deep")}
    same(wanted, whole_tree.describe(below(to)), ignore=["data at"])
    listed = subprocess.run(["tar", "-tf", f"{to}.tar"], capture_output=True).stdout
    check(listed.count(b"\n") >= len(wanted), "tar -t lists less")
    os.remove(f"{to}.tar")
    remove(to)


def can_be_mounted(snap, tree):
    if subprocess.run([DOZO, "help", "mount"], capture_output=True).returncode:
        return "no such command yet"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no /dev/fuse here"
    at = tempfile.mkdtemp(prefix="mnt-", dir=WORK)
    p = subprocess.Popen([DOZO, "--vault", VAULT, "--key", KEY, "mount", snap, at], stderr=subprocess.PIPE)
    try:
        for _ in range(1000):
            if os.path.ismount(at) or p.poll() not in (None, 0):
                break
            time.sleep(0.01)
        check(os.path.ismount(at), "nothing is mounted")
        got = whole_tree.describe(below(at))
        # what is trusted or a capability is not for a mount to grant
        same(without_sockets(tree), without_sockets(got), ignore=["attributes", "data at"])
        found = subprocess.run(["grep", "-rl", "-D", "skip", "the needle", f"{at}{TREE}/plain"], capture_output=True)
        check(found.stdout.strip().endswith(b"/plain/searched") and not found.stderr, f"grep -r says {found}")
        check(subprocess.run(["diff", "-r", f"{TREE}/plain", f"{at}{TREE}/plain"]).returncode == 0, "diff -r finds differences")
        check(subprocess.run(["sh", "-c", f"echo x > {at}{TREE}/new"], stderr=subprocess.DEVNULL).returncode != 0,
              "it can be written")
        if shutil.which("sqlite3"):
            rows = subprocess.run(["sqlite3", f"file:{at}{TREE}/database?immutable=1", "select count(*), sum(n) from t"],
                                  capture_output=True)
            check(rows.stdout.strip() == b"1000|500500", f"sqlite3 reads {rows}")
    finally:
        subprocess.run(["fusermount3", "-u", at], stderr=subprocess.DEVNULL)
        p.wait(timeout=30)


def leaves_an_unchanged_tree_unread(snap, tree):
    time.sleep(0.1)
    result("backup", "--source", "again", TREE)
    got = result("backup", "--source", "again", TREE)
    check(got["new_bytes"] < 1 << 20, f"{got['new_bytes']} new bytes of an unchanged tree")
    to, _ = restored(got["snapshot"])  # its entries came from the path cache
    same(without_sockets(tree), whole_tree.describe(below(to)))
    remove(to)


def keeps_file_systems_apart(snap, tree):
    """Two file systems side by side number their files alike: none becomes a hard link of another's."""
    top = f"{WORK}/two"
    mounted = []
    try:
        for name in ("m", "n"):
            os.makedirs(f"{top}/{name}")
            if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", f"{top}/{name}"], stderr=subprocess.DEVNULL).returncode:
                return "this user may not mount"
            mounted.append(f"{top}/{name}")
            whole_tree.write(f"{top}/{name}/file", f"of {name}".encode())
            os.link(f"{top}/{name}/file", f"{top}/{name}/twin")
        check(os.stat(f"{top}/m/file").st_ino == os.stat(f"{top}/n/file").st_ino, "the numbers are not alike")
        before = whole_tree.describe(os.fsencode(top))
        both = result("backup", "--source", "two", top)["snapshot"]
        one = result("backup", "--source", "two", top, "--one-file-system")["snapshot"]
    finally:
        for path in mounted:
            subprocess.run(["umount", path], check=True)
    to, _ = restored(both)
    same(before, whole_tree.describe(below(to, top)))
    remove(to)
    to, _ = restored(one)
    check(os.listdir(f"{to}{top}/m") == [] and os.listdir(f"{to}{top}/n") == [], "another file system was entered")
    remove(to)


TESTS = [comes_back_whole, lists_everything, gives_one_file, leaves_alone_what_is_there, goes_on_after_a_kill,
         never_leaves_the_target, takes_paths_and_strips, leaves_an_unchanged_tree_unread, keeps_file_systems_apart, becomes_a_tar, can_be_mounted,
         tells_what_differs]


def main():
    failed = 0
    try:
        os.mkdir(TREE)
        missing = whole_tree.make(os.fsencode(TREE))
        if shutil.which("sqlite3"):
            subprocess.run(["sqlite3", f"{TREE}/database", "create table t(n); with recursive c(n) as (values(1) union all "
                            "select n + 1 from c where n < 1000) insert into t select n from c"], check=True)
        for what in sorted(set(missing)):
            print(f"(left out, this user may not make them: {what})")
        tree = whole_tree.describe(os.fsencode(TREE))
        dozo("init", VAULT, "--key-file", KEY)
        got = result("backup", "--source", "tree", TREE)
        entries = got["files"] + got["dirs"] + got["others"]
        check(entries >= len(tree), f"{entries} entries of {len(tree)} are kept")
        for test in TESTS:
            if sys.argv[2:] and test.__name__ not in sys.argv[2:]:
                continue
            begun = time.monotonic()
            try:
                print(f"{test.__name__}: {test(got['snapshot'], tree) or 'ok'} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Exception as e:  # the others go on
                failed += 1
                print(f"{test.__name__}: FAILED: {e}", flush=True)
                if not isinstance(e, Failed):
                    traceback.print_exc()
    finally:
        remove(WORK)
    return 1 if failed else 0


sys.exit(main())
