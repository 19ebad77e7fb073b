"""What a program writes is kept when the program ended well; --pre and --post run around a backup."""
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import time

from harness import DOZO, Case, main, read, write


class Stream(Case):
    @classmethod
    def prepare(cls):
        write("tree/file", "content")

    def setUp(self):
        shutil.rmtree("vault", ignore_errors=True)
        for name in ["key", "said", "ran"]:
            pathlib.Path(name).unlink(missing_ok=True)
        self.good("init", "vault", "--key-file", "key")

    @staticmethod
    def call(*args):
        return ["--vault", "vault", "backup", "--source", "db", *args]

    def failed(self):
        """Whether status says so, in both of its places; a source that never went well is listed, too."""
        status = self.json("--vault", "vault", "status", code=1)
        source, = status["sources"]
        self.assertEqual("source-failed" in status["reasons"], source["failed"] is not None)
        text = self.good("--vault", "vault", "status", code=1)
        self.assertEqual("its last run failed" in text, source["failed"] is not None)
        return source["failed"] is not None

    def test_a_source_that_never_went_well_is_red(self):
        self.assertEqual(self.shell("exit 1").returncode, 3)
        self.assertTrue(self.failed())
        source, = self.json("--vault", "vault", "status", code=1)["sources"]
        self.assertEqual((source["snapshots"], source["newest"], source["age_seconds"]), (0, None, None))

    def kept(self):
        """What the newest snapshot holds under db.dump, or None; and how many snapshots there are."""
        rows = self.rows("--vault", "vault", "snapshots")
        if not rows:
            return None, 0
        return self.good("--vault", "vault", "--key", "key", "cat", "latest:db", "db.dump"), len(rows)

    def alarms(self):
        return [r["kind"] for r in self.rows("--vault", "vault", "log")].count("alarm")

    def shell(self, line, **more):
        return self.run_dozo(*self.call("--stdin-as", "db.dump", "--", "sh", "-c", line), **more)

    def test_what_a_program_writes_is_a_file(self):
        done = self.json(*self.call("--stdin-as", "db.dump", "--", "printf", "%s-%s", "--json", "b"))
        self.assertEqual((done["files"], done["bytes"]), (1, 8))
        self.assertEqual(self.kept(), ("--json-b", 1))
        self.assertIn("db.dump", self.good("--vault", "vault", "--key", "key", "ls", "latest:db"))
        self.good("--vault", "vault", "--key", "key", "restore", "latest:db", "--to", "back")
        self.assertEqual(read("back/db.dump"), b"--json-b")
        self.assertEqual(os.stat("back/db.dump").st_mode & 0o7777, 0o600)
        self.good("--vault", "vault", "--key", "key", "verify", "--data")
        shutil.rmtree("back")

    def test_standard_input_is_a_file(self):
        for _ in range(2):
            done = subprocess.run([DOZO, *self.call("--stdin-as", "db.dump")], input=b"piped", check=False,
                                  capture_output=True)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.kept(), ("piped", 2))
        empty = self.refused(3, *self.call("--stdin-as", "db.dump"), says="not a single byte")
        self.assertIn("the last one stands", empty)
        self.assertEqual(self.kept(), ("piped", 2))

    def test_a_program_that_fails_keeps_nothing_and_alarms(self):
        self.assertEqual(self.shell("echo good").returncode, 0)
        for line, says in [("echo part; echo why >&2; exit 3", [b"sh failed: exit status 3", b"why"]),
                           ("echo part; kill -KILL $$", [b"signal 9"]),
                           ("exec >&-; sleep 0.2; exit 1", [b"exit status 1"]),
                           ("true", [b"not a single byte"]),
                           ("head -c 40000000 /dev/zero; exit 1", [b"exit status 1"])]:
            before = self.alarms()
            done = self.shell(line)
            self.assertEqual(done.returncode, 3, line)
            for part in says + [b"Run sh by hand"]:
                self.assertIn(part, done.stderr)
            self.assertEqual(done.stdout, b"")
            self.assertEqual(self.kept(), ("good\n", 1), line)
            self.assertEqual(self.alarms(), before + 1)
            self.assertTrue(self.failed(), line)
        self.refused(3, *self.call("--stdin-as", "db.dump", "--", "no-such-program"), says="no-such-program")
        self.assertEqual(self.kept(), ("good\n", 1))
        self.assertEqual(self.shell("echo better").returncode, 0)
        self.assertFalse(self.failed(), "the next good run clears it")
        self.assertIn("終了コード 3", self.shell("exit 3", env={"LANG": "ja_JP.UTF-8"}).stderr.decode())

    def test_a_program_does_not_outlive_the_backup(self):
        """The vault cannot take more: the writer is ended and not left waiting."""
        line = "echo $$ >said; trap '' PIPE; cat /dev/urandom; exec sleep 1000"
        done = subprocess.run([DOZO, *self.call("--stdin-as", "db.dump", "--", "sh", "-c", line)], check=False,
                              capture_output=True, timeout=60, restore_signals=False, # SIGXFSZ stays ignored
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20)))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn(b"No snapshot was made", done.stderr)
        self.assertFalse(os.path.exists(f"/proc/{int(read('said'))}"))
        self.assertEqual(self.kept(), (None, 0))
        self.assertEqual(self.alarms(), 1)

    def test_pre_and_post_run_around(self):
        around = ["--pre", "echo pre; echo pre >>ran", "--post", "echo post; echo post $DOZO_RESULT >>ran"]
        done = self.run_dozo("--json", *self.call(*around, "tree"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith(b"{"), done.stdout)
        self.assertEqual(done.stderr, b"pre\npost\n")
        self.assertEqual(read("ran"), b"pre\npost ok\n")
        self.good(*self.call(*around, "--stdin-as", "db.dump", "--", "cat", "ran"))
        self.assertEqual(self.kept()[0], "pre\npost ok\npre\n")
        self.assertEqual(self.alarms(), 0)

    def test_no_backup_when_pre_fails(self):
        for post in [], ["--post", "echo $DOZO_RESULT >>ran"]:
            self.refused(3, *self.call("--pre", "echo pre; exit 5", *post, "tree"),
                         says=["--pre", "exit status 5", "No snapshot was made"])
        self.assertEqual(read("ran"), b"failed\n")
        self.assertEqual(self.kept(), (None, 0))
        self.assertEqual(self.alarms(), 2)

    def test_post_is_told_how_it_went(self):
        post = ["--post", "echo $DOZO_RESULT >>ran"]
        self.refused(3, *self.call(*post, "--stdin-as", "db.dump", "--", "false"))
        self.refused(3, *self.call(*post, "no-such-tree"))
        self.assertEqual(read("ran"), b"failed\nfailed\n")

    def test_the_snapshot_stands_when_post_fails(self):
        self.refused(1, *self.call("--post", "exit 9", "--stdin-as", "db.dump", "--", "echo", "good"),
                     says=["--post", "exit status 9"])
        self.assertEqual(self.kept(), ("good\n", 1))
        self.refused(3, *self.call("--post", "exit 9", "--stdin-as", "db.dump", "--", "false"), says="exit status 9")

    def test_post_runs_when_a_signal_ends_the_backup(self):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests with nohup ignores it, and so would dozo
        post = ["--post", "echo $DOZO_RESULT >>ran"]
        writer = ["--stdin-as", "db.dump", "--", "sh", "-c", "echo some; echo >said; exec sleep 1000"]
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            with subprocess.Popen([DOZO, *self.call(*post, *writer)], stderr=subprocess.DEVNULL,
                                  start_new_session=True) as dozo:
                deadline = time.monotonic() + 30
                while not os.path.exists("said") and time.monotonic() < deadline:
                    time.sleep(0.02)
                dozo.send_signal(number)
                try:
                    self.assertEqual(dozo.wait(30), -number)
                finally:
                    os.killpg(dozo.pid, signal.SIGKILL) # the writer, which has not noticed yet
            os.unlink("said")
        self.assertEqual(read("ran"), b"failed\n" * 3)
        self.assertEqual(self.kept(), (None, 0))

    def test_a_signal_during_pre_ends_it_and_post_runs(self):
        around = ["--pre", "echo >said; exec sleep 1000", "--post", "echo $DOZO_RESULT >>ran"]
        with subprocess.Popen([DOZO, *self.call(*around, "tree")], stderr=subprocess.DEVNULL) as dozo:
            deadline = time.monotonic() + 30
            while not os.path.exists("said") and time.monotonic() < deadline:
                time.sleep(0.02)
            dozo.terminate()
            self.assertEqual(dozo.wait(30), -signal.SIGTERM)
        self.assertEqual(read("ran"), b"failed\n")
        self.assertEqual(self.kept(), (None, 0))

    def test_what_makes_no_sense_is_refused(self):
        for name in "", ".", "..", "a/b":
            self.refused(2, *self.call("--stdin-as", name, "--", "echo"), says="--stdin-as")
        for more in ["--reread"], ["--one-file-system"], ["--exclude", "x"]:
            self.refused(2, *self.call("--stdin-as", "x", *more, "--", "echo"), says="--exclude")
        self.refused(2, *self.call(), says="which paths")
        self.refused(4, *self.call("--pre", "touch ran", "vault"), says="inside the vault")
        self.assertFalse(os.path.exists("ran"))


if __name__ == "__main__":
    main()
