"""Rules, holds, and what prune says follows from them; nothing is ever removed."""
import pathlib
import shutil

from harness import Case, main, write


class Retention(Case):
    @classmethod
    def prepare(cls):
        write("tree/file", "first")

    def setUp(self):
        shutil.rmtree("vault", ignore_errors=True)
        pathlib.Path("key").unlink(missing_ok=True)
        self.good("init", "vault", "--key-file", "key")
        for source in ["a", "a", "b"]:
            self.good("--vault", "vault", "backup", "--source", source, "tree")

    def dozo(self, *args, **more):
        return self.good("--vault", "vault", *args, **more)

    def prune(self, *args):
        return self.rows("--vault", "vault", "prune", "--dry-run", *args)

    def test_every_snapshot_has_a_reason(self):
        self.assertEqual([(r["source"], r["decision"], r["reason"]) for r in self.prune()],
                         [("a", "keep", "no-rules"), ("a", "keep", "no-rules"), ("b", "keep", "no-rules")])
        self.dozo("policy", "set", "a", "--timezone", "Asia/Tokyo")
        self.assertEqual([r["reason"] for r in self.prune("--source", "a")], ["minimum", "newest"])
        self.dozo("hold", "latest:b", "--why", "case 7")
        self.assertEqual([r["reason"] for r in self.prune("--source", "b")], ["held"])
        self.assertIn("0 of 3", self.dozo("prune", "--dry-run"))
        self.assertEqual(len(self.rows("--vault", "vault", "snapshots")), 3)

    def test_rules_only_tighten(self):
        self.refused(2, "--vault", "vault", "policy", "set", "a", says="--timezone")
        self.refused(4, "--vault", "vault", "policy", "set", "a", "--timezone", "UTC", "--minimum", "59", says="60 days")
        self.dozo("policy", "set", "a", "--timezone", "UTC", "--minimum", "90")
        done = self.run_dozo("--vault", "vault", "policy", "set", "aa", "--timezone", "UTC")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"no snapshot of it yet", done.stderr)
        self.refused(4, "--vault", "vault", "policy", "set", "a", "--minimum", "60", says=["minimum", "tightened"])
        self.dozo("policy", "set", "a", "--daily", "400")
        got = self.json("--vault", "vault", "policy", "show", "a")
        self.assertEqual((got["minimum_days"], got["daily"], got["monthly"], got["yearly"], got["timezone"]),
                         (90, 400, 24, 5, "UTC"))
        self.assertIn("400", self.dozo("policy"))
        self.assertEqual(self.rows("--vault", "vault", "policy", "show", "b"), [])

    def test_holds_are_listed_with_their_reason(self):
        self.assertEqual(self.rows("--vault", "vault", "hold"), [])
        self.refused(2, "--vault", "vault", "hold", "latest", says="--why")
        self.refused(3, "--vault", "vault", "hold", "ffffffff", "--why", "x")
        self.dozo("hold", "latest", "--why", "evidence")
        row, = self.rows("--vault", "vault", "hold")
        self.assertEqual(row["why"], "evidence")
        self.assertEqual(row["snapshot"], self.prune("--source", "b")[0]["id"])
        self.assertIn("evidence", self.dozo("hold"))

    def test_a_damaged_record_is_kept_and_named(self):
        for path in pathlib.Path("vault/commits").rglob("*"):
            if path.is_file():
                path.unlink()
        self.assertEqual({(r["reason"], r["decision"]) for r in self.prune()}, {("unreadable", "keep")})
        self.assertIn("dozo verify", self.dozo("prune", "--dry-run"))

    def test_prune_without_dry_run_removes_nothing(self):
        self.refused(2, "--vault", "vault", "prune", says="--dry-run")


if __name__ == "__main__":
    main()
