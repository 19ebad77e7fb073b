#!/usr/bin/env python3
"""What a closed vault gives away is what docs/design/leakage.md lists, and no more.

  test_leakage.py DOZO CLOSED_KEYS SEND_CHUNK TOOLS LEAKAGE_MD VAULT_MD

Reads a vault with planted marks as the thief does and as root does, field by field (by the reader
in tools/, not by dozo's own), and compares the ids of what it read with the document's tables."""
import base64
import ctypes
import hashlib
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time

dozo, closed_keys, leave_caches, tools, document, vault_document = sys.argv[1:7]
sys.path.insert(0, tools)
import read_vault as rv  # noqa: E402

MARKS = {"source": "SourceOfWardSeven", "folder": "FolderMarkOncology", "file": "FileNameMarkYamada",
         "content": "ContentMarkDiagnosisZq", "long content": "LongContentMarkXrayPq",
         "link target": "LinkTargetMarkPharmacy", "attribute": "attributemarkbedside",
         "attribute value": "AttributeValueMarkKitchen", "exclude": "ExcludeMarkBilling",
         "later file": "LaterFileMarkRadiology", "host": "hostmarksurgery"}
SOURCE = MARKS["source"]
seen = set()
# kinds of leaves with a JSON text, and what may stand in it (docs/format/log.md, requests.md)
CUSTODY = {14: {"event", "name", "kind", "place", "size", "time_us"}, 21: {"text"}, 22: {"signature"}, 12: set(),
           7: {"event", "by", "seconds"}, 8: {"why"}, 18: {"severity", "reason", "detail"},
           10: {"boot", "up_us", "wall_us"}}


def expect(what, condition, shown=""):
    if not condition:
        sys.exit(f"failed: {what}\n{shown}")


# ---- the vault ----
def dozo_run(*args):
    """Under a host name that is a mark, where that is allowed."""
    command = [dozo, *map(str, args)]
    named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', MARKS["host"], *command]
    for attempt in named, command:
        done = subprocess.run(attempt, capture_output=True)
        if done.returncode == 0:
            return done.stdout
    sys.exit(f"failed: {command}\n{done.stderr.decode()}")


def make(top):
    folder = top / "tree" / MARKS["folder"]
    folder.mkdir(parents=True)
    (folder / MARKS["file"]).write_text(MARKS["content"])
    (folder / "long").write_text((MARKS["long content"] + "\n") * 60000)
    (folder / MARKS["exclude"]).write_text("is left out")
    os.symlink(MARKS["link target"], folder / "link")
    try:
        os.setxattr(folder / MARKS["file"], "user." + MARKS["attribute"], MARKS["attribute value"].encode())
    except OSError:
        print("note: no extended attributes here")
    for name in ["first", "second"]:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", top / name], check=True)
    dozo_run("init", top / "vault", "--key-file", top / "key", "--operators", top / "first.pub", "--approvals", "1")
    backup = ["--vault", top / "vault", "backup", "--source", SOURCE, "--exclude", "*" + MARKS["exclude"] + "*"]
    time.sleep(0.1)  # the path cache passes over files that change as the run begins
    dozo_run(*backup, top / "tree")
    (folder / MARKS["later file"]).write_text("later")
    time.sleep(0.1)
    dozo_run(*backup, top / "tree")
    dozo_run("--vault", top / "vault", "verify")
    dozo_run("--vault", top / "vault", "witness", "add", "safe", "--file", top / "kept")
    dozo_run("--vault", top / "vault", "request", "operator-add", top / "second.pub", "--why", "leave")
    asked = json.loads(dozo_run("--vault", top / "vault", "--json", "requests"))["request"]
    dozo_run("--vault", top / "vault", "approve", asked, "--sign-with", top / "first")
    subprocess.run([leave_caches, top / "vault", SOURCE, MARKS["content"]], check=True)
    os.environ["DOZO_RUNTIME_DIR"] = str(top / "run")
    dozo_run("--vault", top / "vault", "open", "--key", top / "key")
    dozo_run("--vault", top / "vault", "close")
    return folder / MARKS["file"]


# ---- looking for marks ----
def forms(mark):
    """How a mark could stand in bytes without anything being sealed."""
    for text in {mark, mark.lower(), mark.upper()}:
        raw = text.encode()
        yield from (raw, text.encode("utf-16-le"), text.encode("utf-16-be"), raw.hex().encode(),
                    raw.hex().upper().encode(), raw[::-1])
        for shift in range(3):  # base64 at each alignment, without the ends that neighbours change
            for encode in base64.b64encode, base64.urlsafe_b64encode:
                yield encode(b"x" * shift + raw)[4 if shift else 0:-4]


def find_marks(where, data, allowed=()):
    for what, mark in MARKS.items():
        for form in forms(mark):
            expect(f"the {what} does not show in {where}", what in allowed or form not in data, form)


def frames(data):
    """What anybody gets who tries zstd at each place where a frame could begin."""
    lib = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
    lib.ZSTD_decompress.restype = ctypes.c_size_t
    lib.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t
    room = ctypes.create_string_buffer(1 << 22)
    for hit in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), data):
        rest = data[hit.start():]
        size = lib.ZSTD_findFrameCompressedSize(rest, ctypes.c_size_t(len(rest)))
        if size <= len(rest):
            n = lib.ZSTD_decompress(room, ctypes.c_size_t(len(room)), rest, ctypes.c_size_t(size))
            yield room.raw[:n] if n <= len(room) else b""


# ---- the thief: what everybody sees ----
KNOWN_FILES = [r"vault\.yaml", r"host\.key", r"packs/[0-9a-f]{64}", r"commits/[0-9a-f]{64}", r"index/[0-9a-f]{32}\.run",
               r"cache/path-[0-9a-f]{32}", r"cache/damaged", r"cache/tick",
               r"cache/sent-[0-9a-f]{32}/(now|last)/[0-9a-f]{32}\.run",
               r"cache/quota-[0-9a-f]{32}", r"cache/last-runs-[0-9a-f]{32}", r"cache/expected", r"log/(checkpoint|lock)",
               r"log/tile/(\d|entries)/(x\d{3}/)*\d{3}(\.p/\d+)?"]


def thief(top, vault):
    bytes_of = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        find_marks("a name", name.encode())
        if path.is_file():
            expect(f"{name} is a file that the formats know", any(re.fullmatch(k, name) for k in KNOWN_FILES))
            bytes_of[name] = path.read_bytes()
            find_marks(name, bytes_of[name])
            for plain in frames(bytes_of[name]):
                find_marks(f"a frame in {name}", plain)
    seen.update({"file.sizes", "file.times"})  # stat(2) tells them of any file

    listed = set(re.findall(r"^\| (`[^|]*`) \|", pathlib.Path(vault_document).read_text(), re.M))
    listed = {key for cell in listed for key in re.findall(r"`(\w+)`", cell)}
    expect("vault.yaml has only keys that docs/format lists", set(vault.config) <= listed, set(vault.config) - listed)
    seen.add("vault.public")
    expect("plain headers show segments", vault.segments > 3)
    seen.add("pack.segments")
    expect("commits show their ids", len({c.id for c in vault.commits.values()}) == 2)
    seen.add("commit.id")
    expect("the log shows kinds", [leaf["kind"] for leaf in vault.leaves] == [1, 2, 10, 2, 17, 14, 14, 21, 22, 12, 7, 18, 8])
    for leaf in vault.leaves:
        expect("leaves hold nothing that the document does not know", leaf["more"] == b"" and leaf["flags"] == 0)
    expect("only a verification and custody have a text",
           {leaf["kind"] for leaf in vault.leaves if leaf["sealed"]} == {17, *CUSTODY})
    seen.add("log.kinds")
    runs = b"".join(data for name, data in bytes_of.items() if name.startswith("index/"))
    for rows in vault.tables.values():
        expect("the index shows keyed names", all(name in runs for row in rows for name in row.names))
    seen.add("index.names")
    caches = [data for name, data in bytes_of.items() if name.startswith("cache/path-")]
    expect("one source has one path cache", len(caches) == 1)
    cache = PathCache(caches[0])
    expect("it shows how many files there are", len(cache.records) == 3)
    expect("and which snapshot it goes with", cache.snapshot in {c.id[:8] for c in vault.commits.values()})
    expect("the cached tick is times and a boot", re.fullmatch(rb"[0-9a-f-]{36}\n\d+\n\d+\n", bytes_of["cache/tick"]))
    seen.add("cache.tick")
    sent = [data for name, data in bytes_of.items() if name.startswith("cache/sent-")]
    expect("a source that sends has a run", len(sent) == 1 and sent[0][:8] == b"DZINDEX\n")
    expect("it shows how many chunks there are", struct.unpack_from("<Q", sent[0], 64)[0] == 1)
    counts = [data for name, data in bytes_of.items() if name.startswith("cache/quota-")]
    expect("it shows what it brought today", len(counts) == 1 and struct.unpack_from("<3Q", counts[0], 72) == (0, 0, 1))
    runs = [data for name, data in bytes_of.items() if name.startswith("cache/last-runs-")]
    expect("it shows what its last runs brought", len(runs) == 1 and runs[0][24] == 7 and runs[0][48] == 1)
    seen.add("cache.sent")
    expect("what the daemon expects is sealed", bytes_of["cache/expected"][:8] == b"DZEXPEC\n")
    seen.add("cache.expected")
    cache.sent = sent[0]
    seen.add("cache.counts")
    return cache


class PathCache:
    """docs/format/cache.md"""

    def __init__(self, data):
        r = rv.Reader(data)
        rv.need(r.take(8) == b"DZPATH1\n" and r.int(2) == 1, "is no path cache")
        expect("its reserved bytes are 0", r.take(6) == bytes(6))
        self.began_us, size, slots, packs = (r.int(8) for _ in range(4))
        list_sum = r.take(8)
        self.snapshot = r.take(8)
        records, table, names = r.take(size), r.take(16 * slots), r.take(8 * packs)
        expect("it ends there", r.left() == 0 and hashlib.sha256(names).digest()[:8] == list_sum)
        self.records = {}
        for at in range(0, len(table), 16):
            where, length = struct.unpack_from("<Q", table, at + 8)[0] & 2**40 - 1, table[at + 13] | table[at + 14] << 8 | table[at + 15] << 16
            if length:
                self.records[table[at:at + 8]] = records[where:where + length]
        expect("nothing stands between records", sum(map(len, self.records.values())) == size)


# ---- root: what host keys add ----
def chacha20(key, nonce, data):
    """RFC 8439, from counter 0."""
    def rounds(state):
        w = list(state)
        for _ in range(10):
            for a, b, c, d in [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                               (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]:
                for x, y, z, n in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
                    w[x] = w[x] + w[y] & 0xffffffff
                    w[z] = ((w[z] ^ w[x]) << n | (w[z] ^ w[x]) >> 32 - n) & 0xffffffff
        return struct.pack("<16I", *(a + b & 0xffffffff for a, b in zip(w, state)))

    out = b""
    for block in range((len(data) + 63) // 64):
        state = (*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), block,
                 *struct.unpack("<3I", nonce))
        out += rounds(state)
    return bytes(a ^ b for a, b in zip(data, out))


def guess(vault, cache, path, st, file_system):
    """The fields that the path cache keeps for exactly this file; None."""
    context = rv.child(vault.keys.cache, b"path", SOURCE.encode())
    m, c = divmod(st.st_mtime_ns, 10**9), divmod(st.st_ctime_ns, 10**9)
    h = hashlib.blake2b(struct.pack("<QQQqqIIQ", file_system, st.st_ino, st.st_size, m[0], c[0], m[1], c[1],
                                    st.st_nlink) + path, key=context).digest()
    record = cache.records.get(h[:8])
    if record is None:
        return None
    value = chacha20(h[8:40], record[:12], record[16:])
    rv.need(hashlib.blake2b(value, key=h[40:], digest_size=16).digest() == record[:16], "record does not open")
    return value


def root(vault, cache, file):
    plain = []
    for rows in vault.tables.values():
        for row in rows:
            plain += row.names
            expect("lengths are of these objects", len(row.names) == len(row.lengths))
    seen.update({"table.names", "table.lengths"})

    nodes = vault.references()
    plain += nodes.values()
    for data in nodes.values():
        rv.reference_node(data)  # names, identities of reference nodes, and nothing else
    seen.add("ref.names")

    field_of = {"source": "commit.source", "arrived_us": "commit.times", "started_us": "commit.times",
                "packs": "commit.packs", "sent_bytes": "commit.counts", "ref_root": "ref.names", **{name: "commit.counts" for name in rv.COUNTS}}
    for commit in vault.commits.values():
        part = commit.host_part(vault.keys)
        expect("a commit tells no more than the document knows", part.pop("more") == b"")
        seen.update(field_of[name] for name in part)
        expect("the source's name is there", part.pop("source").decode() == SOURCE)
        plain.append(repr(part).encode())
        expect("its other part is sealed to recipients alone", {a for a, _ in commit.stanzas} == {2})

    for leaf in vault.leaves:
        if leaf["kind"] in CUSTODY:
            kind = leaf["kind"]
            key = rv.child(vault.keys.text, b"leaf text", leaf["sealed"][:16])
            text = rv.Gcm(key).open(0, leaf["sealed"][:16] + struct.pack("<H", kind), leaf["sealed"][16:])
            expect("the text is the one bound", hashlib.sha256(text).digest() == leaf["commitment"])
            said = json.loads(text[16:])
            expect("a custody leaf holds what the document says", set(said) <= CUSTODY[kind], said)
            plain.append(text)
            seen.add({14: "log.witness", 10: "log.clock"}.get(kind, "log.custody"))
        elif leaf["sealed"]:
            key = rv.child(vault.keys.text, b"verify leaf", leaf["sealed"][:16])
            text = rv.Gcm(key).open(0, leaf["sealed"][:16], leaf["sealed"][16:])
            expect("the text is the one bound", hashlib.sha256(text).digest() == leaf["commitment"])
            r = rv.Reader(text[16:])
            r.take(2), [r.varint() for _ in range(5)]
            expect("it holds counts and no more", r.left() == 0)
            plain.append(text)
            seen.add("log.verify")
    find_marks("what host keys open", b"\n".join(plain))

    st, path = os.lstat(file), os.fsencode(file)[1:]
    kind = int(subprocess.run(["stat", "-f", "-c", "%t", file], check=True, capture_output=True).stdout, 16)
    file_system = (os.statvfs(file).f_fsid ^ kind << 32) & 2**64 - 1 | 1
    value = guess(vault, cache, path, st, file_system)
    identity = hashlib.sha256(MARKS["content"].encode()).digest()
    expect("a path with its exact attributes is confirmed, and its fields are", value and identity in value)
    expect("not so a path next to it", guess(vault, cache, path + b"x", st, file_system) is None)
    expect("nor another moment", guess(vault, cache, path, st, file_system + 2) is None)
    seen.add("cache.guess")
    names = rv.child(vault.keys.cache, b"sent", SOURCE.encode())
    named = {hashlib.blake2b(bytes([rv.DATA]) + i, key=names, digest_size=16).digest(): i == identity
             for i in (identity, hashlib.sha256(b"no").digest())}
    expect("what a source sent is confirmed, and nothing else", all((n in cache.sent) == yes for n, yes in named.items()))
    seen.add("sent.guess")
    known = {name for rows in vault.tables.values() for row in rows for name in row.names}
    expect("a guessed content is confirmed", vault.keys.name_of(rv.DATA, identity) in known)
    expect("another is not", vault.keys.name_of(rv.DATA, hashlib.sha256(b"no").digest()) not in known)
    seen.add("name.guess")


def closed(path):
    """dozo itself, and the independent reader, open reference segments and nothing else."""
    out = subprocess.run([closed_keys, path], check=True, capture_output=True, text=True).stdout
    kinds = {(int(line.split()[2]), line.split()[3]) for line in out.splitlines()}
    expect("data and nodes are closed", kinds == {(rv.DATA, "closed"), (rv.NODE, "closed"), (rv.REF, "open")}, out)


with tempfile.TemporaryDirectory() as top:
    top = pathlib.Path(top).resolve()
    file = make(top)
    vault = rv.Vault(top / "vault")
    vault.check()
    expect("the vault is sound", not vault.problems, vault.problems)
    cache = thief(top / "vault", vault)
    root(vault, cache, file)
    for pack, rows in vault.tables.items():
        for row in rows:
            data = vault.packs[pack].data[row.offset:row.offset + row.length]
            expect("the reader opens kind 3 alone", (rv.open_segment(vault.keys, data) is None) == (row.kind != rv.REF))
    closed(top / "vault")
    back = dozo_run("--vault", top / "vault", "--key", top / "key", "ls", "-R", "latest").decode()
    expect("with the key all marks come back", MARKS["file"] in back and MARKS["later file"] in back, back)

listed = set(re.findall(r"^\| `([a-z.]+)` \|", pathlib.Path(document).read_text(), re.M))
expect("each field that can be read is listed", seen <= listed, seen - listed)
expect("each field that is listed was read", listed <= seen, listed - seen)
print(f"{len(seen)} fields, as the document says")
