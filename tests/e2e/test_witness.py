"""Witnesses: a log that was rolled back or rewritten is exposed by what lies outside."""
import os
import pathlib
import shutil
import subprocess

from harness import Case, main, read, write


class Witness(Case):
    @classmethod
    def prepare(cls):
        write("tree/file", "first")

    def setUp(self):
        shutil.rmtree("vault", ignore_errors=True)
        for name in ["key", "kept", "away"]:
            pathlib.Path(name).unlink(missing_ok=True)
        self.good("init", "vault", "--key-file", "key")
        self.backup()

    def backup(self):
        self.good("--vault", "vault", "backup", "--source", "s", "tree")

    def witness(self, *args, **more):
        return self.good("--vault", "vault", "witness", *args, **more)

    def status(self):
        return self.json("--vault", "vault", "status", code=1)

    def test_status_is_red_until_a_witness_is_met(self):
        self.assertIn("no-witness", self.status()["reasons"])
        self.witness("list", code=1)
        self.witness("add", "usb", "--file", "kept")
        got = self.status()
        self.assertNotIn("no-witness", got["reasons"])
        self.assertTrue(got["witness"]["fresh"])
        self.assertIn("usb", self.witness("list"))
        self.assertEqual(read("kept").split(b"\n")[1], b"4")

    def test_a_log_that_goes_on_is_consistent_and_handed_over(self):
        self.witness("add", "usb", "--file", "kept")
        self.backup()
        self.assertIn("usb", self.witness("check"))
        rows = self.rows("--vault", "vault", "witness", "check", "usb")
        self.assertEqual([r["consistent"] for r in rows], [True])
        self.assertEqual(int(read("kept").split(b"\n")[1]), rows[0]["size"])
        kinds = [r["kind"] for r in self.rows("--vault", "vault", "log")]
        self.assertEqual(kinds.count("witness"), 4)

    def test_a_log_that_was_rolled_back_is_exposed(self):
        self.witness("add", "usb", "--file", "kept")
        shutil.copytree("vault", "older")
        self.backup()
        self.witness("check")
        before = read("kept")
        shutil.rmtree("vault")
        os.rename("older", "vault")
        said = self.refused(1, "--vault", "vault", "witness", "check", says=["usb", "does NOT continue"])
        self.assertNotIn("usage", said)
        self.assertEqual(read("kept"), before, "nothing is handed over")
        self.assertEqual([r["kind"] for r in self.rows("--vault", "vault", "log")][-1], "alarm")
        self.assertIn("witness-contradicts", self.status()["reasons"])
        pathlib.Path("kept").unlink()
        self.witness("add", "usb", "--file", "kept")
        self.assertNotIn("witness-contradicts", self.status()["reasons"])

    def test_a_log_that_was_rolled_back_behind_its_witness_is_exposed(self):
        shutil.copytree("vault", "older")
        self.witness("add", "usb", "--file", "kept")
        shutil.rmtree("vault")
        os.rename("older", "vault")
        self.refused(1, "--vault", "vault", "witness", "check", "usb", says="rolled back")
        self.refused(1, "--vault", "vault", "log", "--verify", "kept", says="does NOT continue")
        self.refused(1, "--vault", "vault", "witness", "add", "usb", "--file", "kept",
                     says="does NOT continue")

    def test_a_rewritten_log_with_the_hosts_keys_is_exposed(self):
        """As long as before, signed by the same key, with another snapshot in it."""
        shutil.copytree("vault", "older")
        self.backup()
        self.witness("add", "usb", "--file", "kept")
        shutil.rmtree("vault")
        os.rename("older", "vault")
        write("tree/file", "forged")
        for _ in range(3):
            self.backup()
        write("tree/file", "first")
        self.refused(1, "--vault", "vault", "log", "--verify", "kept", says="does NOT continue")

    def test_a_commit_after_the_witness_is_told_from_one_before(self):
        self.witness("add", "usb", "--file", "kept")
        self.backup()
        rows = self.rows("--vault", "vault", "snapshots")
        self.assertEqual([r["witnessed"] for r in rows], [True, False])
        self.assertIn("not witnessed", self.good("--vault", "vault", "snapshots"))
        shutil.copy("kept", "away")
        self.witness("check")
        rows = self.rows("--vault", "vault", "snapshots")
        self.assertEqual([r["witnessed"] for r in rows], [True, True])
        # what the log claims of itself, and what the checkpoint outside proves
        rows = self.rows("--vault", "vault", "snapshots", "--checkpoint", "away")
        self.assertEqual([r["witnessed"] for r in rows], [True, False])

    def test_a_witness_that_lost_its_checkpoint_is_named(self):
        self.witness("add", "usb", "--file", "kept")
        os.unlink("kept")
        self.refused(1, "--vault", "vault", "witness", "check", says=["usb", "gone"])

    def test_a_command_keeps_it_on_another_host(self):
        script = write("host.sh", "#!/bin/sh\ncase $1 in get) cat away 2>/dev/null; exit 0;;\n"
                                  "put) cat >away.new && mv away.new away;; esac\n")
        script.chmod(0o755)
        self.witness("add", "host", "--command", f"cd {self.dir} && ./host.sh {{}}")
        self.backup()
        self.witness("check", "host")
        self.assertTrue(read("away").startswith(b"dozo.vault/"))
        self.refused(3, "--vault", "vault", "witness", "add", "no", "--command", "exit 7 # {}", says="7")

    def test_a_command_is_not_run_for_somebody_else(self):
        self.witness("add", "host", "--command", "cat away 2>/dev/null; true {}")
        if os.getuid() == 0:
            os.chown("vault", 65534, 65534)
            self.refused(4, "--vault", "vault", "witness", "check", says="owner")

    def test_paper(self):
        self.witness("add", "safe", "--paper")
        text = self.good("--vault", "vault", "checkpoint")
        page = self.run_dozo("--vault", "vault", "checkpoint", "--qr", "page.pdf")
        if page.returncode == 0 and shutil.which("pdftoppm") and shutil.which("zbarimg"):
            subprocess.run(["pdftoppm", "-r", "150", "-gray", "-singlefile", "page.pdf", "page"], check=True)
            text = subprocess.run(["zbarimg", "--quiet", "--raw", "page.pgm"], check=True,
                                  capture_output=True, text=True).stdout
            os.unlink("page.pdf")
        self.backup()
        self.witness("check", "--qr-text", text)
        write("scan.txt", text.replace("\n", "\r\n"))
        self.witness("check", "safe", "--qr-text", "scan.txt")
        self.assertTrue(self.status()["witness"]["fresh"])
        self.refused(2, "--vault", "vault", "witness", "check", "safe", says="--qr-text")
        self.refused(3, "--vault", "vault", "witness", "check", "safe", "--qr-text", "tree/file")

    def test_what_makes_no_sense_is_refused(self):
        self.refused(4, "--vault", "vault", "witness", "add", "in", "--file", "vault/kept", says="inside")
        self.refused(2, "--vault", "vault", "witness", "add", "a b", "--paper", says="name")
        self.refused(2, "--vault", "vault", "witness", "add", "x")
        self.refused(2, "--vault", "vault", "witness", "ask")
        self.refused(1, "--vault", "vault", "witness", "check", "nobody", says="nobody")

    def test_the_second_machine_checks_without_any_key(self):
        tool = pathlib.Path(__file__).resolve().parents[2] / "tools" / "verify_log.py"
        key = [line.split(":")[1].strip().strip("\"'") for line in read("vault/vault.yaml").decode().splitlines()
               if line.startswith("log_public")][0]
        self.witness("add", "usb", "--file", "kept")
        self.backup()
        check = ["python3", tool, "--old", "kept", "vault/log", key]
        self.assertEqual(subprocess.run(check, check=False, capture_output=True).returncode, 0)
        shutil.rmtree("vault/log")
        self.good("init", "vault2", "--key-file", "key2")
        shutil.copytree("vault2/log", "vault/log")
        self.assertEqual(subprocess.run(check, check=False, capture_output=True).returncode, 1)
        shutil.rmtree("vault2")


if __name__ == "__main__":
    main()
