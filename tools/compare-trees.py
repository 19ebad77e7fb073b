#!/usr/bin/env python3
"""Compares two trees in everything a backup must give back, and names what differs.

usage: compare-trees.py A B

Compared: names (as bytes), types, modes, owners, modification times to the nanosecond, sizes, every
byte of content, link targets, device numbers, extended attributes (ACLs are among them), which names
are hard links of one file, and that holes stayed holes.  Exit 0: the same; 1: not.
"""
import collections
import os
import stat
import sys

BLOCK = 1 << 20


def listing(top):
    """{path: stat} of everything below top and of top itself, sorted by name."""
    found, waiting = {b"": os.lstat(top)}, [b""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(top, folder)) as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                found[path] = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
    return dict(sorted(found.items()))


def links(tree):
    """{path: its set of names} for files with several names inside the tree."""
    groups = collections.defaultdict(set)
    for path, st in tree.items():
        if stat.S_ISREG(st.st_mode) and st.st_nlink > 1:
            groups[st.st_dev, st.st_ino].add(path)
    return {path: group for group in groups.values() if len(group) > 1 for path in group}


def xattrs(path):
    try:
        return {name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)}
    except OSError:
        return {}


def same_bytes(one, two):
    with open(one, "rb") as first, open(two, "rb") as second:
        while True:
            block = first.read(BLOCK)
            if block != second.read(BLOCK):
                return False
            if not block:
                return True


def differences(path, one, two, a, b):
    """Yields a word for each thing in which the entry differs."""
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
        yield "type"
        return
    for word in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
        if getattr(a, word) != getattr(b, word) and not (stat.S_ISLNK(a.st_mode) and word == "st_mode"):
            yield f"{word[3:]} {getattr(a, word)} and {getattr(b, word)}"
    if xattrs(one) != xattrs(two):
        yield "extended attributes"
    if stat.S_ISREG(a.st_mode):
        if a.st_size != b.st_size:
            yield f"size {a.st_size} and {b.st_size}"
        elif not same_bytes(one, two):
            yield "content"
        # File systems round what they allocate; a filled hole is far larger than that.
        elif b.st_blocks * 512 > a.st_blocks * 512 + a.st_size // 8 + BLOCK // 4:
            yield f"holes: {a.st_blocks * 512} bytes allocated and {b.st_blocks * 512}"
    elif stat.S_ISLNK(a.st_mode):
        if os.readlink(one) != os.readlink(two):
            yield "link target"
    elif (stat.S_ISCHR(a.st_mode) or stat.S_ISBLK(a.st_mode)) and a.st_rdev != b.st_rdev:
        yield "device number"


def main(top_a, top_b):
    tops = os.fsencode(top_a), os.fsencode(top_b)
    a, b = listing(tops[0]), listing(tops[1])
    links_a, links_b = links(a), links(b)
    problems = []
    for path in sorted(a.keys() | b.keys()):
        if path not in b or path not in a:
            problems.append((path, "only in " + (top_a if path in a else top_b)))
            continue
        one, two = (os.path.join(top, path) for top in tops)
        problems.extend((path, word) for word in differences(path, one, two, a[path], b[path]))
        if links_a.get(path) != links_b.get(path):
            problems.append((path, "hard links"))
    for path, word in problems[:50]:
        print(f"{path!r}: {word}")
    files = [st for st in a.values() if stat.S_ISREG(st.st_mode)]
    print(f"{len(a)} entries, {len(files)} files, {sum(st.st_size for st in files)} bytes compared: "
          + (f"{len(problems)} differences" if problems else "the same"))
    return bool(problems)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    sys.exit(main(*sys.argv[1:]))
