"""A Windows share, of a real Samba, is kept and given back.

    python3 test_smb.py DOZO HOLD [TEST...]      HOLD: tests/smb/hold.c
"""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time

import samba

HOLD = os.path.abspath(sys.argv.pop(2))
from harness import DOZO, Case, main, read, write  # noqa: E402 (takes its own argument)

GIB = 1 << 30
AUDIT = ["vfs objects = full_audit acl_xattr streams_xattr", "full_audit:success = pread_send",
         "full_audit:failure = none", "full_audit:syslog = false", "full_audit:prefix = READ"]
# as Samba keeps attributes: with archive, made in 2009
HIDDEN, SPARSE = (struct.pack("<HHIIIQ", 0, 5, 5, 0x11, 0x20 | bit, (1234567890 + 11644473600) * 10000000)
                  for bit in [0x2, 0x200])


def wait_for(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not (seen := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return seen


class Share(Case):
    """A server with an audit of what is read, and a vault."""

    settings = []

    @classmethod
    def prepare(cls):
        cls.server = samba.Server(cls.dir / "server", ["log level = 1", "max log size = 0", *cls.settings], AUDIT)
        cls.server.start()
        cls.share = cls.server.share

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        super().tearDownClass()

    def setUp(self):
        for path in ["vault", "back"]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self.share.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        pathlib.Path("key").unlink(missing_ok=True)
        self.good("init", "vault", "--key-file", "key")
        self.mark = self.log_size()

    def call(self, *args, where=None, credentials=None):
        return ["--vault", "vault", "backup", "--source", "files", "--smb", where or self.server.where,
                "--credentials", credentials or self.server.credentials, *args]

    def keep(self, *args, code=0):
        return self.json(*self.call(*args), code=code)

    def start(self):
        return subprocess.Popen([DOZO, "--json", *map(str, self.call())], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def snapshots(self):
        return len(self.rows("--vault", "vault", "snapshots"))

    def restore(self, code=0):
        shutil.rmtree("back", ignore_errors=True)
        self.good("--vault", "vault", "--key", "key", "restore", "latest:files", "--to", "back", code=code)
        return pathlib.Path("back")

    # what the server says was read

    def log_size(self):
        return (self.server.top / "log").stat().st_size

    def were_read(self):
        """The files of which anything was read since it was last asked."""
        log = (self.server.top / "log").read_bytes()[self.mark:]
        self.mark += len(log)
        prefix = b"READ|pread_send|ok|" + os.fsencode(self.share) + b"/"
        return {line.split(prefix)[1].decode() for line in log.splitlines() if prefix in line}

    def age(self):
        """What was changed just now is read again: until then nothing is recognised."""
        time.sleep(3.5)

    def same(self, back, share):
        """Every file and directory of one is in the other, with the same bytes and times."""
        names = lambda top: sorted(p.relative_to(top) for p in top.rglob("*"))
        self.assertEqual(names(back), names(share))
        for name in names(share):
            a, b = back / name, share / name
            self.assertEqual(a.is_dir(), b.is_dir(), name)
            self.assertEqual(a.stat().st_mtime_ns // 100, b.stat().st_mtime_ns // 100, name)
            if not a.is_dir():
                self.assertEqual(a.read_bytes(), b.read_bytes(), name)


class Kept(Share):
    def fill(self):
        for n in range(2500):
            write(self.share / f"部門 {n % 7}" / f"記録-{n:04}.txt", f"内容 {n}")
        deep = self.share
        while len(os.fsencode(deep.relative_to(self.share))) < 900:
            deep /= "長い名前のフォルダ" * 3
        write(deep / "終.txt", "deep")
        write(self.share / "属性.doc", "attributes")
        os.setxattr(self.share / "属性.doc", "user.DOSATTRIB", HIDDEN)
        os.setxattr(self.share / "属性.doc", "user.DosStream.Zone.Identifier:$DATA", b"[ZoneTransfer]\0")
        write(self.share / "権限.doc", "permissions")
        self.server.client("smbcacls", "権限.doc", "-a", "ACL:S-1-5-32-546:DENIED/0x0/FULL")
        write(self.share / "空", b"")
        (self.share / "空のフォルダ").mkdir()

    def permissions(self, path):
        """Without the flags that say how they are inherited: docs/design/smb.md."""
        return [line for line in self.server.client("smbcacls", path).splitlines() if "CONTROL" not in line]

    def test_a_share_is_kept_and_given_back(self):
        self.fill()
        done = self.keep()
        self.assertEqual((done["files"], done["errors"], done["problems"]), (2504, 0, []))
        back = self.restore()
        self.same(back, self.share)
        self.assertEqual(os.getxattr(back / "属性.doc", "user.DOSATTRIB"), HIDDEN)
        self.assertEqual(os.getxattr(back / "属性.doc", "user.DosStream.Zone.Identifier:$DATA"), b"[ZoneTransfer]\0")
        # a client of Samba's sees in the restored tree what it sees in the share
        shutil.copytree(back, self.share / "back", symlinks=True)
        for name in ["権限.doc", "属性.doc"]:
            ours, theirs = (self.permissions(path) for path in [f"back/{name}", name])
            self.assertEqual(ours, theirs)
            self.assertEqual("DENIED" in "".join(ours), name == "権限.doc")

    def test_what_did_not_change_is_not_read(self):
        for n in range(20):
            write(self.share / f"記録/{n}", f"content {n}")
        self.age()
        self.keep()
        self.assertEqual(self.were_read(), {f"記録/{n}" for n in range(20)})
        self.assertEqual(self.keep()["files"], 20)
        self.assertEqual(self.were_read(), set())
        write(self.share / "記録/3", "CONTENT 3")
        write(self.share / "記録/new", "new")
        os.rename(self.share / "記録/4", self.share / "記録/four")
        os.setxattr(self.share / "記録/5", "user.DOSATTRIB", HIDDEN)
        done = self.keep()
        self.assertEqual(self.were_read(), {"記録/3", "記録/new", "記録/four", "記録/5"})
        self.assertEqual(done["files"], 21)
        self.same(self.restore(), self.share)
        self.keep("--reread")
        self.assertEqual(len(self.were_read()), 21)

    def test_a_cache_that_the_vault_does_not_back_is_dropped(self):
        for n in range(5):
            write(self.share / f"{n}", f"content {n}")
        self.age()
        self.keep()
        self.were_read()
        for path in pathlib.Path("vault/cache").glob("sent-*"):
            shutil.rmtree(path)
        self.keep()
        self.assertEqual(len(self.were_read()), 5)
        self.same(self.restore(), self.share)

    def test_a_part_of_a_share(self):
        write(self.share / "a/患者/x.txt", "x")
        write(self.share / "a/患者/y.TMP", "y")
        write(self.share / "b", "b")
        self.json(*self.call("--exclude", "*.tmp", where=self.server.where + "/a/患者"))
        self.assertEqual([p.name for p in self.restore().rglob("*")], ["x.txt"])

    def test_a_locked_file_is_named_and_the_rest_is_kept(self):
        write(self.share / "locked", "x")
        write(self.share / "free", "y")
        env = {**os.environ, "DOZO_SMB_WHERE": self.server.where, "DOZO_SMB_CREDENTIALS": str(self.server.credentials)}
        with subprocess.Popen([HOLD, "locked"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as held:
            self.assertEqual(held.stdout.readline(), b"held\n")
            done = self.keep(code=1)
        self.assertEqual([(p["path"], p["problem"]) for p in done["problems"]], [("locked", "unreadable")])
        self.assertEqual((done["errors"], self.snapshots()), (1, 1))
        self.assertEqual(read(self.restore(code=1) / "free"), b"y")
        self.assertEqual(self.keep()["problems"], [])


class Large(Share):
    """A file that takes its time."""

    def setUp(self):
        super().setUp()
        write(self.share / "a", "small")
        with open(self.share / "大きい", "wb") as file:
            for at in [0, 4 * GIB - 3, 5 * GIB - 7]:
                file.seek(at)
                file.write(b"content")
        os.setxattr(self.share / "大きい", "user.DOSATTRIB", SPARSE)

    def being_read(self):
        return "大きい" in self.were_read()

    def test_more_than_4_gib_with_holes(self):
        """And meanwhile: who reads it holds nothing."""
        vault = str(self.dir / "vault")
        with self.start() as dozo:
            wait_for(self.being_read)
            pid, = pathlib.Path(f"/proc/{dozo.pid}/task/{dozo.pid}/children").read_text().split()
            status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
            files = [os.readlink(p) for p in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            said, _ = dozo.communicate(timeout=120)
        self.assertEqual(dozo.returncode, 0, said)
        self.assertEqual((status["Name"], status["NoNewPrivs"], status["Seccomp"]), ("dozo-smb", "1", "2"))
        self.assertEqual(status["Uid"].split(), ["65534"] * 4)
        self.assertEqual(status["CapEff"], "0" * 16)
        inside = [path for path in files if path.startswith(vault)]
        self.assertTrue(all(path.startswith(vault + "/cache/pull-") for path in inside), inside)
        self.assertNotIn(samba.Server.PASSWORD.encode(), command)
        back = self.restore() / "大きい"
        self.assertEqual(back.stat().st_size, 5 * GIB)
        self.assertLess(back.stat().st_blocks * 512, 1 << 20)
        subprocess.run(["cmp", back, self.share / "大きい"], check=True)

    def test_a_file_that_changes_is_named(self):
        with self.start() as dozo:
            wait_for(self.being_read)
            with open(self.share / "大きい", "ab") as file:
                file.write(b"more")
            said, _ = dozo.communicate(timeout=120)
        self.assertEqual(dozo.returncode, 1, said)
        self.assertEqual([(p["path"], p["problem"]) for p in json.loads(said)["problems"]], [("大きい", "changed")])
        self.assertEqual(read(self.restore() / "a"), b"small")

    def test_a_server_that_dies_leaves_no_snapshot(self):
        with self.start() as dozo:
            wait_for(self.being_read)
            self.server.stop(signal.SIGKILL)
            said, why = dozo.communicate(timeout=120)
        self.server.start()
        self.assertEqual((dozo.returncode, said), (3, b""), why)
        for part in ["the connection to the server is lost", "No snapshot was made"]:
            self.assertIn(part, why.decode())
        self.assertEqual(self.snapshots(), 0)
        self.assertIn("source-failed", self.json("--vault", "vault", "status", code=1)["reasons"])
        (self.share / "大きい").unlink()
        self.assertEqual(self.keep()["files"], 1)


class Refused(Share):
    settings = ["server smb encrypt = off"]

    def test_credentials_that_others_may_read(self):
        open_to_all = self.server.write_credentials("open", self.server.PASSWORD)
        for mode in [0o644, 0o640, 0o602]:
            os.chmod(open_to_all, mode)
            self.refused(4, *self.call(credentials=open_to_all), says=["others may read or write", "chmod 600 "])
        os.chmod(open_to_all, 0o600)
        os.chown(open_to_all, 1234, 0)
        self.refused(4, *self.call(credentials=open_to_all), says=["belongs to somebody else", "belongs to root"])
        self.refused(3, *self.call(credentials="nowhere"), says="credentials")
        self.assertEqual(self.snapshots(), 0)

    def test_a_server_that_does_not_encrypt(self):
        write(self.share / "x", "x")
        self.refused(4, *self.call(), says=["does not encrypt", "--smb-no-encryption"])
        self.assertEqual(self.snapshots(), 0)
        self.assertEqual(self.keep("--smb-no-encryption")["files"], 1)

    def test_a_wrong_password(self):
        wrong = self.server.write_credentials("wrong", "wrong")
        self.refused(3, *self.call("--smb-no-encryption", credentials=wrong),
                     says=["not with this user name and password", "No snapshot was made"])

    def test_a_call_that_makes_no_sense(self):
        for args in [["--smb", "//s/x"], ["--credentials", "c", "/srv"], ["--smb-no-encryption", "/srv"],
                     ["--smb", "s/x", "--credentials", "c"], ["--smb", "//s/x", "--credentials", "c", "/srv"],
                     ["--smb", "//s/x", "--credentials", "c", "--stdin-as", "f"]]:
            self.refused(2, "--vault", "vault", "backup", "--source", "files", *args)

    def test_dozo_smb_is_not_for_people(self):
        done = subprocess.run([pathlib.Path(DOZO).with_name("dozo-smb")], stdin=subprocess.DEVNULL, check=False,
                              capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (2, b"usage: dozo backup --smb //SERVER/SHARE\n"))


class Ancient(Share):
    settings = ["server smb encrypt = off", "server min protocol = NT1", "server max protocol = NT1"]

    def test_smb1_is_refused_whatever_is_said(self):
        self.refused(3, *self.call(), says="speaks no SMB 3")
        self.refused(3, *self.call("--smb-no-encryption"), says="speaks no SMB 2 or 3")
        self.assertEqual(self.snapshots(), 0)


if __name__ == "__main__":
    if not samba.available():
        print("no Samba server here, or not root: nothing was tried with one")
        sys.exit(77)
    main()
