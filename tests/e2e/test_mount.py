"""A mounted snapshot: read like any tree, by any program."""
import os
import subprocess
import unittest

from harness import Case, main, write


@unittest.skipUnless(os.access("/dev/fuse", os.R_OK | os.W_OK), "needs /dev/fuse")
class Mount(Case):
    @classmethod
    def prepare(cls):
        cls.good("init", "vault", "--key-file", "key")
        write("tree/sub/a.txt", "first\n")
        write("tree/large", os.urandom(1 << 20) * 3)
        os.symlink("sub/a.txt", "tree/link")
        cls.good("--vault", "vault", "backup", "--source", "s", "tree")
        cls.opened = ("--vault", "vault", "--key", "key")
        cls.root = str(cls.dir / "tree").lstrip("/")
        os.mkdir("at")
        done = cls.run_dozo(*cls.opened, "mount", "latest", "at")
        if done.returncode != 0:
            raise unittest.SkipTest(done.stderr.decode())

    @classmethod
    def tearDownClass(cls):
        subprocess.run(["fusermount3", "-u", cls.dir / "at"], check=True)
        super().tearDownClass()

    def test_the_tree_is_there_when_the_command_returns(self):
        subprocess.run(["diff", "-r", "tree", f"at/{self.root}"], check=True)
        found = subprocess.run(["grep", "-rl", "first", f"at/{self.root}"], capture_output=True,
                               check=True)
        self.assertEqual(found.stdout.decode(), f"at/{self.root}/sub/a.txt\n")

    def test_nothing_can_be_written(self):
        for act in (lambda: write(f"at/{self.root}/new"), lambda: os.remove(f"at/{self.root}/large"),
                    lambda: os.chmod(f"at/{self.root}/large", 0)):
            self.assertRaises(OSError, act)

    def test_what_cannot_be_mounted_is_said(self):
        self.refused(3, *self.opened, "mount", "latest", "nowhere")
        self.refused(3, *self.opened, "mount", "latest:none", "at")
        self.refused(4, "--vault", "vault", "mount", "latest", "at", says="--key FILE")
        self.refused(4, *self.opened, "mount", "latest", "vault/tmp", says="inside the vault")


if __name__ == "__main__":
    main()
