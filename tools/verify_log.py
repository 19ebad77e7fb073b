#!/usr/bin/env python3
"""Checks a vault's transparency log with nothing but Python and the log's public key.

  verify_log.py [--old CHECKPOINT] DIR PUBLIC_KEY_HEX

DIR is the log's directory (VAULT/log, or a copy).  Prints one line a leaf, then what is wrong.
--old: also check that the log continues the one of this older checkpoint file.
Exit 0: all is as the signed checkpoint says.  1: it is not.  2: wrong usage.

Written from docs/format/log.md alone; it shares no code with dozo on purpose."""
import argparse, base64, datetime, hashlib, pathlib, struct, sys

# ---- Ed25519 (RFC 8032, section 5.1): verification only, so nothing here is secret ----
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def add(a, b):
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    x, y, z, t = f - e, h - g, h + g, f + e
    return (x * y % P, z * t % P, y * z % P, x * t % P)


def mul(n, point):
    out = (0, 1, 1, 0)
    while n:
        if n & 1:
            out = add(out, point)
        point, n = add(point, point), n >> 1
    return out


def decode_point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        raise ValueError("not a point")
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_M1 % P
    if (x * x - x2) % P or (x == 0 and sign):
        raise ValueError("not a point")
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = decode_point(BASE_Y.to_bytes(32, "little"))


def ed25519_verify(public, message, signature):
    try:
        a, r = decode_point(public), decode_point(signature[:32])
    except ValueError:
        return False
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = mul(s, BASE), add(r, mul(k, a))
    return ((left[0] * right[2] - right[0] * left[2]) % P == 0
            and (left[1] * right[2] - right[1] * left[2]) % P == 0)


# ---- Merkle tree (RFC 6962, section 2.1) ----
def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def root_of(hashes):
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root_of(hashes[:k]) + root_of(hashes[k:])).digest()


# ---- files ----
class Wrong(Exception):
    pass


def read_checkpoint(data, public):
    """Returns (size, root) once a line of the log's own key has verified."""
    text, sep, lines = data.rpartition(b"\n\n")
    if not sep or not lines.endswith(b"\n"):
        raise Wrong("not a signed note")
    text += b"\n"
    head = text.decode().split("\n")
    if len(head) < 4 or not head[0].startswith("dozo.vault/"):
        raise Wrong("not a checkpoint of a vault")
    origin, size, root = head[0], int(head[1]), base64.b64decode(head[2], validate=True)
    if str(size) != head[1] or len(root) != 32:
        raise Wrong("size or root is malformed")
    key_id = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
    good = 0
    for line in lines.decode().splitlines():
        dash, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        if dash != "\u2014":
            raise Wrong("a signature line is malformed")
        if name != origin or signature[:4] != key_id:
            continue
        if not ed25519_verify(public, text, signature[4:]):
            raise Wrong("the signature does not verify")
        good += 1
    if not good:
        raise Wrong("not signed by this key")
    return size, root


def tile_path(level, index, width):
    digits = f"{index:03d}"
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[i:i + 3] for i in range(0, len(digits), 3)]
    path = f"tile/{level}/" + "".join("x" + g + "/" for g in groups[:-1]) + groups[-1]
    return path if width == 256 else f"{path}.p/{width}"


def tiles(count):
    """(index, width) of the tiles that hold `count` hashes or entries."""
    return [(i, min(256, count - 256 * i)) for i in range((count + 255) // 256)]


def split_bundle(data, width):
    entries, at = [], 0
    for _ in range(width):
        n, = struct.unpack_from(">H", data, at)
        entry = data[at + 2:at + 2 + n]
        if len(entry) != n:
            raise Wrong("is cut short")
        entries.append(entry)
        at += 2 + n
    if at != len(data):
        raise Wrong("holds more than its entries")
    return entries


KINDS = {1: "genesis", 2: "commit", 3: "hold", 4: "release", 5: "prune-intent", 6: "prune-done", 7: "open",
         8: "close", 9: "policy", 10: "clock-tick", 11: "clock-event", 12: "operator-add",
         13: "operator-remove", 14: "witness", 15: "feed-batch", 16: "evidence", 17: "verify", 18: "alarm",
         19: "mark", 20: "epoch", 21: "request", 22: "approve", 23: "settled", 24: "invite", 25: "enrol",
         26: "revoke"}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def show_leaf(index, entry):
    magic, version, must, kind, flags, time, count = struct.unpack_from("<4sHHHHqH", entry)
    if magic != b"DZLF":
        raise Wrong("is not a leaf")
    if version != 1 or must:
        print(f"{index} (written by a newer dozo)")
        return
    at = 22
    objects = [(entry[o], entry[o + 1:o + 33].hex()) for o in range(at, at + 33 * count, 33)]
    at += 33 * count
    commitment = entry[at:at + 32]
    sealed, = struct.unpack_from("<H", entry, at + 32)
    if at + 34 + sealed > len(entry):
        raise Wrong("is cut short")
    when = (EPOCH + datetime.timedelta(microseconds=time)).isoformat()
    names = " ".join(f"{t}:{name}" for t, name in objects)
    print(f"{index} {when} {KINDS.get(kind, kind)} flags={flags} text={commitment.hex()} {names}".rstrip())


class Log:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.problems = 0

    def wrong(self, name, what):
        print(f"WRONG {name}: {what}")
        self.problems += 1

    def read(self, name):
        try:
            return (self.path / name).read_bytes()
        except OSError as e:
            self.wrong(name, e.strerror)
            return None

    def leaf_hashes(self, size):
        """Hashes of all entries; None where a bundle cannot be read."""
        hashes = []
        for index, width in tiles(size):
            name = tile_path("entries", index, width)
            data = self.read(name)
            try:
                if data is None:
                    raise Wrong("")
                entries = split_bundle(data, width)
            except (Wrong, struct.error) as e:
                if data is not None:
                    self.wrong(name, str(e))
                hashes += [None] * width
                continue
            for i, entry in enumerate(entries):
                try:
                    show_leaf(256 * index + i, entry)
                except (Wrong, struct.error, IndexError, OverflowError) as e:
                    self.wrong(name, f"entry {i}: {e}")
            hashes += [leaf_hash(e) for e in entries]
        return hashes

    def check_tiles(self, hashes):
        """Every tile of every level against what the entries give."""
        level = 0
        while hashes:
            for index, width in tiles(len(hashes)):
                name, want = tile_path(level, index, width), hashes[256 * index:256 * index + width]
                data = self.read(name)
                if data is None or None in want:
                    continue
                if data != b"".join(want):
                    self.wrong(name, "is not what the entries below it give")
            hashes = [None if None in hashes[i:i + 256] else root_of(hashes[i:i + 256])
                      for i in range(0, len(hashes) // 256 * 256, 256)]
            level += 1


def main():
    args = argparse.ArgumentParser(description="Checks a vault's transparency log.")
    args.add_argument("--old", metavar="CHECKPOINT", help="an older checkpoint that the log must continue")
    args.add_argument("dir", help="the log's directory")
    args.add_argument("key", type=bytes.fromhex, help="the log's public key, 64 hex digits")
    args = args.parse_args()
    if len(args.key) != 32:
        sys.exit("the public key has 64 hex digits")
    log = Log(args.dir)
    data = log.read("checkpoint")
    if data is None:
        return 1
    try:
        size, root = read_checkpoint(data, args.key)
    except (Wrong, ValueError) as e:
        log.wrong("checkpoint", e)
        return 1
    hashes = log.leaf_hashes(size)
    log.check_tiles(hashes)
    if None not in hashes and root_of(hashes) != root:
        log.wrong("checkpoint", "the entries give another root")
    if args.old:
        try:
            old_size, old_root = read_checkpoint(pathlib.Path(args.old).read_bytes(), args.key)
            if old_size > size or None in hashes[:old_size] or root_of(hashes[:old_size]) != old_root:
                raise Wrong("the log does not continue it")
        except (Wrong, ValueError, OSError) as e:
            log.wrong(args.old, e)
    print(f"size {size}, root {root.hex()}, " + (f"{log.problems} wrong" if log.problems else "all verified"))
    return 1 if log.problems else 0


if __name__ == "__main__":
    sys.exit(main())
