#!/usr/bin/env python3
"""Cuts and feature records of format version 1, written from docs/format and not from the C.

usage: vectors.py chunks|features [--check FILE]

Prints the vectors, or with --check fails unless FILE holds just these.  Lines are
`name = value`; inputs are made by inputs() below, and by the C test in the same way.
"""
import decimal
import functools
import hashlib
import struct
import sys

KEY = bytes(range(32))
DIGEST = bytes(range(16, 32))


def random_bytes(length):
    """SHA-256 of 0, 1, 2, ... (8 bytes, little-endian), joined."""
    blocks = (hashlib.sha256(struct.pack("<Q", i)).digest() for i in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def text(length):
    lines = b"".join(b"line %d of the message log\n" % i for i in range(length // 24 + 1))
    return lines[:length]


def inputs():
    rnd, txt = random_bytes(1 << 20), text(700000)
    return {
        "empty": b"",
        "short": b"MSH|^~\\&|A\r",
        "random": rnd,
        "text": txt,
        "zeros": bytes(600000),
        "mixed": txt[:100000] + rnd[:70000] + bytes(5000) + txt[:90001],
        "block": rnd[:4096],
        "odd": txt[:4096] + rnd[:4096] + txt[:255],
    }


# ---- docs/format/chunks.md ----

def chacha20(key, nonce, length):
    """RFC 8439, counter from 0."""
    def quarter(s, a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            v = s[z] ^ s[x]
            s[z] = (v << turn | v >> (32 - turn)) & 0xFFFFFFFF
    out = b""
    for counter in range(-(-length // 64)):
        start = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)
                     + (counter,) + struct.unpack("<3I", nonce))
        s = start[:]
        for _ in range(10):
            for i in range(4):
                quarter(s, i, 4 + i, 8 + i, 12 + i)
            for i in range(4):
                quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
        out += struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(s, start)))
    return out[:length]


def gear_table(key):
    table = list(struct.unpack("<256I", chacha20(key, b"dozo-gear-v1", 1024)))
    return [g ^ 0x80000000 if (-g & 0xFFFFFFFF) >> 24 == 0 else g for g in table]


def first_chunk(gear, data, at, least, avg, most):
    """Length of the chunk that starts at data[at]; the data ends where it ends."""
    left = len(data) - at
    if left <= least:
        return left
    bits = avg.bit_length() - 1
    h = 0
    for n in range(least - 32, min(left, most)):
        if n >= least and h >> (32 - bits - 2 if n < avg else 32 - bits + 2) == 0:
            return n
        h = (2 * h + gear[data[at + n]]) & 0xFFFFFFFF
    return min(left, most)


def chunks():
    gear = gear_table(KEY)
    yield "key", KEY.hex()
    yield "gear", hashlib.sha256(struct.pack("<256I", *gear)).hexdigest()
    for name, data in inputs().items():
        for label, params in (("vault", (16384, 65536, 262144)), ("small", (256, 1024, 4096))):
            at, lengths = 0, []
            while at < len(data):
                lengths.append(first_chunk(gear, data, at, *params))
                at += lengths[-1]
            if label == "vault":
                yield f"{name}", " ".join(map(str, lengths)) or "none"
            else:
                packed = struct.pack(f"<{len(lengths)}I", *lengths)
                yield f"{name}_small", f"{len(lengths)} {hashlib.sha256(packed).hexdigest()}"


# ---- docs/format/features.md ----

@functools.cache
def log2(v):
    if v <= 4096:
        with decimal.localcontext(decimal.Context(prec=50)):
            exact = decimal.Decimal(v).ln() / decimal.Decimal(2).ln() * 65536
            return int(exact + decimal.Decimal("1e-30"))  # powers of two come out a hair below
    shift = v.bit_length() - 12
    base, low = v >> shift, v & (1 << shift) - 1
    low16 = low >> shift - 16 if shift > 16 else low << 16 - shift
    return (shift << 16) + log2(base) + ((log2(base + 1) - log2(base)) * low16 >> 16)


class Spread:
    def __init__(self, data):
        n, counts = len(data), [data.count(b) for b in range(256)]
        squares = sum(c * c for c in counts)
        self.entropy = self.chi2 = self.collisions = 0
        if n:
            mean = sum(c * log2(c) for c in counts if c) // n
            self.entropy = min(max(log2(n) - mean, 0), 8 << 16)
            self.chi2 = 256 * squares // n - n
            self.collisions = min((squares - n << 32) // (n * (n - 1)), 2**32 - 1) if n > 1 else 2**32 - 1

    def pack(self):
        shift = max(self.chi2.bit_length() - 11, 0)
        return struct.pack("<HH", self.entropy >> 4, (shift << 10) + (self.chi2 >> shift))


def varint(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def share(part, whole, most):
    return max(part * most // whole, 1) if part and whole else 0


def record(data, text_kind, type_number, fit):
    blocks = [Spread(data[i:i + 4096]) for i in range(0, len(data), 4096)
              if len(data) - i >= 256 or i == 0]
    ends = data.count(b"\n") + data.count(b"\r")
    plain = sum(data.count(b) for b in range(32, 127)) + data.count(b"\t") + data.count(b"\f") + ends
    base64 = ends + sum(data.count(b) for b in
                        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
    feeds = data.count(b"\n")
    body = varint(len(data)) + bytes([fit | text_kind << 3 | 1 << 6]) + varint(type_number)
    body += bytes([share(plain, len(data), 255), share(base64, len(data), 255),
                   min(len(data) // feeds, 255) if feeds else 0])
    body += struct.pack("<H", share(sum(165 <= b.chi2 <= 345 for b in blocks), len(blocks), 65535))
    body += Spread(data).pack()
    if len(data) > 4096:
        body += blocks[0].pack() + min(blocks, key=lambda b: b.collisions).pack()
        body += max(blocks, key=lambda b: b.collisions).pack()
    body += DIGEST
    return b"\x01" + varint(len(body)) + body


def features():
    judged = {  # name of the file; text kind, type and fit that it must get
        "empty": ("a.txt", 0, 0, 5), "short": ("1.hl7", 1, 21, 1), "random": ("a.docx", 0, 0, 2),
        "text": ("a.log", 1, 0, 1), "zeros": ("a", 0, 0, 0), "mixed": ("a.pdf", 0, 0, 2),
        "block": ("a.jpg.locked", 0, 0, 0), "odd": ("a.txt", 0, 0, 5),
    }
    for name, data in inputs().items():
        file_name, *verdict = judged[name]
        yield f"{name} {file_name}", record(data, *verdict).hex()


def main(what, check=None, path=None):
    made = "".join(f"{name} = {value}\n" for name, value in {"chunks": chunks, "features": features}[what]())
    if check:
        with open(path, encoding="ascii") as file:
            held = "".join(line for line in file if line.strip() and not line.startswith("#"))
        return "the vectors differ from what docs/format says" if held != made else 0
    print(made, end="")
    return 0


sys.exit(main(*sys.argv[1:]))
