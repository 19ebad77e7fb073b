"""Operators: what takes several people takes several people, with the SSH keys they have."""
import json
import time

from harness import main, read, write
from operators import NAMES, Operators, sign


class Quorum(Operators):
    def test_two_of_three_add_a_fourth_who_then_counts(self):
        request = self.ask("operator-add", "dave.pub")
        self.assertEqual(request["state"], "open")
        self.assertEqual(request["subject"]["afterwards"],
                         "any 2 of these 4 approve: alice, bob, carol, dave")
        got = self.approve(request, "alice")
        self.assertEqual((got["state"], got["counting"], got["approved_by"]), ("open", 1, "alice"))
        self.assertEqual(self.operators(), NAMES[:3])
        got = self.approve(request, "carol")
        self.assertEqual((got["state"], got["counting"]), ("done", 2))
        self.assertEqual(self.operators(), NAMES[:4])
        self.assertEqual(self.kinds()[-4:], ["request", "approve", "approve", "operator-add"])
        self.done("operator-remove", "alice", by=("dave", "bob"))
        self.assertEqual(self.operators(), ["bob", "carol", "dave"])
        again = self.ask("operator-add", "eve.pub")
        self.no("approve", again["request"], "--sign-with", "alice", says="no operator")
        self.assertEqual(self.kinds()[-1], "request", "what does not count is not logged")

    def test_a_request_says_in_both_languages_what_will_happen(self):
        said = self.dozo("request", "operator-add", "dave.pub", "--why", "夜勤のため", "--name", "d")
        for part in ["Dozo request, version 1", "may approve requests of this vault", "承認者に加える",
                     "kind: add-operator", "name: d\n", "why: 夜勤のため",
                     "key: " + " ".join(read("dave.pub").decode().split()[:2]),
                     "any 2 of these 4 approve: alice, bob, carol, d\n"]:
            self.assertIn(part, said)
        row = self.rows("--vault", "vault", "requests")[0]
        self.assertEqual(self.dozo("requests", "--text", row["request"][:12]), said)

    def test_a_signature_can_be_made_elsewhere(self):
        request = self.ask("operator-add", "dave.pub")
        text = self.dozo("requests", "--text", request["request"][:8])
        self.dozo("approve", request["request"], "--signature", sign("bob", text))
        self.dozo("approve", request["request"][:12], "--signature", sign("carol", text))
        self.assertEqual(self.operators(), NAMES[:4])
        self.assertIn("nothing is asked for", self.run_dozo("--vault", "vault", "requests").stderr.decode())
        self.assertIn("carried out", self.dozo("requests", "--all"))

    def test_one_person_counts_once(self):
        request = self.ask("operator-add", "dave.pub")
        self.approve(request, "alice")
        self.no("approve", request["request"], "--sign-with", "alice", says="already")
        self.no("approve", request["request"], "--sign-with", "dave", says="no operator")
        self.no("approve", request["request"], says="1 of the 2")
        self.assertEqual(self.operators(), NAMES[:3])

    def test_a_used_signature_is_refused(self):
        request = self.ask("operator-add", "dave.pub")
        text = self.dozo("requests", "--text", request["request"])
        kept = [sign(name, text) for name in NAMES[:2]]
        for name in kept:
            self.dozo("approve", request["request"], "--signature", name)
        self.done("operator-remove", "dave", by=("alice", "carol"))
        for name in kept:
            self.no("approve", request["request"], "--signature", name, says="carried out already")
        again = self.ask("operator-add", "dave.pub")
        for name in kept:
            self.no("approve", again["request"], "--signature", name, says="not of this text")
        self.assertEqual(self.operators(), NAMES[:3])

    def test_an_expired_request_is_refused(self):
        request = self.ask("operator-add", "dave.pub", "--for", "1s")
        text = self.dozo("requests", "--text", request["request"])
        kept = sign("bob", text)
        time.sleep(2.1)
        self.no("approve", request["request"], "--signature", kept, says="expired")
        self.no("approve", request["request"], "--sign-with", "alice", says="expired")
        self.assertEqual(self.dozo("--json", "requests"), "")
        self.assertEqual([r["state"] for r in self.rows("--vault", "vault", "requests", "--all")],
                         ["expired"])

    def test_another_vaults_request_is_refused(self):
        here, there = self.ask("operator-add", "dave.pub"), self.ask("operator-add", "dave.pub",
                                                                     vault="vault2")
        signature = sign("alice", self.dozo("requests", "--text", there["request"], vault="vault2"))
        self.no("approve", here["request"], "--signature", signature, says="not of this text")
        self.no("approve", there["request"], "--signature", signature, code=3, says="no request")

    def test_a_text_that_was_changed_is_refused(self):
        request = self.ask("operator-add", "dave.pub")
        text = self.dozo("requests", "--text", request["request"])
        for other in [text.replace("because", "nothing"), text + "\n", text[:-1],
                      text.replace("name: dave", "name: eve ")]:
            self.no("approve", request["request"], "--signature", sign("alice", other),
                    says="not of this text")
        self.no("approve", request["request"], "--signature", sign("alice", text, "file"),
                says="made for")
        self.no("approve", request["request"], "--signature", write("nonsense", "?"), code=3, says="")
        self.dozo("approve", request["request"], "--signature", sign("alice", text))

    def test_of_two_requests_the_second_is_asked_for_again(self):
        first, second = self.ask("operator-add", "dave.pub"), self.ask("operator-add", "eve.pub")
        self.approve(second, "alice")
        for key in ["alice", "bob"]:
            self.approve(first, key)
        self.no("approve", second["request"], "--sign-with", "bob", says="ask again")
        states = {r["request"]: r["state"] for r in self.rows("--vault", "vault", "requests", "--all")}
        self.assertEqual(states, {first["request"]: "done", second["request"]: "overtaken"})

    def test_status_counts_what_is_asked_for(self):
        before = self.json("--vault", "vault", "status", code=1)
        self.assertEqual((before["operators"], before["approvals"]), (3, 2))
        self.assertEqual(before["requests"], {"open": 0, "forged": 0})
        self.ask("operator-add", "dave.pub")
        self.assertEqual(self.json("--vault", "vault", "status", code=1)["requests"]["open"], 1)
        self.assertIn("1 to be approved", self.dozo("status", code=1))

    def test_nobody_leaves_when_too_few_would_stay(self):
        self.done("operator-remove", "carol")
        self.no("request", "operator-remove", "bob", "--why", "x", says="not enough")
        self.assertEqual(self.operators(), NAMES[:2])

    def test_the_short_forms_ask_too(self):
        self.dozo("operator", "add", "d", "dave.pub")
        write("bare", b" ".join(read("eve.pub").split()[:2]))
        self.dozo("operator", "add", "e", "bare")
        self.dozo("operator", "add", "f", read("eve.pub").decode().strip())
        fingerprint = json.loads(self.dozo("--json", "operator").splitlines()[0])["fingerprint"]
        self.dozo("operator", "remove", fingerprint)
        got = [(r["kind"], r["subject"]["name"]) for r in self.rows("--vault", "vault", "requests")]
        self.assertEqual(got, [("operator-add", "d"), ("operator-add", "e"), ("operator-add", "f"),
                               ("operator-remove", "alice")])
        self.assertEqual(self.operators(), NAMES[:3])

    def test_what_makes_no_sense_is_refused(self):
        for code, args, says in [
                (2, ["request"], "what is asked for"),
                (2, ["request", "operator-ad", "dave.pub", "--why", "x"], "operator-add"),
                (2, ["request", "snapshot-delete", "x", "--why", "x"], "there is no request"),
                (2, ["request", "operator-add", "dave.pub"], "--why"),
                (2, ["request", "operator-add", "--why", "x"], "KEYFILE"),
                (2, ["request", "operator-add", "dave.pub", "--why", "x\ny"], "one line"),
                (2, ["request", "operator-add", "dave.pub", "--why", "x", "--for", "1y"], "7d"),
                (2, ["request", "operator-add", "dave.pub", "--why", "x", "--for", "32d"], "31"),
                (2, ["request", "operator-add", "operators", "--why", "x"], "one at a time"),
                (2, ["request", "operator-add", "bare2", "--why", "x"], "name"),
                (3, ["request", "operator-add", "nowhere", "--why", "x"], "nowhere"),
                (4, ["request", "operator-add", "alice.pub", "--why", "x"], "already"),
                (4, ["request", "operator-add", "dave.pub", "--name", "bob", "--why", "x"], "already"),
                (3, ["request", "operator-remove", "dave", "--why", "x"], "no operator"),
                (2, ["operator", "add", "x"], "public key"),
                (2, ["operator", "turn"], "list, add or remove"),
                (2, ["approve"], "one request"),
                (2, ["approve", "xyz"], "hexadecimal"),
                (3, ["approve", "0000"], "no request"),
                (2, ["approve", "0000", "--sign-with", "a", "--signature", "b"], "not both")]:
            write("bare2", b" ".join(read("dave.pub").split()[:2]))
            with self.subTest(args):
                self.no(*args, code=code, says=says)
        self.assertEqual(self.kinds(), ["genesis"])

    def test_a_key_that_does_not_sign_approves_nothing(self):
        request = self.ask("operator-add", "dave.pub")
        self.no("approve", request["request"], "--sign-with", "nokey", code=3, says="did not sign")
        self.assertEqual(self.kinds()[-1], "request")

    def test_without_operators_nothing_can_be_asked(self):
        self.good("init", "alone", "--key-file", "key3")
        self.no("request", "operator-add", "dave.pub", "--why", "x", vault="alone", says="without operators")
        self.no("operator", "add", "d", "dave.pub", vault="alone", says="without operators")


if __name__ == "__main__":
    main()
