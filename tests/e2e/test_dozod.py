"""The daemon: real sources on a fast schedule, in a real vault; what hangs, breaks, dies, is silent."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from harness import DOZO, Case, main, read, write

DOZOD = pathlib.Path(DOZO).with_name("dozod")
PATIENCE = 60  # seconds: how long a busy machine may take; nothing is decided by it


def processes(mark):
    """The numbers of processes whose command line has this word."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


class Check(Case):
    @staticmethod
    def run_dozod(*args, **env):
        return subprocess.run([DOZOD, *map(str, args)], capture_output=True, text=True, check=False, timeout=60,
                              env={"PATH": os.environ["PATH"], **env})

    def setUp(self):
        write("dozod.yaml", "vault: /srv/vault\ntimezone: Asia/Tokyo\nsources:\n"
                            "- {name: files, kind: tree, cron: 30 2 * * *, paths: [/srv]}\n"
                            "- {name: emr, kind: command, every: 1h, file: emr.dump, argv: [pg_dump, emr]}\n")

    def check(self, code, says, **env):
        done = self.run_dozod("--config", self.dir / "dozod.yaml", "--check", **env)
        self.assertEqual(done.returncode, code, done)
        self.assertIn(says, done.stdout + done.stderr)

    def test_a_right_file_is_right_and_says_when(self):
        self.check(0, "dozod.yaml is right: 2 sources, time zone Asia/Tokyo\n")
        self.check(0, "T02:30:00+09:00\n")
        self.check(0, "emr (command): next at ")
        self.check(0, "誤りはありません", LANG="ja_JP.UTF-8")

    def test_a_fault_is_named_with_its_line(self):
        with open("dozod.yaml", "a", encoding="utf-8") as file:
            file.write("- {name: fax, kind: fax}\n")
        self.check(2, f"{self.dir}/dozod.yaml:6: kind: \"fax\"; allowed: tree, share, command")

    def test_a_file_of_everybody_is_refused(self):
        os.chmod("dozod.yaml", 0o666)
        self.check(4, "can be written by others")
        os.unlink("dozod.yaml")
        self.check(3, "No such file or directory")

    def test_what_makes_no_sense_is_wrong_usage(self):
        for args in [], ["--config"], ["--check"], ["--chekc"], ["--config", "x", "y"], ["--config", "x", "--check", "y"]:
            self.assertEqual(self.run_dozod(*args).returncode, 2, args)
        self.assertIn("usage: dozod", self.run_dozod("--help").stdout)
        self.assertRegex(self.run_dozod("--version").stdout, r"^dozod \d")

    def test_without_a_vault_there_is_no_service(self):
        done = self.run_dozod("--config", "dozod.yaml")
        self.assertEqual(done.returncode, 3, done)
        self.assertIn("/srv/vault", done.stderr)


class Daemon(Case):
    """Sources are called `files` (a tree), `db` (a command that goes well) and others by need."""

    @classmethod
    def prepare(cls):
        write("tree/file", "content")

    def setUp(self):
        shutil.rmtree("vault", ignore_errors=True)
        for name in ["key", "told", "said", "dozod.yaml", "overlap", "runs", "good"]:
            pathlib.Path(name).unlink(missing_ok=True)
        self.good("init", "vault", "--key-file", "key")
        self.daemon = None
        self.mark = f"mark-{os.getpid()}-{self.id()}"  # in the command lines of what must not stay

    def tearDown(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        self.until(lambda: not processes(self.mark), "all that the daemon started ends with it")

    # ---- the daemon ----
    files = "- {name: files, kind: tree, every: 1s, paths: [DIR/tree]}\n"
    database = "- {name: db, kind: command, every: 1s, file: d, argv: [echo, dump]}\n"

    def configure(self, sources, more=""):
        notify = "notify: {command: [sh, -c, 'echo \"$DOZO_EVENT|$DOZO_SOURCE|$DOZO_DETAIL|$DOZO_NEWEST\" >>DIR/told']}\n"
        text = f"vault: DIR/vault\n{more}{notify}sources:\n{sources}"
        write("new.yaml", text.replace("DIR", str(self.dir)).replace("MARK", self.mark))
        os.rename("new.yaml", "dozod.yaml")

    def start(self, **env):
        with open("said", "ab") as said:
            self.daemon = subprocess.Popen([DOZOD, "--config", "dozod.yaml"], stdin=subprocess.DEVNULL, stdout=said,
                                           stderr=said, env={"PATH": os.environ["PATH"], "TZ": "Asia/Tokyo", **env})

    def stop(self):
        self.daemon.terminate()
        self.assertEqual(self.daemon.wait(PATIENCE), 0, self.said())

    def said(self):
        return read("said").decode()

    def told(self):
        """Rows of event, source, detail, newest."""
        return [line.split("|") for line in read("told").decode().splitlines()] if os.path.exists("told") else []

    def until(self, holds, what):
        end = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), end, f"{what}: {self.said() if os.path.exists('said') else ''}")
            time.sleep(0.05)

    def supervisors(self):
        """Of this test: they have a descriptor of its vault."""
        found = []
        for pid in processes("--role=supervisor"):
            with contextlib.suppress(OSError):
                if str(self.dir / "vault") in [os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()]:
                    found.append(pid)
        return found

    # ---- the vault ----
    def snapshots(self, source):
        return [row["id"] for row in self.rows("--vault", "vault", "snapshots", "--source", source)]

    def status(self):
        """Reasons, and the sources by name."""
        got = self.json("--vault", "vault", "status", code=1)
        return got["reasons"], {source["source"]: source for source in got["sources"]}

    def alarms(self):
        return [row["kind"] for row in self.rows("--vault", "vault", "log")].count("alarm")

    # ---- tests ----
    def test_sources_feed_the_vault(self):
        self.configure(self.files + self.database)
        self.start()
        self.until(lambda: len(self.snapshots("files")) > 1 and len(self.snapshots("db")) > 1, "two snapshots each")
        self.stop()
        opened = ("--vault", "vault", "--key", "key")
        self.assertEqual(self.good(*opened, "cat", "latest:db", "d"), "dump\n")
        self.assertEqual(self.good(*opened, "cat", "latest:files", f"{self.dir}/tree/file".lstrip("/")), "content")
        self.good(*opened, "verify", "--data")
        self.assertEqual(self.alarms(), 0)
        self.assertEqual(self.told(), [])

    def test_a_source_never_runs_twice_at_once(self):
        line = "mkdir DIR/overlap-d || echo two >>DIR/overlap; sleep 2.5; echo x; rmdir DIR/overlap-d"
        self.configure(f"- {{name: slow, kind: command, every: 1s, file: d, argv: [sh, -c, '{line}', MARK]}}\n",
                       "limits: {at-once: 4}\n")
        self.start()
        self.until(lambda: len(self.snapshots("slow")) > 1, "two snapshots")
        self.stop()
        self.assertFalse(os.path.exists("overlap"))
        with contextlib.suppress(OSError):
            os.rmdir("overlap-d")

    def test_a_command_that_hangs_is_stopped_and_told(self):
        hang = "trap \"\" TERM; echo part; while :; do sleep 1; done"
        self.configure(self.files + f"- {{name: hang, kind: command, every: 1s, file: d, run-time: 1s, "
                       f"argv: [sh, -c, '{hang}', MARK]}}\n", "limits: {grace: 1s}\n")
        self.start()
        self.until(self.told, "somebody is told")
        self.assertEqual(self.told()[0][:2], ["source-failed", "hang"])
        self.until(lambda: "source hang: the backup failed: it ran for too long, and was stopped" in self.said(), "log")
        before = len(self.snapshots("files"))
        self.until(lambda: len(self.snapshots("files")) > before, "others go on")
        self.until(lambda: self.said().count("source hang: the backup begins") > 1, "it is tried again")
        self.stop()
        self.assertEqual(self.snapshots("hang"), [])
        self.assertEqual(len(self.told()), 1)  # not of each failure
        reasons, sources = self.status()
        self.assertIn("source-failed", reasons)
        self.assertIsNotNone(sources["hang"]["failed"])
        self.assertIsNone(sources["files"]["failed"])

    def test_a_new_configuration_is_checked_before_it_counts(self):
        self.configure(self.files)
        self.start()
        self.until(lambda: self.snapshots("files"), "a snapshot")
        self.configure(self.files + "- {name: fax, kind: fax}\n")
        self.daemon.send_signal(signal.SIGHUP)
        self.until(lambda: "the old one stays in force" in self.said(), "it says so")
        self.assertIn(f"{self.dir}/dozod.yaml:5: kind: \"fax\"; allowed: tree, share, command", self.said())
        before = len(self.snapshots("files"))
        self.until(lambda: len(self.snapshots("files")) > before, "the old one goes on")
        self.configure(self.files)
        write("dozod.yaml", read("dozod.yaml").replace(b"/vault\n", b"/other\n"))
        self.daemon.send_signal(signal.SIGHUP)
        self.until(lambda: "another one needs a restart" in self.said(), "the vault stays")
        self.configure(self.database)
        self.daemon.send_signal(signal.SIGHUP)
        self.until(lambda: self.snapshots("db"), "the new one is in force")
        _, sources = self.status()
        self.assertIsNone(sources["files"]["due"])  # not expected any more
        self.assertIsNotNone(sources["db"]["due"])
        self.stop()

    def test_killed_it_takes_its_jobs_along_and_goes_on_when_it_is_back(self):
        self.configure(self.database + "- {name: long, kind: command, every: 1s, file: d, "
                       "argv: [sh, -c, 'echo some; touch DIR/runs; sleep 1000; exit 1', MARK]}\n")
        self.start()
        self.until(lambda: self.snapshots("db") and os.path.exists("runs"), "it is at work")
        self.assertEqual(len(self.supervisors()), 1)
        self.daemon.kill()
        self.daemon.wait()
        self.until(lambda: not processes(self.mark), "no job outlives it")
        self.until(lambda: not self.supervisors(), "nor the other half")
        before = len(self.snapshots("db"))
        self.good("--vault", "vault", "verify")
        self.start()
        self.until(lambda: len(self.snapshots("db")) > before, "it goes on")
        self.stop()

    def test_silence_is_told_once_and_red_also_when_the_daemon_is_dead(self):
        silent = "- {name: silent, kind: command, every: 1s, late-after: 1s, file: d, argv: ['false']}\n"
        self.configure(self.files.replace("every: 1s", "every: 1s, late-after: 30s") + silent)
        self.start()
        self.until(lambda: "source-late" in [row[0] for row in self.told()], "somebody is told")
        row, = [row for row in self.told() if row[0] == "source-late"]
        self.assertEqual((row[1], row[3]), ("silent", ""))
        self.assertRegex(row[2], r"^due at 20\d\d-.*, nothing came for \d+ s$")
        self.until(lambda: "source silent is late" in self.said(), "the log says it")
        reasons, sources = self.status()
        self.assertIn("source-late", reasons)
        self.assertEqual((sources["silent"]["late"], sources["files"]["late"]), (True, False))
        self.assertIn("late: due at", self.good("--vault", "vault", "status", code=1))
        self.assertIn("遅れ", self.good("--vault", "vault", "status", code=1, env={"LANG": "ja_JP.UTF-8"}))
        self.stop()
        self.start()  # it is the same silence
        before = len(self.snapshots("files"))
        self.until(lambda: len(self.snapshots("files")) > before, "it is back")
        self.until(lambda: self.said().count("source silent: the backup failed") > 2, "it fails on")
        self.assertEqual([row[0] for row in self.told()].count("source-late"), 1)
        self.stop()
        self.configure(self.files.replace("every: 1s", "every: 1s, late-after: 1s"))
        self.start()
        self.until(lambda: self.said().count("1 sources") == 1, "the last configuration is in force")
        self.stop()
        self.until(lambda: self.status()[1]["files"]["late"], "nobody is there, and status sees it")
        self.assertIn("source-late", self.status()[0])
        self.good("--vault", "vault", "backup", "--source", "files", "tree")  # by hand: as good as any
        write("vault/cache/expected", read("vault/cache/expected").replace(b'"late_after_us": 1000000',
                                                                           b'"late_after_us": 900000000'))
        self.assertNotIn("source-late", self.status()[0])
        write("vault/cache/expected", "{")
        self.assertIn("expected-unreadable", self.status()[0])

    def test_silence_ends_with_a_snapshot_and_the_next_is_told_again(self):
        flag = "test -e DIR/good && echo dump"
        self.configure("- {name: moody, kind: command, every: 1s, late-after: 1s, file: d, "
                       f"argv: [sh, -c, '{flag}']}}\n")
        self.start()
        late = lambda: [row for row in self.told() if row[0] == "source-late"]
        self.until(lambda: len(late()) == 1, "the first silence")
        write("good")
        self.until(lambda: len(self.snapshots("moody")) > 1, "it speaks")
        os.unlink("good")
        self.until(lambda: len(late()) == 2, "the second silence")
        self.assertRegex(late()[1][3], r"^20\d\d-.*\+09:00$")  # when it last spoke
        self.stop()

    def test_the_vault_is_verified_and_damage_is_told(self):
        self.good("--vault", "vault", "backup", "--source", "files", "tree")
        self.configure(self.files)
        self.start()
        self.until(lambda: "never-verified" not in self.status()[0], "the vault is verified by itself")
        self.assertNotIn("damage-found", self.status()[0])
        self.stop()
        shutil.rmtree("vault")
        os.unlink("key")
        self.good("init", "vault", "--key-file", "key")
        self.good("--vault", "vault", "backup", "--source", "files", "tree")
        pack = next(pathlib.Path("vault/packs").glob("*"))
        kept = bytearray(pack.read_bytes())
        kept[len(kept) // 2] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(kept)
        self.start()
        self.until(lambda: "verify-failed" in [row[0] for row in self.told()], "people are told of damage")
        self.assertIn("damage-found", self.status()[0])
        self.stop()

    def test_at_the_end_jobs_are_stopped_and_nobody_is_alarmed(self):
        self.configure("- {name: long, kind: command, every: 1s, file: d, argv: [sh, -c, "
                       "'echo some; touch DIR/runs; sleep 1000', MARK], post: 'echo $DOZO_RESULT >>DIR/told'}\n")
        self.start()
        self.until(lambda: os.path.exists("runs"), "it runs")
        self.stop()
        self.assertEqual(processes(self.mark), [])
        self.assertEqual(read("told"), b"failed\n")  # what was to clean up has cleaned up
        self.assertEqual(self.snapshots("long"), [])

    def test_the_service_manager_is_told(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self.dir / "manager"))
            manager.settimeout(PATIENCE)
            self.configure(self.database.replace("argv: [echo, dump]", "argv: [sh, -c, 'echo \"[$NOTIFY_SOCKET]\"']"))
            self.start(NOTIFY_SOCKET=str(self.dir / "manager"))
            self.assertEqual(manager.recv(1000), b"READY=1")
            self.assertEqual(manager.recv(1000), b"WATCHDOG=1")
            self.until(lambda: self.snapshots("db"), "a snapshot")
            self.daemon.send_signal(signal.SIGHUP)
            heard = b"WATCHDOG=1"
            while heard == b"WATCHDOG=1":
                heard = manager.recv(1000)
            self.assertTrue(heard.startswith(b"RELOADING=1\nMONOTONIC_USEC="), heard)
            while heard != b"READY=1":
                heard = manager.recv(1000)
            self.stop()
            while heard != b"STOPPING=1":
                heard = manager.recv(1000)
        self.assertEqual(self.good("--vault", "vault", "--key", "key", "cat", "latest:db", "d"), "[]\n")
        os.unlink("manager")


if __name__ == "__main__":
    main()
