#!/usr/bin/env python3
"""With the vault's host keys, but without the operators': who the operators are cannot be changed.

  test_forged_approval.py DOZO FORGE_LEAF

Two of alice, bob and carol approve.  Each attempt appends what it likes to the log, to make mallory an
operator; a table says what was tried and what came of it."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from forging import DOZO, NAMES, OPERATOR_ADD, OPERATOR_REMOVE, REQUEST, approve, ask, dozo, forge, \
    make_operators, name_of, run, sign


def operators(vault="vault"):
    return [json.loads(line)["operator"]
            for line in dozo("--json", "operator", vault=vault).splitlines()]


# ---- the attempts: each leaves a vault in which mallory would like to be an operator ----
def without_a_request():
    forge(OPERATOR_ADD, None, {})


def with_a_request_that_is_not_there():
    forge(OPERATOR_ADD, "ab" * 32, {})


def without_any_approval():
    name, _ = ask("operator-add", "mallory.pub")
    forge(OPERATOR_ADD, name, {})


def with_one_approval_of_two():
    name, text = ask("operator-add", "mallory.pub")
    approve(name, sign("alice", text))
    forge(OPERATOR_ADD, name, {})


def with_one_operator_who_signs_twice():
    name, text = ask("operator-add", "mallory.pub")
    for _ in range(3):
        approve(name, sign("alice", text))
    forge(OPERATOR_ADD, name, {})


def with_keys_of_their_own():
    name, text = ask("operator-add", "mallory.pub")
    approve(name, sign("alice", text))
    approve(name, sign("mallory", text))
    forge(OPERATOR_ADD, name, {})


def with_signatures_of_a_harmless_request():
    _, harmless = ask("operator-remove", "carol")
    name, _ = ask("operator-add", "mallory.pub")
    for key in ["alice", "bob"]:
        approve(name, sign(key, harmless))
    forge(OPERATOR_ADD, name, {})


def with_approvals_of_one_request_for_another_effect():
    name, text = ask("operator-remove", "carol")
    for key in ["alice", "bob"]:
        approve(name, sign(key, text))
    forge(OPERATOR_ADD, name, {})


def with_a_text_changed_after_it_was_signed():
    _, text = ask("operator-remove", "carol")
    changed = text.replace("because", "BECAUSE")
    forge(REQUEST, name_of(changed), {"text": changed})
    for key in ["alice", "bob"]:
        approve(name_of(changed), sign(key, text))
    forge(OPERATOR_REMOVE, name_of(changed), {})


def with_another_vaults_request():
    name, text = ask("operator-add", "mallory.pub", vault="vault2")
    forge(REQUEST, name, {"text": text})
    for key in ["alice", "bob"]:
        approve(name, sign(key, text))
    forge(OPERATOR_ADD, name, {})


def with_an_expired_request():
    name, text = ask("operator-add", "mallory.pub", "--for", "1s")
    signatures = [sign(key, text) for key in ["alice", "bob"]]
    time.sleep(2.1)
    for signature in signatures:
        approve(name, signature)
    forge(OPERATOR_ADD, name, {})


def with_a_request_of_a_future_that_was_rolled_back():
    """What was approved before, in a log that has gone another way since."""
    shutil.copytree("vault", "older")
    ask("operator-remove", "carol")
    name, text = ask("operator-add", "mallory.pub")
    signatures = [sign(key, text) for key in ["alice", "bob"]]
    shutil.rmtree("vault")
    os.rename("older", "vault")
    for _ in range(4):
        ask("operator-remove", "carol")
    forge(REQUEST, name, {"text": text})
    for signature in signatures:
        approve(name, signature)
    forge(OPERATOR_ADD, name, {})


def with_a_request_that_was_used():
    """mallory was an operator, was removed, and puts the old exchange in once more."""
    name, text = ask("operator-add", "mallory.pub")
    signatures = [sign(key, text) for key in ["alice", "bob"]]
    for signature in signatures:
        pathlib.Path("sig").write_text(signature)
        dozo("approve", name, "--signature", "sig")
    assert operators() == NAMES
    removal, _ = ask("operator-remove", "mallory")
    for key in ["alice", "carol"]:
        dozo("approve", removal, "--sign-with", key)
    forge(REQUEST, name, {"text": text})
    for signature in signatures:
        approve(name, signature)
    forge(OPERATOR_ADD, name, {})


def main():
    attempts = [value for key, value in globals().items() if key.startswith("with")]
    failed = 0
    make_operators()
    for vault in ["fresh", "vault2"]:
        run(DOZO, "init", vault, "--key-file", vault + ".key", "--operators", "operators", "--approvals", 2)
    print(f"{'attempt':56} {'expected':10} seen")
    for attempt in attempts:
        shutil.rmtree("vault", ignore_errors=True)
        shutil.copytree("fresh", "vault")
        attempt()
        # a repetition of what was carried out once is no forgery; all else is said to be one
        said = 0 if attempt is with_a_request_that_was_used else 1
        listed = subprocess.run([DOZO, "--vault", "vault", "--json", "operator"], capture_output=True, text=True,
                                check=False)
        names = [json.loads(line)["operator"] for line in listed.stdout.splitlines()]
        red = "forged-approvals" in json.loads(dozo("--json", "status", code=1))["reasons"]
        seen = "refused" if names == NAMES[:3] else "TAKEN: " + ", ".join(names)
        if listed.returncode != said or run(DOZO, "--vault", "vault", "requests", code=None) != said or red != said:
            seen += f", exit {listed.returncode}, not {said}"
        failed += seen != "refused"
        print(f"{attempt.__name__.replace('_', ' '):56} {'refused':10} {seen}")
    # and that the very same means do it, when two have signed
    shutil.rmtree("vault")
    shutil.copytree("fresh", "vault")
    name, text = ask("operator-add", "mallory.pub")
    for key in ["alice", "bob"]:
        approve(name, sign(key, text))
    forge(OPERATOR_ADD, name, {})
    if operators() != NAMES:
        failed += 1
        print("two signed, and it was not taken: the attempts above prove nothing")
    sys.exit(f"{failed} of {len(attempts)} attempts" if failed else 0)


with tempfile.TemporaryDirectory(prefix="dozo-forged-") as directory:
    os.chdir(directory)
    try:
        main()
    finally:
        os.chdir("/")
