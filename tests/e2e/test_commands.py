"""Commands on a small tree: what they print, in text and JSON, and their exit codes."""
import base64
import json
import os
import re
import subprocess

from harness import DOZO, Case, main, read, write

ODD = b"odd\xff\nname"
NOBODY = 65534


class Commands(Case):
    @classmethod
    def prepare(cls):
        cls.good("init", "vault", "--key-file", "key")
        write("tree/sub/a.txt", "first\n")
        write("tree/empty")
        with open("tree/sparse", "wb") as sparse:
            sparse.seek(3_000_000)
            sparse.write(b"middle")
            sparse.truncate(5_000_000)
        write("tree/large", os.urandom(1 << 20) * 3)
        with open(os.path.join(b"tree", ODD), "wb") as odd:
            odd.write(b"odd")
        os.symlink("sub/a.txt", "tree/link")
        cls.closed = ("--vault", "vault")
        cls.opened = ("--vault", "vault", "--key", "key")
        cls.first = cls.json(*cls.closed, "backup", "--source", "files", "tree")
        write("tree/sub/a.txt", "second\n")
        write("tree/sub/b.txt", "new\n")
        os.remove("tree/empty")
        os.chmod("tree/large", 0o600)
        os.remove("tree/link")
        os.mkdir("tree/link")
        cls.second = cls.json(*cls.closed, "backup", "--source", "files", "tree")
        cls.root = str(cls.dir / "tree").lstrip("/")

    def test_backup_tells_what_it_kept(self):
        keys = ("snapshot source files dirs bytes new_bytes stored_bytes seconds alarms changed "
                "errors problems")
        for key in keys.split():
            self.assertIn(key, self.first)
        self.assertEqual(self.first["files"], 5)
        self.assertEqual((self.first["errors"], self.first["problems"]), (0, []))
        self.assertLess(self.second["new_bytes"], 100_000)

    def test_snapshots_are_listed_closed_and_in_order(self):
        rows = self.rows(*self.closed, "snapshots")
        for key in "id source arrived files bytes new_bytes stored_bytes alarms".split():
            self.assertIn(key, rows[0])
        ids = [row["id"] for row in rows if row["source"] == "files"]
        self.assertEqual(ids, [self.first["snapshot"], self.second["snapshot"]])
        self.assertRegex(rows[0]["arrived"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+09:00$")
        self.assertIn("files", self.good(*self.closed, "snapshots", "--source", "files"))
        self.assertEqual(self.good(*self.closed, "--json", "snapshots", "--source", "none"), "")

    def test_ls_lists_a_directory_and_everything_below(self):
        names = [row["path"] for row in self.rows(*self.opened, "ls", "latest:files", self.root)]
        self.assertIn(f"{self.root}/sub", names)
        self.assertNotIn(f"{self.root}/sub/a.txt", names)
        names = [row["path"] for row in self.rows(*self.opened, "ls", "-R", "latest:files")]
        self.assertIn(f"{self.root}/sub/a.txt", names)
        text = self.good(*self.opened, "ls", "-l", "latest:files", "/" + self.root + "/")
        self.assertRegex(text, r"-rw------- +\d+ +\d+ +3\.0 MiB \d{4}-\S+ \S+ \S+/large\n")

    def test_a_name_that_is_not_utf8_has_its_exact_bytes_beside_it(self):
        rows = [row for row in self.rows(*self.opened, "ls", "latest:files", self.root)
                if "path_base64" in row]
        self.assertEqual(len(rows), 1)
        self.assertEqual(base64.b64decode(rows[0]["path_base64"]), self.root.encode() + b"/" + ODD)
        self.assertTrue(rows[0]["path"].endswith("/odd\ufffd\nname"))

    def test_a_terminal_never_sees_control_characters_of_a_name(self):
        terminal, other = os.openpty()
        with subprocess.Popen([DOZO, *self.opened, "ls", "latest:files", self.root],
                              stdout=other, stderr=subprocess.DEVNULL) as running:
            os.close(other)
            seen = b""
            try:
                while more := os.read(terminal, 4096):
                    seen += more
            except OSError:
                pass
            self.assertEqual(running.wait(), 0)
        os.close(terminal)
        self.assertIn(rb"odd\xff\x0aname", seen)

    def test_cat_gives_every_byte_with_holes_as_zeros(self):
        for name in ("sub/a.txt", "large", "sparse"):
            done = self.run_dozo(*self.opened, "cat", "latest:files", f"{self.root}/{name}")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.stdout == read("tree/" + name), name)
        old = self.good(*self.opened, "cat", self.first["snapshot"][:8], f"/{self.root}/sub/a.txt")
        self.assertEqual(old, "first\n")
        self.assertEqual(self.good(*self.opened, "cat", self.first["snapshot"],
                                   f"{self.root}/empty"), "")

    def test_cat_of_what_is_no_file_or_not_there_fails(self):
        self.refused(3, *self.opened, "cat", "latest:files", self.root)
        self.refused(3, *self.opened, "cat", "latest:files", "nowhere")

    def test_diff_names_each_change_once(self):
        a, b = self.first["snapshot"], self.second["snapshot"]
        found = {row["path"].removeprefix(self.root + "/"): row["change"]
                 for row in self.rows(*self.opened, "diff", a, b, code=1)}
        for path, change in {"sub/a.txt": "content", "sub/b.txt": "added", "empty": "removed",
                             "large": "meta", "link": "type"}.items():
            self.assertEqual(found.get(path), change, path)
        self.assertEqual(self.good(*self.opened, "diff", a, a), "")
        self.refused(3, *self.opened, "diff", a, "ffffffff")

    def test_restore_gives_the_tree_back(self):
        got = self.json(*self.opened, "restore", "latest:files", "--to", "out")
        for key in "files bytes seconds errors".split():
            self.assertIn(key, got)
        self.assertEqual((got["files"], got["errors"]), (5, 0))
        subprocess.run(["diff", "-r", "tree", f"out/{self.root}"], check=True)
        self.assertLess(os.stat(f"out/{self.root}/sparse").st_blocks * 512, 1_000_000)

    def test_restore_of_one_path_can_drop_leading_components(self):
        depth = len(self.root.split("/"))
        self.good(*self.opened, "restore", self.first["snapshot"], f"/{self.root}/sub",
                  "--to", "part", "--strip", depth)
        self.assertEqual(read("part/sub/a.txt"), b"first\n")
        self.assertEqual(os.listdir("part"), ["sub"])

    def test_restore_does_not_overwrite_unless_told(self):
        write(f"over/{self.root}/sub/a.txt", "mine\n")
        done = self.json(*self.opened, "restore", "latest:files", "--to", "over", code=1)
        self.assertEqual(done["errors"], 1)
        self.assertEqual(read(f"over/{self.root}/sub/a.txt"), b"mine\n")
        self.good(*self.opened, "restore", "latest:files", "--to", "over", "--overwrite")
        self.assertEqual(read(f"over/{self.root}/sub/a.txt"), b"second\n")

    def test_a_vault_does_not_keep_itself(self):
        self.refused(4, "--vault", "vault", "backup", "--source", "self", "vault/packs", says="inside the vault")

    def test_restore_refuses_a_typo_and_a_place_inside_the_vault(self):
        self.refused(3, *self.opened, "restore", "latest", "nowhere", "--to", "typo", says="nowhere")
        self.assertFalse(os.path.exists("typo"))
        self.refused(4, *self.opened, "restore", "latest", "--to", "vault/out",
                     says="inside the vault")

    def test_the_log_is_listed_and_continues_an_older_checkpoint(self):
        rows = self.rows(*self.closed, "log")
        self.assertEqual([row["kind"] for row in rows[:4]], ["genesis", "commit", "clock-tick", "commit"])
        self.assertEqual([row["index"] for row in self.rows(*self.closed, "log", "--since", 2)][0], 2)
        older = write("older", read("vault/log/checkpoint"))
        self.good(*self.closed, "backup", "--source", "other", "tree/sub")
        self.good(*self.closed, "log", "--verify", older)
        self.assertTrue(self.json(*self.closed, "log", "--verify", older)["consistent"])

    def test_a_checkpoint_of_another_log_is_an_alarm(self):
        self.good("init", "second", "--key-file", "second.key")
        self.refused(1, *self.closed, "log", "--verify", "second/log/checkpoint", says="NOT")
        write("nonsense", "nothing\n")
        self.refused(3, *self.closed, "log", "--verify", "nonsense")

    def test_export_is_a_tar_that_others_read(self):
        self.good(*self.opened, "export", "latest:files", "--tar", "out.tar")
        os.mkdir("untarred")
        subprocess.run(["tar", "-xf", "out.tar", "-C", "untarred"], check=True)
        subprocess.run(["diff", "-r", "tree", f"untarred/{self.root}"], check=True)
        self.refused(3, *self.opened, "export", "latest", "--tar", "out.tar", says="exists")
        self.refused(4, *self.opened, "export", "latest", "--tar", "vault/tar", says="inside")
        piped = self.run_dozo(*self.opened, "export", "latest:files", "--tar", "-")
        self.assertTrue(piped.stdout == read("out.tar"))

    def test_verify_finds_nothing_in_a_whole_vault(self):
        closed = self.json(*self.closed, "verify")
        self.assertEqual(closed["damaged"], [])
        self.assertGreater(closed["checked"], 0)
        opened = self.json(*self.opened, "verify", "--data")
        self.assertEqual(opened["opened"], opened["checked"])
        self.refused(4, *self.closed, "verify", "--data", says="--key FILE")
        self.assertIn("No damage", self.good(*self.closed, "verify", "--sample", 50))
        self.refused(2, *self.closed, "verify", "--sample", 101)

    def test_status_is_red_while_nobody_outside_watches(self):
        self.good(*self.closed, "verify")
        got = self.json(*self.closed, "status", code=1)
        self.assertEqual(got["state"], "red")
        self.assertIn("no-witness", got["reasons"])
        self.assertNotIn("never-verified", got["reasons"])
        files = next(s for s in got["sources"] if s["source"] == "files")
        self.assertEqual((files["snapshots"], files["newest"]), (2, self.second["snapshot"]))
        self.assertEqual(got["log"]["size"], len(self.rows(*self.closed, "log")))
        self.assertIn(got["fingerprint"], self.good(*self.closed, "status", code=1))

    def test_rebuild_makes_the_index_again(self):
        for name in os.listdir("vault/index"):
            os.remove("vault/index/" + name)
        done = self.json(*self.closed, "rebuild")
        self.assertEqual(done["read"], done["packs"])
        self.assertGreater(done["objects"], 0)
        self.good(*self.opened, "ls", "latest")

    def test_what_cannot_be_read_is_named_and_the_rest_is_kept(self):
        user = NOBODY if os.geteuid() == 0 else None  # root reads everything
        os.mkdir("theirs")
        write("locked/open", "x")
        os.chmod(write("locked/shut", "y"), 0)
        os.chmod("locked/open", 0o644)
        if user:
            os.chmod(self.dir, 0o755)
            os.chown("theirs", user, user)
            try:
                self.run_dozo("--version", user=user)
            except PermissionError:
                self.skipTest("the program lies where others cannot reach it")
        self.good("init", "theirs/vault", "--key-file", "theirs/key", user=user)
        done = self.run_dozo("--vault", "theirs/vault", "--json", "backup", "--source", "s",
                             "locked", user=user)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"locked/shut: could not be read: Permission denied", done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual((said["errors"], said["problems"][0]["problem"]), (1, "unreadable"))
        done = self.run_dozo("--vault", "theirs/vault", "--quiet", "backup", "--source", "s", "--no-names", "locked",
                             user=user)
        self.assertEqual((done.returncode, done.stderr),
                         (1, b"dozo: source s: 1 could not be kept as they were\n"))
        opened = ("--vault", "theirs/vault", "--key", "theirs/key")
        where = str(self.dir / "locked").lstrip("/")
        self.assertEqual(self.good(*opened, "cat", "latest", where + "/open", user=user), "x")
        self.refused(3, *opened, "cat", "latest", where + "/shut", user=user, says="no content")
        got = json.loads(self.good(*opened, "--json", "restore", "latest", "--to", "theirs/out",
                                   user=user, code=1))
        self.assertGreater(got["left_out"] + got["partial"], 0)

    def test_a_missing_path_makes_no_snapshot(self):
        self.refused(3, *self.closed, "backup", "--source", "s", "nowhere", says="No snapshot")

    def test_quiet_is_quiet(self):
        done = self.run_dozo("--quiet", *self.closed, "backup", "--source", "quiet", "tree/sub")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def test_excludes_leave_out(self):
        done = self.json(*self.closed, "backup", "--source", "some", "--exclude", "*.txt",
                         "--exclude", "large", "tree")
        self.assertEqual(done["files"], 2)


class Damage(Case):
    @classmethod
    def prepare(cls):
        cls.good("init", "vault", "--key-file", "key")
        write("tree/a", os.urandom(300_000))
        cls.good("--vault", "vault", "backup", "--source", "s", "tree")
        cls.good("--vault", "vault", "backup", "--source", "s", "tree")

    def test_a_damaged_commit_is_named_and_the_others_are_listed(self):
        row = self.rows("--vault", "vault", "log")[1]
        name = next(o["name"] for o in row["objects"] if o["type"] == "commit")
        path = "vault/commits/" + name
        whole = read(path)
        os.chmod(path, 0o600)
        write(path, whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        done = self.run_dozo("--vault", "vault", "--json", "snapshots")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertIn(name[:16].encode(), done.stderr)
        write(path, whole)

    def test_damaged_content_is_found_and_named_and_cat_ends_with_1(self):
        for name in os.listdir("vault/packs"):
            path = "vault/packs/" + name
            if os.path.getsize(path) > 200_000:
                os.chmod(path, 0o600)
                with open(path, "r+b") as file:
                    file.seek(150_000)
                    file.write(b"damaged, damaged")
                damaged = name
        self.refused(1, "--vault", "vault", "--key", "key", "cat", "latest", self.dir / "tree/a",
                     says="damaged")
        got = self.json("--vault", "vault", "verify", code=1)
        self.assertEqual([d["object"] for d in got["damaged"]], ["packs/" + damaged])
        self.assertEqual(len(got["damaged"][0]["snapshots"]), 2)
        got = self.json("--vault", "vault", "--key", "key", "verify", "--data", code=1)
        paths = [p["path"] for d in got["damaged"] for p in d["paths"]]
        self.assertIn(str(self.dir / "tree/a").lstrip("/"), paths)
        self.assertIn("damage-found", self.json("--vault", "vault", "status", code=1)["reasons"])

    def test_a_damaged_log_is_reported(self):
        self.good("init", "bad", "--key-file", "bad.key")
        os.chmod("bad/log/checkpoint", 0o600)
        whole = read("bad/log/checkpoint")
        write("bad/log/checkpoint", whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
        self.refused(1, "--vault", "bad", "log", says="dozo verify")
        self.refused(3, "--vault", "bad", "snapshots", says="dozo verify")


class Usage(Case):
    @classmethod
    def prepare(cls):
        cls.good("init", "vault", "--key-file", "key")
        write("tree/a", "x")
        cls.good("--vault", "vault", "backup", "--source", "s", "tree")

    def test_unknown_words_name_the_nearest(self):
        self.refused(2, "snapshot", says="did you mean snapshots?")
        self.refused(2, "bakcup", says="did you mean backup?")
        self.refused(2, "backup", "--one-filesystem", says="did you mean --one-file-system?")
        self.refused(2, "--vualt", "x", "ls", says="did you mean --vault?")
        self.refused(2, "ls", "-x", says="no option -x")
        self.refused(2, "ls", "--json", "-lx", says="no option -x")
        self.refused(2, "backup", "--source", says="wants an argument")
        self.refused(2, "init", "--pass", says="several options")
        self.refused(2, "backup", "--reread=yes", says="no argument")
        said = self.refused(2, "qqqqqqqq")
        self.assertNotIn("did you mean", said)

    def test_missing_arguments_are_wrong_usage(self):
        for args in ((), ("backup",), ("ls",), ("cat", "latest"), ("diff", "a"), ("restore", "latest"),
                     ("backup", "--source", "s"), ("backup", "--source", ".s", "tree"),
                     ("log", "--since", "-1"), ("log", "extra"), ("--lang", "fr", "ls")):
            self.refused(2, "--vault", "vault", *args)
        self.refused(2, "snapshots", says="--vault")

    def test_global_options_stand_before_or_after_the_command(self):
        before = self.good("--vault", "vault", "--json", "snapshots")
        self.assertEqual(self.good("snapshots", "--json", "--vault", "vault"), before)
        self.assertEqual(self.good("--json", "snapshots", env={"DOZO_VAULT": "vault"}), before)

    def test_help_knows_every_command(self):
        text = self.good("help")
        commands = re.findall(r"^  ([a-z]+)  ", text, re.M)
        self.assertIn("backup", commands)
        for command in commands:
            self.assertIn(f"dozo {command}", self.good("help", command))
            self.assertEqual(self.good(command, "--help"), self.good("help", command))
        self.refused(2, "help", "nothing")
        self.assertRegex(self.good("--version"), r"^dozo \d")

    def test_a_closed_vault_says_how_to_open_it(self):
        for command in (("ls", "latest"), ("cat", "latest", "x"), ("diff", "latest", "latest"),
                        ("restore", "latest", "--to", "out")):
            done = self.run_dozo("--vault", "vault", *command)
            self.assertEqual((done.returncode, done.stdout), (4, b""))
            self.assertIn(b"--key FILE", done.stderr)
        self.assertFalse(os.path.exists("out"))

    def test_what_is_no_vault_is_said(self):
        os.makedirs("nothing", exist_ok=True)
        self.refused(3, "--vault", "nothing", "snapshots", says=["nothing", "dozo init"])
        self.refused(3, "--vault", "nowhere", "snapshots", says="nowhere")

    def test_messages_come_in_japanese(self):
        done = self.run_dozo("--lang", "ja", "--vault", "vault", "ls", "latest")
        self.assertEqual(done.returncode, 4)
        self.assertIn("保管庫は閉じています", done.stderr.decode())
        self.assertIn("使い方", self.good("help", env={"LANG": "ja_JP.UTF-8"}))
        self.assertNotIn("使い方", self.good("--lang", "en", "help", env={"LANG": "ja_JP.UTF-8"}))

    def test_json_is_the_same_in_any_language(self):
        a = self.rows("--vault", "vault", "snapshots")
        b = self.rows("--lang", "ja", "--vault", "vault", "snapshots")
        self.assertEqual(a, b)

    def test_output_that_is_lost_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([DOZO, "--vault", "vault", "--json", "snapshots"], stdout=full,
                                  stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"No space left", done.stderr)

    def test_closed_standard_files_do_no_harm(self):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            subprocess.run(["sh", "-c", f'"$0" --vault vault backup --source s tree {closed}', DOZO],
                           check=True, capture_output=True)
        self.assertEqual(self.json("--vault", "vault", "verify")["damaged"], [])

    def test_a_reader_that_leaves_early_ends_ls_without_a_word(self):
        with subprocess.Popen([DOZO, "--vault", "vault", "--key", "key", "ls", "-R", "latest"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            running.stdout.close()
            self.assertEqual(running.stderr.read(), b"")


if __name__ == "__main__":
    main()
