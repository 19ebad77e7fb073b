"""The key holder: opened once, read many times, and closed by itself."""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

from harness import DOZO, Case, main, read, write


class Open(Case):
    @classmethod
    def prepare(cls):
        write("tree/a.txt", "hello\n")
        cls.path = str(cls.dir / "tree/a.txt")
        cls.good("init", "pristine", "--custodians", 3, "--threshold", 2, "--shares-dir", "shares")
        cls.good("init", "other", "--key-file", "other.key")
        cls.good("--vault", "pristine", "backup", "--source", "s", "tree")
        cls.keys = [w for i in (1, 3) for w in ("--key", f"shares/share-{i}-of-3.dozo-share")]
        cls.env = {"DOZO_RUNTIME_DIR": str(cls.dir / "run")}

    def setUp(self):
        for name in ["vault", "run"]:
            shutil.rmtree(name, ignore_errors=True)
        shutil.copytree("pristine", "vault")

    def tearDown(self):
        if os.path.exists("vault/vault.yaml"):
            self.run_dozo("--vault", "vault", "close", env=self.env)

    def dozo(self, *args, code=0):
        return self.good("--vault", "vault", *args, code=code, env=self.env)

    def no(self, code, *args, says=()):
        return self.refused(code, "--vault", "vault", *args, says=says, env=self.env)

    def open(self, *args):
        return json.loads(self.dozo("--json", "open", *self.keys, *args))

    def kinds(self):
        """Of the log's leaves, without the clock's ticks."""
        kinds = [json.loads(line)["kind"] for line in self.dozo("--json", "log").splitlines()]
        return [kind for kind in kinds if kind != "clock-tick"]

    def gone(self, pid):
        for _ in range(200):
            if not pathlib.Path(f"/proc/{pid}").exists() or \
               pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
            time.sleep(0.05)
        return False

    def test_once_open_every_command_reads_until_it_is_closed(self):
        self.no(4, "cat", "latest", self.path, says=["closed", "dozo open"])
        got = self.open()
        self.assertAlmostEqual(got["seconds_left"], 72 * 3600, delta=60)
        self.assertEqual(self.kinds()[-2:], ["open", "alarm"])
        self.assertEqual(self.dozo("cat", "latest", self.path), "hello\n")
        self.assertIn("a.txt", self.dozo("ls", "latest", "-R"))
        self.dozo("restore", "latest", "--to", "out")
        self.assertEqual(read("out/" + self.path.lstrip("/")), b"hello\n")
        self.assertIn("checked", json.loads(self.dozo("--json", "verify", "--data")))
        self.dozo("close")
        self.assertTrue(self.gone(got["pid"]))
        self.assertEqual(self.kinds()[-1], "close")
        self.no(4, "cat", "latest", self.path, says="closed")
        self.assertIn("was not open", self.dozo("close"))
        self.assertEqual(os.listdir("run"), [n for n in os.listdir("run") if n.endswith(".lock")])

    def test_it_takes_what_opens_the_vault(self):
        self.no(4, "open", says="--key")
        self.no(4, *self.keys[:2], "open", says="2")
        self.no(4, "open", "--key", "other.key", says="other.key")
        self.no(3, "open", "--renew", *self.keys, says="not open")
        self.assertEqual(self.kinds()[-1], "commit")

    def test_it_closes_by_itself(self):
        got = self.open("--for", "2s")
        self.assertEqual(self.dozo("cat", "latest", self.path), "hello\n")
        self.assertTrue(self.gone(got["pid"]))
        self.no(4, "cat", "latest", self.path, says="closed")
        self.assertEqual(self.kinds()[-1], "close")

    def warned(self, alarms):
        """Whether the log comes to so many alarms, that of the opening and of a renewal too."""
        for _ in range(200):
            if self.kinds().count("alarm") == alarms:
                return True
            time.sleep(0.05)
        return False

    def test_it_warns_before_it_closes(self):
        for minutes in 60, 15:
            with self.subTest(minutes):
                self.setUp()
                self.open("--for", f"{minutes}m1s")
                self.assertTrue(self.warned(2), f"{minutes} minutes before the end, no alarm")
                said = self.run_dozo("--vault", "vault", "cat", "latest", self.path, env=self.env)
                self.assertEqual(said.stdout, b"hello\n")
                self.assertIn(f"closes in {minutes - 1} min", said.stderr.decode())
                self.dozo("close")

    def test_who_renews_is_warned_again(self):
        self.open("--for", "15m1s")
        self.assertTrue(self.warned(2))
        self.dozo("open", "--renew", "--for", "60m1s", *self.keys)
        self.assertTrue(self.warned(4), "an hour before the new end, no alarm")

    def test_it_is_renewed_without_interruption(self):
        got = self.open("--for", "3s")
        self.no(4, "open", "--renew", says="--key")
        again = json.loads(self.dozo("--json", "open", "--renew", "--for", "1h", *self.keys))
        self.assertEqual(again["pid"], got["pid"])
        self.assertGreater(again["seconds_left"], 3500)
        time.sleep(3.5)
        self.assertEqual(self.dozo("cat", "latest", self.path), "hello\n")
        self.assertEqual(self.kinds().count("open"), 2)
        seen = json.loads(self.dozo("--json", "open"))
        self.assertEqual(seen["pid"], got["pid"])

    def test_a_signal_closes_it(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            got = self.open()
            os.kill(got["pid"], number)
            self.assertTrue(self.gone(got["pid"]))
            self.assertEqual(self.kinds()[-1], "close")

    def test_after_a_crash_it_is_closed_and_can_be_opened(self):
        got = self.open()
        os.kill(got["pid"], signal.SIGKILL)
        self.assertTrue(self.gone(got["pid"]))
        self.no(4, "cat", "latest", self.path, says="closed")
        self.open()
        self.assertEqual(self.dozo("cat", "latest", self.path), "hello\n")

    def test_its_memory_is_locked_and_nobody_looks_into_it(self):
        got = self.open()
        status = pathlib.Path(f"/proc/{got['pid']}/status").read_text()
        locked = int(status.split("VmLck:")[1].split()[0])
        if b"__asan_init" not in read(DOZO):  # which leaves mlock(2) out
            self.assertGreater(locked, 0)
        self.assertIn("NoNewPrivs:\t1", status)
        limits = pathlib.Path(f"/proc/{got['pid']}/limits").read_text()
        self.assertEqual(limits.split("Max core file size")[1].split()[:2], ["0", "0"])
        # not dumpable: the kernel gives its files to root
        if os.getuid() != 0:
            self.assertRaises(PermissionError, os.listdir, f"/proc/{got['pid']}/fd")
        else:
            self.assertEqual(subprocess.run(["ls", f"/proc/{got['pid']}/fd"], user=65534, check=False,
                                            capture_output=True).stdout, b"")
        command = pathlib.Path(f"/proc/{got['pid']}/cmdline").read_bytes()
        self.assertEqual(command.split(b"\0")[0], b"dozo-keyholder")

    def test_only_its_own_user_is_answered(self):
        self.open()
        self.assertEqual(oct(os.stat("run").st_mode & 0o777), "0o700")
        os.chmod("run", 0o755)
        said = self.no(4, "cat", "latest", self.path, says="nobody else may enter")
        self.assertNotIn("hello", said)
        os.chmod("run", 0o700)
        if os.getuid() == 0:  # as somebody else, past the directory
            os.chmod("run", 0o711)
            os.chmod(self.dir, 0o755)
            name = [n for n in os.listdir("run") if not n.endswith(".lock")][0]
            os.chmod("run/" + name, 0o777)
            done = subprocess.run(
                ["python3", "-c", "import socket,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
                 f"s.connect({str(self.dir / 'run' / name)!r}); s.settimeout(5)\n"
                 "try: s.send(b'S'); print(len(s.recv(1000)))\nexcept OSError: print(0)"],
                user=65534, group=65534, capture_output=True, check=False, timeout=30)
            self.assertEqual(done.stdout.strip(), b"0", done.stderr)
            os.chmod("run", 0o700)
        self.assertEqual(self.dozo("cat", "latest", self.path), "hello\n")

    def test_messages_that_make_no_sense_end_the_call_only(self):
        self.open()
        name = [n for n in os.listdir("run") if not n.endswith(".lock")][0]
        for message in [b"?", b"K", b"K\xff\xff", b"K\x00\x00", b"K\x10\x00abc", b"R", b"R" + bytes(40),
                        b"K\x00\x00\x01" + bytes(88), bytes(1000), b"K" * 1023, b"R" + b"\x7f" * 300,
                        b"G", b"G" + bytes(9), b"G" + b"\x01" * 8 + b"\x05DOZO1", b"G" + b"\xff" * 500]:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.connect("run/" + name)
                s.settimeout(10)
                s.send(message)
                got = s.recv(1000)
                self.assertTrue(got == b"" or got[0] != 0, message)
        callers = []
        for _ in range(100):  # more than it listens to
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.connect("run/" + name)
            callers.append(s)
        for s in callers:
            s.close()
        self.assertEqual(self.dozo("cat", "latest", self.path), "hello\n")

    def test_status_says_that_it_is_open(self):
        self.assertIsNone(json.loads(self.dozo("--json", "status", code=1))["open"])
        self.assertIn("open until", self.dozo("open", *self.keys, "--for", "8h"))
        got = json.loads(self.dozo("--json", "status", code=1))["open"]
        self.assertAlmostEqual(got["seconds_left"], 8 * 3600, delta=60)
        self.assertIn("open for reading", self.dozo("status", code=1))

    def test_random_messages_take_nothing_and_end_nothing(self):
        got = self.open()
        name = [n for n in os.listdir("run") if not n.endswith(".lock")][0]
        dice = random.Random(7)
        seeds = [b"K\x10\x00" + bytes(16) + b"\x01\x02\x00\x50\x00\x01\x00\x00\x00" + bytes(80), b"S",
                 b"R" + (3600 * 10**6).to_bytes(8, "little") + bytes(32) + b"who",
                 b"G" + (3600 * 10**6).to_bytes(8, "little") + b"\x92DOZO1:" + b"A" * 140 + b"who"]
        for _ in range(2000):
            message = bytearray(dice.choice(seeds))
            for _ in range(dice.randrange(4)):
                message[dice.randrange(len(message))] = dice.randrange(256)
            message = bytes(message[:dice.randrange(1, len(message) + 1)])
            if message[:1] == b"E":
                continue
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.connect("run/" + name)
                s.settimeout(20)
                s.send(message)
                answer = s.recv(1000)
                self.assertFalse(answer[:1] == b"\0" and message[:1] != b"S", message)
        seen = json.loads(self.dozo("--json", "open"))
        self.assertEqual((seen["pid"], seen["shares"]), (got["pid"], None))
        self.assertGreater(seen["seconds_left"], 71 * 3600)
        self.assertEqual(self.dozo("cat", "latest", self.path), "hello\n")

    def give(self, share, *args):
        return json.loads(self.dozo("--json", "open", "--collect", "--key",
                                    f"shares/share-{share}-of-3.dozo-share", *args))

    def test_custodians_come_one_by_one(self):
        first = self.give(2)
        self.assertEqual((first["open"], first["shares"]), (False, {"have": 1, "need": 2}))
        self.assertAlmostEqual(first["seconds_left"], 900, delta=30)
        self.no(4, "cat", "latest", self.path, says=["1 of 2", "closed"])
        self.assertEqual(self.give(2)["shares"]["have"], 1, "the same one counts once")
        self.assertEqual(self.kinds()[-1], "commit", "nothing was opened yet")
        second = self.give(3, "--for", "8h")
        self.assertEqual((second["open"], second["shares"], second["pid"]), (True, None, first["pid"]))
        self.assertAlmostEqual(second["seconds_left"], 8 * 3600, delta=60)
        self.assertEqual(self.kinds()[-2:], ["open", "alarm"])
        self.assertEqual(self.dozo("cat", "latest", self.path), "hello\n")
        # and once more for a renewal: without it nothing changes
        self.assertEqual(self.give(1)["shares"], None)
        self.assertEqual(self.give(1, "--renew")["shares"], {"have": 1, "need": 2})
        renewed = self.give(2, "--renew", "--for", "9h")
        self.assertAlmostEqual(renewed["seconds_left"], 9 * 3600, delta=60)
        self.assertEqual(self.kinds().count("open"), 2)

    def test_a_wrong_share_is_refused_and_the_others_stay(self):
        self.good("init", "another", "--custodians", 3, "--threshold", 2, "--shares-dir", "theirs")
        self.give(1)
        self.no(4, "open", "--collect", "--key", "theirs/share-2-of-3.dozo-share", says="another vault")
        self.assertEqual(json.loads(self.dozo("--json", "open"))["shares"], {"have": 1, "need": 2})
        self.assertTrue(self.give(3)["open"])

    def test_all_at_once_is_the_same(self):
        got = json.loads(self.dozo("--json", "open", "--collect", *self.keys))
        self.assertTrue(got["open"])
        self.assertIsNone(got["shares"])

    def test_what_was_not_opened_is_not_closed_in_the_log(self):
        got = self.give(1)
        self.assertIsNone(json.loads(self.dozo("--json", "status", code=1))["open"])
        self.dozo("close")
        self.assertTrue(self.gone(got["pid"]))
        self.assertEqual(self.kinds()[-1], "commit")
        self.assertEqual(self.give(2)["shares"]["have"], 1, "the first was forgotten")

    def test_a_key_file_is_not_collected(self):
        self.refused(2, "--vault", "other", "open", "--collect", "--key", "other.key", env=self.env,
                     says="by itself")

    def test_one_at_a_time(self):
        first = self.open()
        self.assertEqual(self.open()["pid"], first["pid"])
        self.assertEqual(self.kinds().count("open"), 1)

    def test_what_makes_no_sense_is_refused(self):
        for args, says in [(["open", "x"], "too many"), (["close", "x"], "too many"),
                           (["open", "--for", "8d"], "7 days"), (["open", "--for", "x"], "8h")]:
            self.no(2, *args, says=says)


if __name__ == "__main__":
    main()
