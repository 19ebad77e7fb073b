"""Rules, holds, what prune says follows from them, and what it does."""
import json
import os
import pathlib
import shutil
import subprocess

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

    def test_a_source_goes_with_a_dry_run(self):
        self.refused(2, "--vault", "vault", "prune", "--source", "a", says="--dry-run")


FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def days(n, jump=False):
    """An environment in which so many days have passed, or the wall clock only says so."""
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"+{n}d", "NO_FAKE_STAT": "1",
            **({"DONT_FAKE_MONOTONIC": "1"} if jump else {})}


class Expiry(Case):
    """Weeks go by, by libfaketime."""

    def setUp(self):
        shutil.rmtree("vault", ignore_errors=True)
        pathlib.Path("key").unlink(missing_ok=True)
        shutil.rmtree("tree", ignore_errors=True)
        self.at(0, "init", "--key-file", "key", "vault", vault=())

    def at(self, day, *args, vault=("--vault", "vault"), code=0, jump=False):
        return self.good(*vault, *args, env=days(day, jump), code=code)

    def json_at(self, day, *args, **more):
        return json.loads(self.at(day, "--json", *args, **more))

    def keep(self, day, name, size=300_000):
        write(f"tree/{name}", os.urandom(size))
        self.at(day, "backup", "--source", "a", "tree", code=0)

    def snapshots(self, day):
        return [json.loads(row)["id"] for row in self.at(day, "--json", "snapshots").splitlines()]

    def packs(self):
        return sum(path.stat().st_size for path in pathlib.Path("vault/packs").iterdir())

    def three_generations(self):
        self.at(0, "policy", "set", "a", "--timezone", "UTC", "--daily", "1", "--monthly", "0", "--yearly", "0")
        for day in range(3):
            self.keep(day, "same" if day == 0 else f"passing-{day}", 3_000_000 if day else 300_000)
            if day:
                pathlib.Path(f"tree/passing-{day}").unlink()
        self.keep(3, "last")

    def test_what_expires_is_announced_and_removed_a_week_later(self):
        self.three_generations()
        self.assertEqual(self.json_at(40, "prune")["announced"], 0)
        before = self.snapshots(70)
        self.assertIn("3 of 4", self.at(70, "prune", "--dry-run"))
        first = self.json_at(70, "prune")
        self.assertEqual((first["announced"], first["waiting"], first["removed"]), (3, 0, 0))
        second = self.json_at(76, "prune")
        self.assertEqual((second["announced"], second["waiting"], second["removed"]), (0, 3, 0))
        self.assertEqual(self.snapshots(76), before)
        full = self.packs()
        third = self.json_at(78, "prune")
        self.assertEqual((third["waiting"], third["removed"], third["frozen"]), (0, 3, False))
        self.assertGreater(third["packs_removed"], 0)
        self.assertEqual(full - self.packs(), third["freed"])
        self.assertGreater(third["freed"], 5_900_000)
        self.assertEqual(self.snapshots(78), before[-1:])
        self.refused(3, "--vault", "vault", "--key", "key", "ls", before[0], says="no snapshot")
        self.at(78, "verify", "--data", "--key", "key")
        self.at(78, "restore", "latest", "--to", "back", "--key", "key")
        back = next(pathlib.Path("back").rglob("last"))
        self.assertEqual(back.read_bytes(), pathlib.Path("tree/last").read_bytes())
        shutil.rmtree("back")
        again = self.json_at(78, "prune")
        self.assertEqual((again["removed"], again["packs_removed"]), (0, 0))
        self.assertEqual(len(list(pathlib.Path("vault/commits").iterdir())), 1)

    def test_the_next_backup_reads_only_what_changed(self):
        self.three_generations()
        self.at(70, "prune")
        self.assertGreater(self.json_at(78, "prune")["packs_removed"], 0)
        cache = next(pathlib.Path("vault/cache").glob("path-*")).stat().st_mtime_ns
        write("tree/new", os.urandom(1000))
        row = self.json_at(78, "backup", "--source", "a", "tree")
        self.assertLess(row["read_bytes"] if "read_bytes" in row else row["new_bytes"], 50_000)
        self.assertNotEqual(next(pathlib.Path("vault/cache").glob("path-*")).stat().st_mtime_ns, cache)
        self.at(78, "verify", "--data", "--key", "key")

    def test_a_hold_in_the_week_between_keeps(self):
        self.three_generations()
        self.at(70, "prune")
        held = self.snapshots(70)[1]
        self.at(71, "hold", held, "--why", "case 7")
        self.assertEqual(self.json_at(78, "prune")["removed"], 2)
        self.assertIn(held, self.snapshots(78))
        self.at(78, "verify", "--data", "--key", "key")

    def test_an_announcement_grows_stale(self):
        self.three_generations()
        self.at(70, "prune")
        late = self.json_at(101, "prune")
        self.assertEqual((late["announced"], late["removed"]), (3, 0))

    def test_a_clock_that_jumps_lets_nothing_expire(self):
        self.three_generations()
        before = self.snapshots(3)
        for day in (-1, 1, 3650):
            with self.subTest(day=day):
                shutil.rmtree("copy", ignore_errors=True)
                shutil.copytree("vault", "copy", symlinks=True)
                copy = ("--vault", "copy")
                jumped = self.json_at(day + 3, "prune", vault=copy, jump=True, code=1)
                self.assertEqual((jumped["frozen"], jumped["announced"], jumped["removed"]), (True, 0, 0))
                later = self.json_at(90, "prune", vault=copy, code=1)
                self.assertEqual((later["frozen"], later["announced"]), (True, 0))
                status = json.loads(self.good("--vault", "copy", "--json", "status", env=days(90), code=1))
                self.assertIn("clock-frozen", status["reasons"])
                self.good("--vault", "copy", "backup", "--source", "a", "tree", env=days(90))
                rows = self.good("--vault", "copy", "--json", "snapshots", env=days(90)).splitlines()
                self.assertEqual(len(rows), len(before) + 1)

    def test_a_log_that_was_set_back_costs_no_snapshot_its_packs(self):
        self.at(0, "policy", "set", "a", "--timezone", "UTC", "--daily", "0", "--monthly", "0", "--yearly", "0")
        self.keep(0, "old")
        shutil.copytree("vault/log", "log-before")
        self.keep(1, "new")
        shutil.rmtree("vault/log")
        shutil.copytree("log-before", "vault/log")
        shutil.rmtree("log-before")
        self.assertEqual(len(self.snapshots(1)), 1)
        self.assertEqual(self.json_at(1, "prune")["packs_removed"], 0)
        self.assertEqual(self.json_at(9, "prune")["packs_removed"], 0)

    def test_operators_let_a_snapshot_go_before_its_time(self):
        shutil.rmtree("vault")
        pathlib.Path("key").unlink()
        for name in "alice", "bob":
            pathlib.Path(name).unlink(missing_ok=True)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name], check=True)
        write("operators", pathlib.Path("alice.pub").read_bytes() + pathlib.Path("bob.pub").read_bytes())
        self.at(0, "init", "vault", "--key-file", "key", "--operators", "operators", "--approvals", 2, vault=())
        self.keep(0, "wrong")
        pathlib.Path("tree/wrong").unlink()
        self.keep(1, "right")
        wrong, right = self.snapshots(1)
        asked = self.json_at(1, "request", "delete-snapshot", wrong[:8], "--why", "the wrong patient's scans")
        shown, = asked["subject"]["snapshots"]
        self.assertEqual((shown["snapshot"], shown["source"]), (wrong, "a"))
        self.assertIn("its source keeps all", shown["then"])
        for day, name in (1, "alice"), (2, "bob"):
            got = self.json_at(day, "approve", asked["request"], "--sign-with", name)
            reasons = [json.loads(row)["reason"] for row in self.at(day, "--json", "prune", "--dry-run").splitlines()]
            self.assertEqual(reasons, ["no-rules" if name == "alice" else "approved", "no-rules"])
        self.assertEqual(got["state"], "done")
        rows = [json.loads(row) for row in self.at(3, "--json", "snapshots").splitlines()]
        self.assertEqual([row["deletion"] for row in rows], [asked["request"], None])
        for command in ["snapshots"], ["prune", "--dry-run"]:
            self.assertIn("early deletion approved by request " + asked["request"][:12], self.at(3, *command))
        self.at(3, "prune")
        self.assertEqual(self.snapshots(3), [wrong, right])
        self.assertEqual(self.json_at(10, "prune")["removed"], 1)
        self.assertEqual(self.snapshots(10), [right])
        self.at(10, "verify", "--data", "--key", "key")

    def test_a_missing_pack_ends_it_and_nothing_goes(self):
        self.three_generations()
        self.at(70, "prune")
        packs = list(pathlib.Path("vault/packs").iterdir())
        next(path for path in packs if 300_000 < path.stat().st_size < 1_000_000).unlink()  # "same", or "last"
        left = len(packs) - 1
        done = self.run_dozo("--vault", "vault", "prune", env=days(78))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn(b"no pack has it", done.stderr)
        self.assertEqual(len(list(pathlib.Path("vault/packs").iterdir())), left)


if __name__ == "__main__":
    main()
