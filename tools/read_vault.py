#!/usr/bin/env python3
"""Checks a closed vault with nothing but Python: what its disks say, and what the host keys add.

  read_vault.py [--host-key FILE] VAULT

Checks the name of every pack and commit, the plain headers of packs and segments, the log (by
verify_log.py, which lies beside this file), leaf 0 and that each commit leaf names a commit file.
With the host keys (VAULT/host.key is taken when it is there): opens every pack's table, every
commit's host part and every reference segment, walks all reference trees and proves that each
object which a snapshot needs is in a pack's table.
Exit 0: all is well.  1: it is not, each finding is a line "WRONG ...".  2: wrong usage.

Written from docs/format alone; it shares no code with dozo on purpose."""
import argparse, collections, contextlib, ctypes, ctypes.util, hashlib, io, pathlib, re, struct, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import verify_log

DATA, NODE, REF = 1, 2, 3
MiB = 1 << 20


class Wrong(Exception):
    pass


# ---- AES-256-GCM (FIPS 197, SP 800-38D): slow, and all that a small table needs ----
def _xtime(a):
    return (a << 1 ^ (0x11b if a & 0x80 else 0)) & 0xff


def _make_sbox():
    box, p, q = [0] * 256, 1, 1
    while True:
        p = p ^ _xtime(p)  # times 3, a generator
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xff
        if q & 0x80:
            q ^= 0x09
        rot = lambda n: (q << n | q >> 8 - n) & 0xff
        box[p] = q ^ rot(1) ^ rot(2) ^ rot(3) ^ rot(4) ^ 0x63
        if p == 1:
            box[0] = 0x63
            return box


SBOX = _make_sbox()
# One table a column byte: SubBytes, ShiftRows and MixColumns as four look-ups.
T0 = [_xtime(s) << 24 | s << 16 | s << 8 | (_xtime(s) ^ s) for s in SBOX]
T1, T2, T3 = ([(t >> 8 * n | t << 32 - 8 * n) & 0xffffffff for t in T0] for n in (1, 2, 3))


class Gcm:
    def __init__(self, key):
        words = list(struct.unpack(">8I", key))
        rcon = 1
        sub = lambda w: SBOX[w >> 24] << 24 | SBOX[w >> 16 & 255] << 16 | SBOX[w >> 8 & 255] << 8 | SBOX[w & 255]
        for i in range(8, 60):
            w = words[-1]
            if i % 8 == 0:
                w = sub((w << 8 | w >> 24) & 0xffffffff) ^ rcon << 24
                rcon = _xtime(rcon)
            elif i % 8 == 4:
                w = sub(w)
            words.append(words[-8] ^ w)
        self.words = words
        h = int.from_bytes(self.block(bytes(16)), "big")
        self.table = []  # products of H with each value of each byte: 16 tables of 256
        powers = [h]
        for _ in range(127):
            v = powers[-1]
            powers.append(v >> 1 ^ (0xe1 << 120 if v & 1 else 0))
        for byte in range(16):
            row = [0] * 256
            for bit in range(8):
                row[0x80 >> bit] = powers[8 * byte + bit]
            for value in range(256):
                low = value & -value
                if value != low:
                    row[value] = row[value ^ low] ^ row[low]
            self.table.append(row)

    def block(self, data):
        w = self.words
        a, b, c, d = (x ^ k for x, k in zip(struct.unpack(">4I", data), w))
        for i in range(4, 56, 4):
            a, b, c, d = (
                T0[a >> 24] ^ T1[b >> 16 & 255] ^ T2[c >> 8 & 255] ^ T3[d & 255] ^ w[i],
                T0[b >> 24] ^ T1[c >> 16 & 255] ^ T2[d >> 8 & 255] ^ T3[a & 255] ^ w[i + 1],
                T0[c >> 24] ^ T1[d >> 16 & 255] ^ T2[a >> 8 & 255] ^ T3[b & 255] ^ w[i + 2],
                T0[d >> 24] ^ T1[a >> 16 & 255] ^ T2[b >> 8 & 255] ^ T3[c & 255] ^ w[i + 3])
        s = SBOX
        last = [s[x >> 24] << 24 | s[y >> 16 & 255] << 16 | s[z >> 8 & 255] << 8 | s[t & 255]
                for x, y, z, t in ((a, b, c, d), (b, c, d, a), (c, d, a, b), (d, a, b, c))]
        return struct.pack(">4I", *(x ^ k for x, k in zip(last, w[56:])))

    def ghash(self, data):
        y = 0
        for at in range(0, len(data), 16):
            block = (y ^ int.from_bytes(data[at:at + 16].ljust(16, b"\0"), "big")).to_bytes(16, "big")
            y = 0
            for row, byte in zip(self.table, block):
                y ^= row[byte]
        return y

    def open(self, number, aad, sealed):
        """Message `number` under this key: its plaintext, or Wrong."""
        nonce, text, tag = number.to_bytes(12, "little"), sealed[:-16], sealed[-16:]
        pad = lambda b: b + bytes(-len(b) % 16)
        y = self.ghash(pad(aad) + pad(text) + struct.pack(">QQ", 8 * len(aad), 8 * len(text)))
        mask = int.from_bytes(self.block(nonce + b"\0\0\0\1"), "big")
        if len(sealed) < 16 or (y ^ mask).to_bytes(16, "big") != tag:
            raise Wrong("does not open under its key")
        stream = b"".join(self.block(nonce + struct.pack(">I", 2 + i)) for i in range((len(text) + 15) // 16))
        return bytes(x ^ k for x, k in zip(text, stream))


# ---- zstd: the one thing that Python 3.11 lacks; the system's library by its C interface ----
def zstd_decompress(frame, raw_len):
    lib = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    lib.ZSTD_decompress.restype = ctypes.c_size_t
    lib.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    out = ctypes.create_string_buffer(raw_len + 1)
    if lib.ZSTD_decompress(out, raw_len, frame, len(frame)) != raw_len:
        raise Wrong("decompression gives another length")
    return out.raw[:raw_len]


# ---- numbers and fields ----
class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, n):
        if n > self.left():
            raise Wrong("is cut short")
        self.at += n
        return self.data[self.at - n:self.at]

    def int(self, n):
        return int.from_bytes(self.take(n), "little")

    def varint(self):
        value = shift = 0
        while True:
            byte = self.int(1)
            if shift > 63 or (shift == 63 and byte > 1) or (shift and not byte):
                raise Wrong("has a number that is not in its shortest form")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def svarint(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def field(self):
        return self.take(self.varint())

    def rest(self):
        return self.take(self.left())


def need(condition, what):
    if not condition:
        raise Wrong(what)


# ---- keys (docs/format/keys.md) ----
def child(parent, label, context=b""):
    return hashlib.blake2b(b"dozo v1 " + label + b"\0" + context, key=parent, digest_size=32).digest()


class HostKeys:
    def __init__(self, data):
        r = Reader(data)
        need(r.take(8) == b"DOZOHOST", "is no host key file")
        version, _, must, length = (r.int(4) for _ in range(4))
        need(version == 1 and must == 0, "was written by a newer dozo")
        need(156 <= length <= 4096 and length == len(data), "has another length than it says")
        need(hashlib.sha256(data[:-16]).digest()[:16] == data[-16:], "has a wrong checksum")
        self.vault, self.epoch, self.recipient = r.take(16), r.int(4), r.take(32)
        self.hedge, self.master = r.take(32), r.take(32)
        for label in ["name", "chunk", "table", "reference", "cache", "text"]:
            setattr(self, label, child(self.master, label.encode(), self.vault))

    def name_of(self, kind, identity):
        return hashlib.blake2b(bytes([kind]) + identity, key=self.name, digest_size=16).digest()

    def open_stanzas(self, stanzas, context):
        """The key behind a list of stanzas; None when it is sealed to others alone."""
        for algorithm, body in stanzas:
            if algorithm == 1:
                return child(self.reference, b"segment", body + context)
        return None


def read_stanzas(r):
    count = r.int(1)
    need(1 <= count <= 8, "has no list of recipients")
    out = []
    for _ in range(count):
        algorithm, length, epoch = r.int(2), r.int(2), r.int(4)
        need(length <= 4096 and epoch, "has a malformed recipient")
        need({1: 32, 2: 80}.get(algorithm, length) == length, "has a malformed recipient")
        out.append((algorithm, r.take(length)))
    return out


# ---- segments (docs/format/segment.md) ----
SegmentHead = collections.namedtuple("SegmentHead", "kind length id")


def segment_head(data):
    r = Reader(data)
    need(r.take(4) == b"DZSG", "is no segment")
    version, kind, must, length, _ = r.int(1), r.int(1), r.int(2), r.int(4), r.int(4)
    need(version == 1 and must == 0, "was written by a newer dozo")
    need(32 <= length <= 17 * MiB, f"has {length} bytes")
    return SegmentHead(kind, length, r.take(16))


def open_segment(keys, data):
    """Its objects; None when the host keys do not open it."""
    head, r = segment_head(data), Reader(data)
    need(head.length == len(data), "has another length than it says")
    r.take(32)
    key = keys.open_stanzas(read_stanzas(r), head.id)
    if key is None:
        return None
    aead = Gcm(key)
    aad = b"dozo segment v1 " + keys.vault + head.id + bytes([head.kind])
    length = r.int(4)
    need(length <= 262166, "has too large a directory")
    d = Reader(aead.open(0, aad + struct.pack("<I", 0), r.take(length)))
    payload = aead.open(1, aad + struct.pack("<I", 1), r.rest())
    codec, raw_len, count = d.int(1), d.int(4), d.varint()
    need(codec in (0, 1) and raw_len <= 16 * MiB and 1 <= count <= 65535, "has a malformed directory")
    lengths = [d.varint() for _ in range(count)]
    raw = zstd_decompress(payload, raw_len) if codec == 1 else payload
    need(d.left() == 0 and len(raw) == raw_len == sum(lengths), "has lengths that do not add up")
    objects, raw = [], Reader(raw)
    for n in lengths:
        objects.append(raw.take(n))
    return objects


# ---- packs (docs/format/pack.md) ----
Row = collections.namedtuple("Row", "kind offset length names lengths")


class Pack:
    def __init__(self, data):
        need(80 <= len(data) <= 128 * MiB, f"has {len(data)} bytes")
        head, end = Reader(data[:32]), Reader(data[-48:])
        need(head.take(8) == b"DZPACK1\n", "is no pack")
        version, _, must, _ = (head.int(2) for _ in range(4))
        need(version == 1 and must == 0, "was written by a newer dozo")
        self.data, self.vault = data, head.take(16)
        self.salt, self.table_at, self.table_len = end.take(16), end.int(8), end.int(8)
        end.int(8)
        need(end.take(8) == b"DZPEND1\n", "has no end")
        need(self.table_at >= 32 and 16 <= self.table_len <= 32 * MiB
             and self.table_at + self.table_len + 48 == len(data), "has a table that does not fit")

    def segments(self):
        """(offset, head) of all segments, by their plain headers."""
        at = 32
        while at < self.table_at:
            head = segment_head(self.data[at:at + 32])
            need(at + head.length <= self.table_at, "has a segment that reaches into the table")
            yield at, head
            at += head.length

    def table(self, keys):
        aad = b"dozo pack table " + self.vault + struct.pack("<Q", self.table_at)
        sealed = self.data[self.table_at:self.table_at + self.table_len]
        r = Reader(Gcm(child(keys.table, b"pack table", self.salt)).open(0, aad, sealed))
        rows, count, before = [], r.varint(), 32
        need(count <= 65536, "has too many segments")
        for _ in range(count):
            kind, offset, length, n = r.int(1), r.varint(), r.varint(), r.varint()
            need(before <= offset and offset + length <= self.table_at and 1 <= n <= 65535,
                 "has an impossible row in its table")
            before = offset + length
            names = r.take(16 * n)
            lengths = [r.varint() for _ in range(n)]
            need(sum(lengths) <= 16 * MiB, "has an impossible row in its table")
            rows.append(Row(kind, offset, length, [names[i:i + 16] for i in range(0, 16 * n, 16)], lengths))
        need(r.left() == 0, "has a table that is too long")
        return rows


# ---- commits (docs/format/commit.md) ----
COUNTS = "files dirs others bytes new_bytes stored_bytes alarms changed errors".split()


class Commit:
    def __init__(self, data):
        need(len(data) <= 4 * MiB, f"has {len(data)} bytes")
        r = Reader(data)
        need(r.take(8) == b"DZCOMMIT", "is no commit")
        version, _, must, _ = (r.int(2) for _ in range(4))
        need(version == 1 and must == 0, "was written by a newer dozo")
        self.vault, self.id, self.head = r.take(16), r.take(16), data[:48]
        self.for_host = r.field()
        self.stanzas = read_stanzas(r)
        self.sealed = r.field()
        need(r.left() == 0, "is too long")

    def host_part(self, keys):
        """A dict of its fields; "more" is what this reader does not know."""
        key = child(keys.text, b"commit", self.id)
        r = Reader(Gcm(key).open(0, self.head, self.for_host))
        out = {"source": r.field(), "arrived_us": r.svarint(), "started_us": r.svarint()}
        out.update((name, r.varint()) for name in COUNTS)
        out["ref_root"], packs = r.take(32), r.field()
        need(len(packs) % 32 == 0, "has a malformed list of packs")
        out["packs"] = [packs[i:i + 32] for i in range(0, len(packs), 32)]
        out["sent_bytes"] = r.varint() if r.left() else 0
        out["more"] = r.rest()
        return out


# ---- reference nodes (docs/format/reference.md) ----
def reference_node(data):
    """(names, identities of children)"""
    r = Reader(data)
    need(r.take(2) == b"R\1", "is no reference node")
    r.int(1)
    need(r.int(1) == 0, "was written by a newer dozo")
    n = r.varint()
    need(n <= 32768, "has too many names")
    names = [r.take(16) for _ in range(n)]
    n = r.varint()
    need(n <= 8192, "has too many children")
    children = [r.take(32) for _ in range(n)]
    need(r.left() == 0, "is too long")
    for items in (names, children):
        need(all(a < b for a, b in zip(items, items[1:])), "has items out of order")
    return names, children


# ---- the log's leaves (docs/format/log.md) ----
def read_leaf(entry):
    r = Reader(entry)
    need(r.take(4) == b"DZLF", "is no leaf")
    version, must, kind, flags = (r.int(2) for _ in range(4))
    need(version == 1 and must == 0, "was written by a newer dozo")
    time = int.from_bytes(r.take(8), "little", signed=True)
    objects = [(r.int(1), r.take(32)) for _ in range(r.int(2))]
    commitment, sealed = r.take(32), r.take(r.int(2))
    return {"kind": kind, "flags": flags, "time_us": time, "objects": objects, "commitment": commitment,
            "sealed": sealed, "more": r.rest()}


# ---- the vault ----
def read_config(text):
    """vault.yaml as dozo writes it: a key and a value a line, lists below their key."""
    out, key = {}, None
    for line in text.decode().splitlines():
        if line.startswith("  - "):
            out[key].append(line[4:].strip('"'))
        elif line and not line.startswith("#"):
            key, _, value = line.partition(":")
            value = value.strip()
            out[key] = [] if value in ("", "[]") else value.strip('"')
    return out


class Vault:
    def __init__(self, path, host_key=None):
        self.path = pathlib.Path(path)
        self.problems = []
        self.packs, self.commits, self.tables, self.leaves = {}, {}, {}, []
        self.segments = 0
        text = (self.path / "vault.yaml").read_bytes()
        self.config, self.config_hash = read_config(text), hashlib.sha256(text).digest()
        need(self.config.get("dozo") == "vault" and self.config.get("version") == "1", "vault.yaml: version")
        self.id = bytes.fromhex(self.config["id"])
        self.log_public = bytes.fromhex(self.config["log_public"])
        host_key = host_key or self.path / self.config["host_key"]
        self.keys = HostKeys(pathlib.Path(host_key).read_bytes()) if pathlib.Path(host_key).exists() else None

    @contextlib.contextmanager
    def about(self, name):
        """What goes wrong inside is a finding about `name`."""
        try:
            yield
        except (Wrong, OSError, ValueError, struct.error) as e:
            self.problems.append(f"{name}: {e}")

    def files_by_hash(self, folder):
        for path in sorted((self.path / folder).iterdir()):
            if not re.fullmatch("[0-9a-f]{64}", path.name):
                continue
            with self.about(f"{folder}/{path.name}"):
                data = path.read_bytes()
                need(hashlib.sha256(data).hexdigest() == path.name, "has other bytes than its name says")
                yield path.name, data

    def check_config(self):
        if self.keys:
            with self.about("host key"):
                need(self.keys.vault == self.id and str(self.keys.epoch) == self.config["epoch"]
                     and self.keys.recipient.hex() == self.config["recipient"], "belongs to another vault")

    def check_packs(self):
        for name, data in self.files_by_hash("packs"):
            with self.about(f"packs/{name}"):
                pack = Pack(data)
                need(pack.vault == self.id, "belongs to another vault")
                plain = list(pack.segments())
                self.segments += len(plain)
                self.packs[bytes.fromhex(name)] = pack
                if not self.keys:
                    continue
                rows = pack.table(self.keys)
                need([(r.offset, r.kind, r.length) for r in rows] == [(at, h.kind, h.length) for at, h in plain],
                     "has a table that does not list its segments")
                self.tables[bytes.fromhex(name)] = rows

    def check_commits(self):
        for name, data in self.files_by_hash("commits"):
            with self.about(f"commits/{name}"):
                commit = Commit(data)
                need(commit.vault == self.id, "belongs to another vault")
                self.commits[bytes.fromhex(name)] = commit

    def check_log(self):
        shown = io.StringIO()
        argv, sys.argv = sys.argv, ["verify_log.py", str(self.path / "log"), self.log_public.hex()]
        with contextlib.redirect_stdout(shown):
            bad = verify_log.main()
        sys.argv = argv
        if bad:
            self.problems += [f"log: {line}" for line in shown.getvalue().splitlines() if line.startswith("WRONG")]
            return
        log = verify_log.Log(self.path / "log")
        size, _ = verify_log.read_checkpoint(log.read("checkpoint"), self.log_public)
        for index, width in verify_log.tiles(size):
            for entry in verify_log.split_bundle(log.read(verify_log.tile_path("entries", index, width)), width):
                with self.about(f"leaf {len(self.leaves)}"):
                    self.leaves.append(read_leaf(entry))
        with self.about("leaf 0"):
            key = lambda name: (5, hashlib.sha256(bytes.fromhex(self.config[name])).digest())
            need(self.leaves and self.leaves[0]["kind"] == 1, "is not the genesis")
            for what in [(6, self.config_hash), key("recipient"), key("log_public")]:
                need(what in self.leaves[0]["objects"], "does not bind vault.yaml and its keys")

    def removed(self):
        """Names of the commit records that the log says were removed: announced, and done six days later."""
        announced, removed = {}, set()
        for leaf in self.leaves:
            for name in [name for kind, name in leaf["objects"] if kind == 1]:
                if leaf["kind"] == 5:
                    announced.setdefault(name, leaf["time_us"])
                if leaf["kind"] == 6 and leaf["time_us"] - announced.get(name, leaf["time_us"]) >= 6 * 86400 * 10**6:
                    removed.add(name)
        return removed

    def snapshots(self):
        """(index of leaf, commit) of each snapshot in the order of the log."""
        removed = self.removed()
        for index, leaf in enumerate(self.leaves):
            named = [name for kind, name in leaf["objects"] if kind == 1] if leaf["kind"] == 2 else []
            for name in named:
                if name in removed and not (self.path / "commits" / name.hex()).exists():
                    continue
                if name in self.commits:
                    yield index, self.commits[name]
                else:
                    self.problems.append(f"leaf {index}: commit {name.hex()} is missing or damaged")

    def references(self):
        """Opens all reference segments: bytes of each reference node by its keyed name."""
        nodes = {}
        for pack, rows in self.tables.items():
            for row in rows:
                if row.kind != REF:
                    continue
                with self.about(f"packs/{pack.hex()}, segment at {row.offset}"):
                    objects = open_segment(self.keys, self.packs[pack].data[row.offset:row.offset + row.length])
                    need(objects is not None, "is sealed to others")
                    need([len(o) for o in objects] == row.lengths, "has other objects than the table says")
                    for name, data in zip(row.names, objects):
                        need(self.keys.name_of(REF, hashlib.sha256(data).digest()) == name,
                             "has an object under a wrong name")
                        nodes[name] = data
        return nodes

    def walk(self, root, nodes, known):
        """The set of keyed names that a snapshot needs; each is in some pack's table."""
        needed, seen, level = set(), set(), [root]
        for _ in range(32):
            below = []
            for identity in level:
                if identity in seen:
                    continue
                seen.add(identity)
                name = self.keys.name_of(REF, identity)
                needed.add(name)
                need(name in nodes, f"reference node {identity.hex()} is missing")
                names, children = reference_node(nodes[name])
                needed.update(names)
                below += children
            level = below
        need(not level, "reference tree is too deep")
        missing = needed - known
        need(not missing, f"{len(missing)} objects are in no pack, {min(missing).hex() if missing else ''} among them")
        return needed

    def check_references(self, snapshots):
        nodes = self.references()
        known = {name for rows in self.tables.values() for row in rows for name in row.names}
        needed = set()
        for index, commit in snapshots:
            with self.about(f"snapshot {commit.id.hex()} (leaf {index})"):
                part = commit.host_part(self.keys)
                for pack in part["packs"]:
                    need(pack in self.packs, f"pack {pack.hex()} is missing or damaged")
                needed |= self.walk(part["ref_root"], nodes, known)
        return len(needed), len(known)

    def check(self):
        self.check_config()
        self.check_packs()
        self.check_commits()
        self.check_log()
        snapshots = list(self.snapshots())
        summary = (f"{len(self.packs)} packs, {self.segments} segments, {len(self.leaves)} leaves, "
                   f"{len(snapshots)} snapshots")
        if self.keys:
            needed, known = self.check_references(snapshots)
            summary += f", {known} objects of which {needed} are needed"
        return summary


def main():
    args = argparse.ArgumentParser(description="Checks a closed vault.")
    args.add_argument("--host-key", metavar="FILE", help="where the host keys are, if not in the vault")
    args.add_argument("vault")
    args = args.parse_args()
    try:
        vault = Vault(args.vault, args.host_key)
        summary = vault.check()
    except (Wrong, OSError, ValueError, KeyError) as e:
        print(f"WRONG vault.yaml or host key: {e}")
        return 1
    for problem in vault.problems:
        print(f"WRONG {problem}")
    print(f"{summary}: " + (f"{len(vault.problems)} wrong" if vault.problems else "all verified"))
    return 1 if vault.problems else 0


if __name__ == "__main__":
    sys.exit(main())
