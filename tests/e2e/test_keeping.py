"""What lets snapshots go before the rules do takes operators, who read what will happen and sign it."""
import shutil
import time

from harness import main, write
from operators import Operators, sign


class Keeping(Operators):
    @classmethod
    def prepare(cls):
        super().prepare()
        for vault in "pristine", "pristine2":
            for content in "one", "two", "three":
                write("tree/file", content)
                cls.good("--vault", vault, "backup", "--source", "files", "tree")
            cls.good("--vault", vault, "policy", "set", "files", "--timezone", "Asia/Tokyo", "--minimum", 90)
            cls.good("--vault", vault, "backup", "--source", "db", "--stdin-as", "dump", "--", "sh", "-c", "exit 1", code=3)
            cls.good("--vault", vault, "hold", cls.snapshots(vault)[0], "--why", "case 7")
        shutil.rmtree("tree")

    @classmethod
    def snapshots(cls, vault="vault"):
        return [row["id"] for row in cls.rows("--vault", vault, "snapshots")]

    def reasons(self):
        return [row["reason"] for row in self.rows("--vault", "vault", "prune", "--dry-run")]

    def hold(self, vault="vault"):
        return self.rows("--vault", vault, "hold")[0]["hold"]

    def asked(self, vault="vault"):
        """Each kind, with what it is asked with."""
        return [["release-hold", self.hold(vault)], ["loosen-policy", "files,minimum=60"],
                ["delete-snapshot", self.snapshots(vault)[1]], ["acknowledge-alarm", self.alarm(vault)]]

    def alarm(self, vault="vault"):
        return [row["index"] for row in self.rows("--vault", vault, "log") if row["kind"] == "alarm"][-1]

    def state(self):
        return self.alarms(), self.reasons(), self.rows("--vault", "vault", "policy"), self.rows("--vault", "vault", "hold")

    def test_a_hold_ends_when_two_have_signed(self):
        before = self.reasons()
        self.assertEqual(before, ["held", "minimum", "newest"])
        said = self.dozo("request", "release-hold", self.hold(), "--why", "the case is closed")
        for part in ["I approve that the hold below ends", "held-for: case 7\n", "snapshot: " + self.snapshots()[0],
                     "source: files\n", "content: 1 files, 3 bytes\n",
                     "then: stays: within the minimum / 保持: 最低保存期間内\n"]:
            self.assertIn(part, said)
        request, = self.rows("--vault", "vault", "requests")
        self.approve(request, "alice")
        self.assertEqual(self.reasons(), before)
        self.assertEqual(self.approve(request, "bob")["state"], "done")
        self.assertEqual(self.reasons(), ["minimum", "minimum", "newest"])
        self.assertEqual(self.rows("--vault", "vault", "hold"), [])
        self.no("request", "release-hold", request["subject"]["hold"], "--why", "x", says="ended already")

    def test_rules_are_loosened_when_two_have_signed(self):
        request = self.ask("loosen-policy", "files,minimum=0,daily=0,monthly=0,yearly=0")
        self.assertEqual(request["subject"]["from"], "minimum 90 days, daily 180, monthly 24, yearly 5, Asia/Tokyo")
        self.assertEqual(request["subject"]["to"], "minimum 0 days, daily 0, monthly 0, yearly 0, Asia/Tokyo")
        self.assertIn("1 of 3 snapshots lose their reason to stay today", request["subject"]["today"])
        self.approve(request, "carol")
        self.assertEqual(self.reasons(), ["held", "minimum", "newest"])
        self.approve(request, "bob")
        self.assertEqual(self.reasons(), ["held", "expires", "newest"])
        self.assertEqual(self.json("--vault", "vault", "policy", "show", "files")["minimum_days"], 0)

    def test_snapshots_go_together_when_two_have_signed(self):
        first, second, _ = self.snapshots()
        request = self.ask("delete", first, second[:10])
        self.assertEqual([shown["snapshot"] for shown in request["subject"]["snapshots"]], [first, second])
        for shown, part in zip(request["subject"]["snapshots"], ["while it is held", "within the minimum"]):
            self.assertIn(part, shown["then"])
        self.assertEqual(request["kind"], "delete-snapshot")
        self.done("delete", first, second)
        self.assertEqual(self.reasons(), ["held", "approved", "newest"])
        self.done("release-hold", self.hold())
        self.assertEqual(self.reasons(), ["approved", "approved", "newest"])
        self.assertEqual(len(self.snapshots()), 3, "nothing goes before a week is over")

    def fail(self, source="db"):
        self.refused(3, "--vault", "vault", "backup", "--source", source, "--stdin-as", "dump", "--", "sh", "-c", "exit 1")
        return self.alarm()

    def alarms(self):
        """What status shows of them, in each of its places."""
        got = self.json("--vault", "vault", "status", code=1)
        self.assertEqual("source-failed" in got["reasons"], got["standing"] != [])
        self.assertEqual({s["source"] for s in got["sources"] if s["failed"]},
                         {a["about"].split(":")[0] for a in got["standing"]})
        text = self.good("--vault", "vault", "status", code=1)
        for alarm in got["standing"]:
            self.assertIn(f"leaf {alarm['leaf']}, ", text)
        return [(a["leaf"], a["reason"], a["about"]) for a in got["standing"]]

    def test_an_alarm_is_settled_when_two_have_signed(self):
        self.assertEqual(len(self.alarms()), 1)
        self.fail()
        again = self.fail()
        other = self.fail("mail")
        standing = [(again, "source-failed", "db: sh failed: exit status 1"),
                    (other, "source-failed", "mail: sh failed: exit status 1")]
        self.assertEqual(self.alarms(), standing, "who settles the last settles those before")
        said = self.dozo("request", "acknowledge-alarm", again, "--why", "the disk was full")
        for part in ["and those like it before it, are settled", f"alarm: {again}\n", "reason: source-failed\n",
                     "about: db: sh failed: exit status 1\n"]:
            self.assertIn(part, said)
        request, = self.rows("--vault", "vault", "requests")
        self.approve(request, "alice")
        self.assertEqual(self.alarms(), standing)
        self.assertEqual(self.approve(request, "carol")["state"], "done")
        self.assertEqual(self.kinds()[-1], "settled")
        self.assertEqual(self.alarms(), standing[1:])
        self.no("request", "acknowledge-alarm", again, "--why", "x", says="settled already")
        self.no("request", "acknowledge-alarm", 0, "--why", "x", code=3, says="leaf 0 is no alarm: dozo status")
        self.no("request", "acknowledge-alarm", self.snapshots()[0], "--why", "x", says="raised no alarm")
        later = self.fail()
        self.assertEqual([leaf for leaf, _, _ in self.alarms()], [other, later])
        self.dozo("verify")

    def test_one_person_is_not_two(self):
        before = self.state()
        for asked in self.asked():
            with self.subTest(asked):
                request = self.ask(*asked)
                self.approve(request, "alice")
                self.no("approve", request["request"], "--sign-with", "alice", says="already")
                self.no("approve", request["request"], "--sign-with", "dave", says="no operator")
                self.no("approve", request["request"], says="1 of the 2")
                self.assertEqual(self.state(), before)

    def test_a_signature_is_good_in_one_vault_for_one_request(self):
        before = self.state()
        for here, there in zip(self.asked(), self.asked("vault2")):
            with self.subTest(here):
                one, again, other = self.ask(*here), self.ask(*here), self.ask(*there, vault="vault2")
                self.approve(one, "alice")
                for request, vault in [(again, "vault"), (other, "vault2")]:
                    text = self.dozo("requests", "--text", request["request"], vault=vault)
                    self.no("approve", one["request"], "--signature", sign("bob", text), says="not of this text")
                self.assertEqual(self.state(), before)

    def test_what_is_done_or_expired_is_not_signed_again(self):
        for asked in self.asked():
            with self.subTest(asked):
                short = self.ask(*asked, "--for", "1s")
                text = self.dozo("requests", "--text", short["request"])
                kept = sign("bob", text)
                done = self.done(*asked)
                self.no("approve", done["request"], "--sign-with", "carol", says="carried out already")
                time.sleep(2.1)
                self.no("approve", short["request"], "--signature", kept, says="expired")

    def test_who_has_left_does_not_count(self):
        before = self.state()
        requests = [self.ask(*asked) for asked in self.asked()]
        for request in requests:
            self.approve(request, "carol")
        self.done("operator-remove", "carol")
        for request in requests:
            self.no("approve", request["request"], "--sign-with", "carol", says="no operator")
            got = self.approve(request, "alice")
            self.assertEqual((got["counting"], got["state"]), (1, "open"))
        self.assertEqual(self.state(), before)
        for request in requests:
            self.assertEqual(self.approve(request, "bob")["state"], "done")

    def test_rules_that_changed_are_asked_for_again(self):
        request = self.ask("loosen-policy", "files,minimum=60")
        self.approve(request, "alice")
        self.dozo("policy", "set", "files", "--minimum", 100)
        self.no("approve", request["request"], "--sign-with", "bob", says="ask again")
        row, = self.rows("--vault", "vault", "requests", "--all")
        self.assertEqual(row["state"], "overtaken")


if __name__ == "__main__":
    main()
