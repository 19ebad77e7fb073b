#!/usr/bin/env python3
"""compare.py SOURCE RESTORED: what a restore lost, entry by entry.

Prints one JSON object: how many entries were compared and, per kind of loss, how many entries suffer. `faithful` is
true when no byte, name, kind, mode, owner, time, link, attribute or device was lost; sparseness is told apart, as
MiB on disk. Exits 1 when something was lost.
"""
import hashlib
import json
import os
import stat
import sys
from collections import Counter, defaultdict


def scan(root):
    """Path relative to root -> (lstat, attributes, full path)."""
    found = {}

    def into(directory, prefix):
        for item in os.scandir(directory):
            st = item.stat(follow_symlinks=False)
            attributes = {name: os.getxattr(item.path, name, follow_symlinks=False)
                          for name in os.listxattr(item.path, follow_symlinks=False)}
            path = os.path.join(prefix, item.name)
            found[path] = (st, attributes, item.path)
            if stat.S_ISDIR(st.st_mode):
                into(item.path, path)

    into(os.fsencode(root), b"")
    return found


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.digest()


def attribute_kind(name):
    if name.startswith("system.posix_acl"):
        return "acl"
    return "capability" if name == "security.capability" else "xattr"


def losses(a, b):
    """The kinds of loss between two entries of one name."""
    (st, attributes, path), (st2, attributes2, path2) = a, b
    if stat.S_IFMT(st.st_mode) != stat.S_IFMT(st2.st_mode):
        yield "kind"
        return
    if st.st_mode != st2.st_mode:
        yield "mode"
    if (st.st_uid, st.st_gid) != (st2.st_uid, st2.st_gid):
        yield "owner"
    if st.st_mtime_ns != st2.st_mtime_ns:
        yield ("mtime_of_directory" if stat.S_ISDIR(st.st_mode) else
               "mtime_of_symlink" if stat.S_ISLNK(st.st_mode) else
               "mtime" if abs(st.st_mtime_ns - st2.st_mtime_ns) >= 1000 else "mtime_below_1us")
    if stat.S_ISREG(st.st_mode) and (st.st_size != st2.st_size or digest(path) != digest(path2)):
        yield "content"
    if stat.S_ISLNK(st.st_mode) and os.readlink(path) != os.readlink(path2):
        yield "symlink_target"
    if (stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode)) and st.st_rdev != st2.st_rdev:
        yield "device"
    # A kind counts once for an entry, however many attributes of it are gone or were added.
    yield from {attribute_kind(name) for name in attributes.keys() | attributes2.keys()
                if attributes.get(name) != attributes2.get(name)}


def hardlinks_lost(source, restored):
    """Names that no longer share an inode with the rest of their group."""
    groups = defaultdict(list)
    for path, (st, _, _) in source.items():
        if stat.S_ISREG(st.st_mode) and st.st_nlink > 1 and path in restored:
            groups[st.st_dev, st.st_ino].append(restored[path][0].st_ino)
    return sum(len(inodes) - max(Counter(inodes).values()) for inodes in groups.values())


def mib_on_disk(tree):
    return sum({(st.st_dev, st.st_ino): st.st_blocks for st, _, _ in tree.values()}.values()) // 2048


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, restored = scan(sys.argv[1]), scan(sys.argv[2])
    lost = Counter(missing=len(source.keys() - restored.keys()), extra=len(restored.keys() - source.keys()),
                   hardlink=hardlinks_lost(source, restored))
    for path in source.keys() & restored.keys():
        lost.update(losses(source[path], restored[path]))
    lost = {kind: count for kind, count in sorted(lost.items()) if count}
    print(json.dumps({"entries": len(source), "faithful": not lost, "lost": lost,
                      "source_disk_MiB": mib_on_disk(source), "restored_disk_MiB": mib_on_disk(restored)}))
    sys.exit(1 if lost else 0)


main()
