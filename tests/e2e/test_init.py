"""A new vault: the two ways to open it, and what is refused."""
import base64
import os
import pty
import re
import stat
import struct
import subprocess
import termios
import time

from harness import DOZO, Case, main, read, write


def public_key(kind, *fields):
    """RFC 4253, 6.6: a key is its type and its parts, each behind its length."""
    blob = b"".join(struct.pack(">I", len(f)) + f for f in (kind.encode(), *(fields or (b"\1" * 32,))))
    return kind + " " + base64.b64encode(blob).decode()


class Shares(Case):
    @classmethod
    def prepare(cls):
        cls.made = cls.json("init", "vault", "--custodians", 5, "--threshold", 3,
                            "--shares-dir", "shares")
        write("tree/a.txt", "hello\n")
        cls.good("--vault", "vault", "backup", "--source", "s", "tree")
        cls.files = [f"shares/share-{i}-of-5.dozo-share" for i in range(1, 6)]
        cls.path = str(cls.dir / "tree/a.txt")

    def cat(self, keys):
        return self.run_dozo("--vault", "vault", *(w for k in keys for w in ("--key", k)),
                             "cat", "latest", self.path)

    def test_the_result_names_vault_fingerprint_and_shares(self):
        self.assertRegex(self.made["fingerprint"], r"^([0-9a-f]{4}-){3}[0-9a-f]{4}$")
        self.assertRegex(self.made["vault"], r"^[0-9a-f]{32}$")
        self.assertEqual((self.made["custodians"], self.made["threshold"]), (5, 3))
        self.assertEqual(["shares/" + name for name in self.made["shares"]], self.files)
        self.assertIsNone(self.made["key_file"])

    def test_shares_and_pages_are_for_their_owner_only(self):
        for name in self.made["shares"] + self.made["pages"]:
            self.assertEqual(stat.S_IMODE(os.stat("shares/" + name).st_mode), 0o600)
        for name in self.made["pages"]:
            with open("shares/" + name, "rb") as page:
                self.assertEqual(page.read(5), b"%PDF-")

    def test_any_three_shares_open(self):
        for three in ((0, 1, 2), (4, 2, 0), (3, 4, 1)):
            done = self.cat([self.files[i] for i in three])
            self.assertEqual((done.returncode, done.stdout), (0, b"hello\n"), done.stderr)

    def test_keys_may_come_from_the_environment(self):
        text = self.good("--vault", "vault", "cat", "latest", self.path,
                         env={"DOZO_KEYS": ":".join(self.files[1:4])})
        self.assertEqual(text, "hello\n")

    def test_two_shares_do_not_open_and_it_is_said_how_many_are_missing(self):
        done = self.cat(self.files[:2])
        self.assertEqual((done.returncode, done.stdout), (4, b""))
        self.assertIn(b"1 still missing", done.stderr)

    def test_the_same_share_twice_counts_once(self):
        done = self.cat([self.files[0], self.files[0], self.files[1]])
        self.assertEqual(done.returncode, 4)
        self.assertIn(b"1 still missing", done.stderr)

    def test_a_mistyped_share_is_named_with_its_group(self):
        text = read(self.files[0]).decode()
        groups = re.findall(r"\b[0-9A-Z]{5}\b(?= )", text)
        wrong = groups[2][:2] + ("2" if groups[2][2] != "2" else "3") + groups[2][3:]
        write("typo.txt", text.replace(groups[2], wrong, 1))
        done = self.cat(["typo.txt", self.files[1], self.files[2]])
        self.assertEqual(done.returncode, 4)
        self.assertIn(b"typo.txt", done.stderr)
        self.assertRegex(done.stderr, rb"group \d+ is mistyped")

    def test_a_truncated_share_is_named(self):
        write("short.txt", read(self.files[0])[:-100])
        done = self.cat(["short.txt", self.files[1], self.files[2]])
        self.assertEqual(done.returncode, 4)
        self.assertRegex(done.stderr, rb"short.txt.*missing")

    def test_a_share_of_another_vault_is_named(self):
        self.good("init", "other", "--custodians", 3, "--threshold", 2, "--shares-dir", "foreign")
        done = self.cat(["foreign/share-1-of-3.dozo-share", self.files[1], self.files[2]])
        self.assertEqual(done.returncode, 4)
        self.assertRegex(done.stderr, rb"foreign/share-1-of-3.*another vault")

    def test_shares_that_exist_are_not_overwritten(self):
        before = read(self.files[0])
        self.refused(3, "init", "again", "--custodians", 5, "--threshold", 3,
                     "--shares-dir", "shares", says=["not overwritten", "Nothing was made"])
        self.assertEqual(read(self.files[0]), before)
        self.assertFalse(os.path.exists("again"))


class KeyFile(Case):
    @classmethod
    def prepare(cls):
        cls.good("init", "vault", "--key-file", "key")
        write("tree/a.txt", "hello\n")
        cls.good("--vault", "vault", "backup", "--source", "s", "tree")
        cls.path = str(cls.dir / "tree/a.txt")

    def test_a_key_file_opens(self):
        self.assertEqual(self.good("--vault", "vault", "--key", "key", "cat", "latest", self.path),
                         "hello\n")
        self.assertEqual(stat.S_IMODE(os.stat("key").st_mode), 0o600)

    def test_a_key_of_another_vault_is_refused_by_name(self):
        self.good("init", "other", "--key-file", "other.key")
        self.refused(4, "--vault", "vault", "--key", "other.key", "ls", "latest",
                     says=["other.key", "another vault"])

    def test_a_damaged_key_file_is_named(self):
        write("cut.key", read("key")[:60])
        self.refused(4, "--vault", "vault", "--key", "cut.key", "ls", "latest", says="cut.key")

    def test_what_is_no_key_is_named(self):
        write("letter.txt", "Dear custodian,\n")
        self.refused(4, "--vault", "vault", "--key", "letter.txt", "ls", "latest",
                     says=["letter.txt", "neither a key file nor a share"])
        self.refused(3, "--vault", "vault", "--key", "nowhere", "ls", "latest", says="nowhere")

    def test_a_key_file_that_exists_is_not_overwritten(self):
        before = read("key")
        self.refused(3, "init", "again", "--key-file", "key", says="not overwritten")
        self.assertEqual(read("key"), before)

    def test_the_host_keys_may_lie_elsewhere(self):
        self.good("init", "apart", "--key-file", "apart.key", "--host-key", "apart.host")
        self.assertFalse(os.path.exists("apart/host.key"))
        self.good("--vault", "apart", "backup", "--source", "s", "tree")
        os.rename("apart.host", "gone")
        self.refused(3, "--vault", "apart", "snapshots", says="host key")


class Passphrase(Case):
    @classmethod
    def prepare(cls):
        write("phrase", "correct horse\nnot this line\n")
        write("wrong", "battery staple\n")
        cls.good("init", "vault", "--key-file", "key", "--passphrase-file", "phrase")
        write("tree/a.txt", "hello\n")
        cls.good("--vault", "vault", "backup", "--source", "s", "tree")

    def test_it_opens_with_its_passphrase_only(self):
        opened = ("--vault", "vault", "--key", "key")
        self.good(*opened, "--passphrase-file", "phrase", "ls", "latest")
        self.refused(4, *opened, "--passphrase-file", "wrong", "ls", "latest", says="passphrase")

    def test_without_a_terminal_it_says_what_to_do(self):
        # setsid: a test started from a terminal has one
        done = subprocess.run([DOZO, "--vault", "vault", "--key", "key", "ls", "latest"],
                              stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              start_new_session=True)
        self.assertEqual(done.returncode, 4)
        self.assertIn(b"--passphrase-file", done.stderr)

    def test_it_is_asked_for_on_the_terminal_without_echo(self):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(DOZO, [DOZO, "--lang", "en", "--vault", "vault", "--key", "key", "ls", "latest"])
        seen = b""
        while b"Passphrase:" not in seen:
            seen += os.read(terminal, 1000)
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.01)
        os.write(terminal, b"correct horse\n")
        try:
            while more := os.read(terminal, 1000):
                seen += more
        except OSError:
            pass  # the other end is gone
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, seen)
        self.assertNotIn(b"horse", seen)


class Refusals(Case):
    def test_one_of_the_two_ways_must_be_chosen(self):
        self.refused(2, "init", "vault", says=["--custodians", "--key-file"])
        self.refused(2, "init", "vault", "--key-file", "k", "--custodians", 3, "--threshold", 2,
                     "--shares-dir", "d", says="not both")
        self.refused(2, "init", "vault", "--custodians", 3, says="belong together")
        self.refused(2, "init", "vault", "--custodians", 3, "--threshold", 4, "--shares-dir", "d")
        self.refused(2, "init", "vault", "--custodians", 3, "--threshold", 1, "--shares-dir", "d")
        self.assertFalse(os.path.exists("vault"))

    def test_keys_inside_the_vault_are_refused(self):
        for place in ("vault/key", "./vault/sub/../key", str(self.dir / "vault" / "key")):
            self.refused(4, "init", "vault", "--key-file", place, says="inside the vault")
        self.refused(4, "init", "vault/", "--custodians", 3, "--threshold", 2, "--shares-dir",
                     "vault/shares", says="inside the vault")
        os.mkdir("empty")
        os.symlink("empty", "link")
        self.refused(4, "init", "empty", "--key-file", "link/key", says="inside the vault")
        self.assertEqual(os.listdir("empty"), [])

    def test_a_directory_that_is_not_empty_is_refused_before_anything_is_written(self):
        write("full/file")
        self.refused(3, "init", "full", "--key-file", "full.key", says="not empty")
        self.assertFalse(os.path.exists("full.key"))

    def test_a_failure_half_way_says_what_is_left(self):
        write("file")
        self.refused(3, "init", "file/vault", "--key-file", "left.key",
                     says=["There is no vault", "left.key"])


class Operators(Case):
    def make(self, lines, approvals=1):
        """A vault named by the last word of the test's name."""
        write("operators", "\n".join(lines) + "\n")
        return ("init", self.id().rsplit("_", 1)[1], "--key-file", "key", "--operators", "operators", "--approvals",
                approvals)

    def test_names_and_keys_are_kept_in_either_order(self):
        keys = [public_key("ssh-ed25519"), public_key("sk-ssh-ed25519@openssh.com", b"\2" * 32, b"ssh:"),
                public_key("ecdsa-sha2-nistp256", b"nistp256", b"\4" + b"\3" * 64)]
        self.good(*self.make(["# who may approve", "alice " + keys[0], keys[1] + " bob@office", "",
                              "carol " + keys[2]], 2))
        text = read("order/vault.yaml").decode()
        for name, key in zip(("alice", "bob@office", "carol"), keys):
            self.assertIn(key + " " + name, text)
        self.assertIn("approvals: 2", text)

    def test_what_is_wrong_is_said_with_its_line(self):
        good = public_key("ssh-ed25519")
        for lines, says in (
                (["alice " + good, "bob"], "line 2"),
                (["alice ssh-rsa AAAAB3NzaC1yc2EAAAA"], "line 1"),
                (["alice ssh-ed25519 " + public_key("ecdsa-sha2-nistp256", b"nistp256", b"\4" + b"\3" * 64).split()[1]], "line 1"),
                (["alice " + good[:-3] + "*=="], "line 1"),
                (["alice " + good, "mallory " + good], "twice"),
                (["alice " + good, "alice " + public_key("ssh-ed25519", b"\2" * 32)], "twice"),
                (["# nobody"], "nobody"),
                (['a"b ' + good], "quotes")):
            self.refused(2, *self.make(lines), says=says)

    def test_more_approvals_than_operators_are_refused(self):
        self.refused(2, *self.make(["alice " + public_key("ssh-ed25519")], 2), says="2 approvals")


if __name__ == "__main__":
    main()
