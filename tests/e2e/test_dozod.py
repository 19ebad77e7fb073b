"""The daemon reads its configuration."""
import os
import pathlib
import subprocess

from harness import DOZO, Case, main, write

DOZOD = pathlib.Path(DOZO).with_name("dozod")


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
        self.check(2, f"{self.dir}/dozod.yaml:6: kind: \"fax\"; allowed: tree, command")

    def test_a_file_of_everybody_is_refused(self):
        os.chmod("dozod.yaml", 0o666)
        self.check(4, "can be written by others")
        os.unlink("dozod.yaml")
        self.check(3, "No such file or directory")

    def test_what_makes_no_sense_is_wrong_usage(self):
        for args in [], ["--config"], ["--check"], ["--config", "x"], ["--chekc"], ["--config", "x", "--check", "y"]:
            self.assertEqual(self.run_dozod(*args).returncode, 2, args)
        self.assertIn("usage: dozod", self.run_dozod("--help").stdout)
        self.assertRegex(self.run_dozod("--version").stdout, r"^dozod \d")


if __name__ == "__main__":
    main()
