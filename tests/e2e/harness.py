"""What the tests of the program share: a directory of their own, and a way to run dozo.

    python3 test_X.py DOZO [TEST...]

A test is a method with a sentence for a name.  Each class gets a fresh directory; the program gets
nothing of the caller's environment but PATH.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

DOZO = os.path.abspath(sys.argv.pop(1))


class Case(unittest.TestCase):
    """Runs in self.dir, which is the current directory too."""

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="dozo-e2e-")).resolve()
        os.chdir(cls.dir)
        cls.prepare()

    @classmethod
    def tearDownClass(cls):
        os.chdir("/")
        shutil.rmtree(cls.dir)

    @classmethod
    def prepare(cls):
        """For what all tests of a class start from."""

    @staticmethod
    def run_dozo(*args, env=None, user=None):
        """`user`: a number, to run as somebody else than root."""
        return subprocess.run([DOZO, *map(str, args)], stdin=subprocess.DEVNULL, user=user,
                              group=user, capture_output=True, check=False, timeout=60,
                              env={"PATH": os.environ["PATH"], "TZ": "Asia/Tokyo", **(env or {})})

    @classmethod
    def good(cls, *args, code=0, **more):
        """Runs dozo, which must exit with `code`; its stdout as text."""
        done = cls.run_dozo(*args, **more)
        assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
        return done.stdout.decode("utf-8", "surrogateescape")

    def refused(self, code, *args, says=(), **more):
        """Runs dozo, which must exit with `code` and say each of `says` on stderr."""
        done = self.run_dozo(*args, **more)
        said = done.stderr.decode("utf-8", "replace")
        self.assertEqual(done.returncode, code, said)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, said)
        return said

    @classmethod
    def json(cls, *args, **more):
        return json.loads(cls.good("--json", *args, **more))

    @classmethod
    def rows(cls, *args, **more):
        return [json.loads(line) for line in cls.good("--json", *args, **more).splitlines()]


def write(path, content=b""):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path):
    return pathlib.Path(path).read_bytes()


def main():
    unittest.main(argv=sys.argv, verbosity=1)
