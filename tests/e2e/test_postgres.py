"""A real PostgreSQL: dumped into a vault, restored into a fresh server, compared.

Skipped where there is no server (Debian: postgresql).
"""
import glob
import os
import shutil
import subprocess
import sys

from harness import DOZO, Case, main

BIN = max(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]), default=None) \
    or os.path.dirname(shutil.which("initdb") or "")

FILL = """
CREATE TABLE 患者 (id integer PRIMARY KEY, 氏名 text NOT NULL, 画像 bytea, 来院 timestamptz);
INSERT INTO 患者 SELECT i, '試験 花子 ' || i, sha512(i::text::bytea) || sha512((-i)::text::bytea),
    '2026-01-01 09:00+09'::timestamptz + i * interval '1 minute' FROM generate_series(1, 100000) AS i;
CREATE TABLE orders (id serial PRIMARY KEY, patient integer REFERENCES 患者, what text, dose numeric(8,3));
INSERT INTO orders (patient, what, dose) SELECT 1 + i % 1000, E'tab\\t\\\\ quote'' \\n' || i, i / 7.0
    FROM generate_series(1, 5000) AS i;
CREATE INDEX ON orders (patient);
CREATE VIEW recent AS SELECT * FROM 患者 WHERE 来院 > '2026-02-01';
SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'));
"""
# A dump that breaks off in the middle of a table: its rows are filtered by a function that fails.
BREAK = """
CREATE ROLE narrow LOGIN;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO narrow;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO narrow;
CREATE FUNCTION fine(i integer) RETURNS boolean LANGUAGE plpgsql AS
    $$BEGIN IF i > 90000 THEN RAISE 'page is damaged'; END IF; RETURN true; END$$;
ALTER TABLE 患者 ENABLE ROW LEVEL SECURITY;
CREATE POLICY narrow ON 患者 FOR SELECT TO narrow USING (fine(id));
"""


class Server:
    """A cluster of its own, reached by a socket in its directory only; never run as root."""

    def __init__(self, path):
        self.path = path
        os.mkdir(path, 0o700)
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user:
            shutil.chown(path, self.user, self.user)
        self.run("initdb", "-D", path + "/data", "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C")
        self.run("pg_ctl", "-D", path + "/data", "-w", "-l", path + "/log", "-o",
                 f"-c listen_addresses='' -c unix_socket_directories='{path}' -c fsync=off", "start")

    def run(self, name, *args):
        return subprocess.run([os.path.join(BIN, name), *args], user=self.user, group=self.user, check=True,
                              extra_groups=[] if self.user else None, cwd="/", capture_output=True, timeout=120,
                              stdin=subprocess.DEVNULL).stdout

    def at(self, name, *args):
        return [os.path.join(BIN, name), "-h", self.path, "-U", "postgres", *args]

    def sql(self, text, db="emr"):
        return subprocess.run(self.at("psql", "-d", db, "-v", "ON_ERROR_STOP=1", "-qAt"), input=text.encode(),
                              check=True, capture_output=True, timeout=120).stdout

    def dump(self):
        """As text, without what is new in each (restrict tokens of later minor versions)."""
        text = subprocess.run(self.at("pg_dump", "-d", "emr"), check=True, capture_output=True, timeout=120).stdout
        return [line for line in text.split(b"\n") if not line.startswith((b"\\restrict", b"\\unrestrict"))]

    def stop(self):
        self.run("pg_ctl", "-D", self.path + "/data", "-m", "immediate", "stop")


class Postgres(Case):
    servers = []

    @classmethod
    def prepare(cls):
        os.chmod(cls.dir, 0o755) # the server's user passes through
        cls.server = cls.start("server")
        cls.server.sql("CREATE DATABASE emr", db="postgres")
        cls.server.sql(FILL)
        cls.good("init", "vault", "--key-file", "key")

    @classmethod
    def start(cls, name):
        server = Server(str(cls.dir / name))
        cls.servers.append(server)
        return server

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.stop()
        super().tearDownClass()

    def backup(self, *command):
        return ["--vault", "vault", "backup", "--source", "emr-db", "--stdin-as", "emr.dump", "--", *command]

    def test_dumped_restored_compared(self):
        done = self.json(*self.backup(*self.server.at("pg_dump", "-Fc", "-Z0", "emr")))
        self.assertGreater(done["bytes"], 16 << 20, "more than one span")
        want = self.server.dump()
        # the same again: next to nothing is new
        again = self.json(*self.backup(*self.server.at("pg_dump", "-Fc", "-Z0", "emr")))
        self.assertLess(again["new_bytes"], done["bytes"] // 10)
        self.server.sql("DELETE FROM orders; UPDATE 患者 SET 氏名 = 'encrypted'")
        self.assertNotEqual(self.server.dump(), want)

        self.good("--vault", "vault", "--key", "key", "restore", "latest:emr-db", "--to", "back")
        fresh = self.start("fresh")
        fresh.sql("CREATE DATABASE emr", db="postgres")
        subprocess.run(fresh.at("pg_restore", "--exit-on-error", "-d", "emr", "back/emr.dump"), check=True,
                       capture_output=True, timeout=120)
        self.assertEqual(fresh.dump(), want)
        self.assertEqual(fresh.sql("SELECT count(*), max(氏名) FROM 患者"),
                         "100000|試験 花子 99999\n".encode())

    def test_a_dump_that_fails_keeps_nothing(self):
        before = self.good("--vault", "vault", "--json", "snapshots")
        alarms = self.kinds().count("alarm")
        self.refused(3, *self.backup(*self.server.at("pg_dump", "no-such-database")),
                     says=["no-such-database", "exit status 1", "the last one stands"])
        self.server.sql("CREATE DATABASE damaged TEMPLATE emr", db="postgres")
        self.server.sql(BREAK, db="damaged")
        broken = self.server.at("pg_dump", "-U", "narrow", "--enable-row-security", "-Z0", "-Fc", "-t", "患者", "damaged")
        part = subprocess.run(broken, check=False, capture_output=True, timeout=120)
        self.assertEqual(part.returncode, 1)
        self.assertGreater(len(part.stdout), 1 << 20, "much was written before it failed")
        self.refused(3, *self.backup(*broken), says=["page is damaged", "exit status 1"])
        self.assertEqual(self.good("--vault", "vault", "--json", "snapshots"), before)
        self.assertEqual(self.kinds().count("alarm"), alarms + 2)

    def kinds(self):
        return [row["kind"] for row in self.rows("--vault", "vault", "log")]


if __name__ == "__main__":
    if not BIN or not os.path.exists(os.path.join(BIN, "initdb")):
        print(f"no PostgreSQL server here; {DOZO} was not tried with one")
        sys.exit(77)
    main()
