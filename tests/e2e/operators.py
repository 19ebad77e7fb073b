"""Operators with the SSH keys that they have: alice, bob and carol may approve, any two of them."""
import json
import os
import pathlib
import shutil
import subprocess

from harness import Case, read, write

NAMES = ["alice", "bob", "carol", "dave", "eve"]


def keygen(*args, **more):
    subprocess.run(["ssh-keygen", "-q", *map(str, args)], check=True, capture_output=True, **more)


def sign(key, text, purpose="dozo-approval"):
    """The signature's file, made where there is no vault."""
    write("elsewhere/text", text)
    pathlib.Path("elsewhere/text.sig").unlink(missing_ok=True)
    keygen("-Y", "sign", "-n", purpose, "-f", key, "elsewhere/text")
    os.rename("elsewhere/text.sig", f"elsewhere/{key}.sig")
    return f"elsewhere/{key}.sig"


class Operators(Case):
    @classmethod
    def prepare(cls):
        for name, kind in zip(NAMES, ["ed25519", "ecdsa", "rsa", "ed25519", "ed25519"]):
            keygen("-t", kind, "-N", "", "-C", name, "-f", name)
        write("operators", b"".join(read(f"{n}.pub") for n in NAMES[:3]))
        cls.good("init", "pristine", "--key-file", "key", "--operators", "operators", "--approvals", 2)
        cls.good("init", "pristine2", "--key-file", "key2", "--operators", "operators", "--approvals", 2)

    def setUp(self):
        for vault in ["vault", "vault2"]:
            shutil.rmtree(vault, ignore_errors=True)
        shutil.copytree("pristine", "vault")
        shutil.copytree("pristine2", "vault2")

    def dozo(self, *args, vault="vault", **more):
        return self.good("--vault", vault, *args, **more)

    def no(self, *args, says, code=4, vault="vault"):
        return self.refused(code, "--vault", vault, *args, says=says)

    def ask(self, *args, vault="vault"):
        return json.loads(self.dozo("--json", "request", *args, "--why", "because", vault=vault))

    def approve(self, request, key, **more):
        return json.loads(self.dozo("--json", "approve", request["request"], "--sign-with", key, **more))

    def operators(self):
        return [json.loads(line)["operator"]
                for line in self.dozo("--json", "operator").splitlines()]

    def done(self, *args, by=("alice", "bob")):
        request = self.ask(*args)
        for key in by:
            got = self.approve(request, key)
        self.assertEqual(got["state"], "done")
        return got

    def kinds(self):
        return [r["kind"] for r in self.rows("--vault", "vault", "log")]
