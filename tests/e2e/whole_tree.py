"""A tree of everything that a Unix tree can hold, and what two trees differ in.

Everything goes through directory descriptors, so that paths may be longer than the kernel takes.
"""
import hashlib
import os
import shutil
import socket
import stat
import struct
import subprocess

ROOT = os.geteuid() == 0
FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
LONG = b"n" * 255
DEEP, DEEP_NAME = 40, b"d" * 200  # 8,040 bytes: about twice PATH_MAX


def write(path, content=b"content\n"):
    with open(path, "wb") as f:
        f.write(content)


def sparse(path, size, islands):
    """A file of `size` bytes with data at the given offsets only."""
    with open(path, "wb") as f:
        f.truncate(size)
        for at, content in islands:
            f.seek(at)
            f.write(content)


def xattr(path, name, value):
    """True when this file system and user may set it."""
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
        return True
    except OSError:
        return False


def make(top):
    """Makes the tree; `top` is there and empty.  Gives the names of what could not be made."""
    missing = []
    j = lambda *parts: os.path.join(top, *parts)
    pattern = bytes(range(256)) * 64

    os.mkdir(j(b"plain"))
    for size in (0, 1, 4095, 4096, 4097, 16 << 10, 100_000, 300_000):
        write(j(b"plain", b"%d" % size), (pattern * (size // len(pattern) + 1))[:size])
    write(j(b"plain", b"noise"), hashlib.shake_256(b"dozo").digest(3 << 20))
    write(j(b"plain", b"spans"), hashlib.shake_256(b"spans").digest(17 << 20) * 2 + b"end")
    write(j(b"plain", b"searched"), b"a line\nthe needle in it\nand another\n")

    os.mkdir(j(b"holes"))
    sparse(j(b"holes", b"giant"), (5 << 30) + 7, [(1 << 20, b"a" * 5000), (3 << 30, pattern), ((5 << 30) - 9, b"z" * 9)])
    sparse(j(b"holes", b"start"), 2 << 20, [(1 << 20, b"b" * (1 << 20))])
    sparse(j(b"holes", b"end"), 3 << 20, [(0, b"c" * 65536)])
    sparse(j(b"holes", b"all"), 40 << 20, [])
    sparse(j(b"holes", b"small"), 100_000, [(65536, b"d" * 1000)])
    sparse(j(b"holes", b"large"), 90 << 20, [(0, pattern * 64 * 18), (50 << 20, pattern * 64 * 20)])

    os.makedirs(j(b"links", b"x"))
    os.mkdir(j(b"links", b"y"))
    write(j(b"links", b"x", b"first"), b"one inode\n")
    os.link(j(b"links", b"x", b"first"), j(b"links", b"y", b"second"))
    os.link(j(b"links", b"x", b"first"), j(b"links", b"third"))
    write(j(b"links", b"x", b"empty"), b"")
    os.link(j(b"links", b"x", b"empty"), j(b"links", b"y", b"empty"))
    os.symlink(b"x/first", j(b"links", b"good"))
    os.symlink(b"nowhere/at all", j(b"links", b"broken"))
    os.symlink(b"/etc", j(b"links", b"absolute"))
    os.symlink(b"../" * 1300 + b"etc", j(b"links", b"long"))
    os.symlink(b"\xff\n\x01", j(b"links", b"bytes"))
    os.symlink(b"self", j(b"links", b"self"))
    os.link(j(b"links", b"good"), j(b"links", b"good too"), follow_symlinks=False)

    os.mkdir(j(b"kinds"))
    os.mkfifo(j(b"kinds", b"fifo"), 0o640)
    os.link(j(b"kinds", b"fifo"), j(b"kinds", b"fifo too"))
    here = os.open(j(b"kinds"), FLAGS)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"/proc/self/fd/{here}/socket")
    os.close(here)
    try:
        os.mknod(j(b"kinds", b"null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(j(b"kinds", b"disk"), stat.S_IFBLK | 0o660, os.makedev(259, 1048575))
    except OSError:
        missing.append("devices")

    os.mkdir(j(b"modes"))
    for mode in (0o000, 0o444, 0o600, 0o777, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777):
        write(j(b"modes", b"f%04o" % mode))
        os.mkdir(j(b"modes", b"d%04o" % mode))
        if ROOT and mode & 1:
            os.chown(j(b"modes", b"f%04o" % mode), 12345, 54321)
            os.chown(j(b"modes", b"d%04o" % mode), 4_000_000_000, 3_000_000_000)
        os.chmod(j(b"modes", b"f%04o" % mode), mode if ROOT else mode | 0o400)
        os.chmod(j(b"modes", b"d%04o" % mode), mode if ROOT else mode | 0o500)
    os.mkdir(j(b"modes", b"closed"))
    write(j(b"modes", b"closed", b"inside"))
    os.chmod(j(b"modes", b"closed"), 0o555)

    os.mkdir(j(b"names"))
    for name in (b" ", b"-rf", b"...", b"a\nb", b"\n", b"tab\t", b"\x01\x1b[31m", b"\xff\xfe", b"back\\slash", b"quote'\"",
                 b"*", LONG, "土蔵".encode(), "が".encode("shift_jis"), b"a", b"a.b", b"a b", b"a-", b"a\x01", b"a0",
                 b"%s", b"\x7f", b"c:"):
        write(j(b"names", name), name)
    os.mkdir(j(b"names", b"A"))
    write(j(b"names", b"A", LONG))
    os.mkdir(j(b"names", b"\xff"))
    write(j(b"names", b"\xff", b"\xff"))

    os.mkdir(j(b"attributes"))
    for name in (b"file", b"dir"):
        path = j(b"attributes", name)
        os.mkdir(path) if name == b"dir" else write(path)
        if not (xattr(path, "user.comment", b"\0\xff\n") and xattr(path, "user.empty", b"") and
                xattr(path, "user.large", b"l" * 3000)):
            missing.append("user attributes")
        if not xattr(path, "trusted.kept", b"t"):
            missing.append("trusted attributes")
    if not xattr(j(b"attributes", b"file"), "security.capability", struct.pack("<5I", 0x2000001, 1 << 10, 0, 0, 0)):
        missing.append("capabilities")
    os.symlink(b"file", j(b"attributes", b"link"))
    xattr(j(b"attributes", b"link"), "trusted.of-a-link", b"!")
    write(j(b"attributes", b"acl"))
    os.mkdir(j(b"attributes", b"acl.d"))
    if not shutil.which("setfacl") or any(subprocess.run([b"setfacl", *args], stderr=subprocess.DEVNULL).returncode for args in (
            (b"-m", b"u:12345:rw,g:54321:r", j(b"attributes", b"acl")),
            (b"-m", b"u:12345:rwx", j(b"attributes", b"acl.d")),
            (b"-d", b"-m", b"u:12345:rwx,g::r,o::-", j(b"attributes", b"acl.d")))):
        missing.append("ACLs")
    write(j(b"attributes", b"acl.d", b"heir"))
    os.mkdir(j(b"attributes", b"acl.d", b"heir.d"))
    write(j(b"attributes", b"acl.d", b"disowned"))
    subprocess.run([b"setfacl", b"-b", j(b"attributes", b"acl.d", b"disowned")], stderr=subprocess.DEVNULL)

    here = os.open(j(b"."), FLAGS)
    for name in [b"deep"] + [DEEP_NAME] * DEEP:
        os.mkdir(name, dir_fd=here)
        below = os.open(name, FLAGS, dir_fd=here)
        os.close(here)
        here = below
    fd = os.open(b"bottom", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=here)
    os.write(fd, b"far down\n")
    os.close(fd)
    os.symlink(b"bottom", b"link", dir_fd=here)
    os.mkfifo(b"fifo", dir_fd=here)
    os.link(b"bottom", b"twin", src_dir_fd=here, dst_dir_fd=here)
    os.close(here)

    os.mkdir(j(b"times"))
    for i, ns in enumerate((-300_000_000_123_456_789, -1, 0, 1, 2_147_483_648_000_000_001, 4_102_444_800_999_999_999,
                            1_000_000_000_123_456_789)):
        for path in (j(b"times", b"f%d" % i), j(b"times", b"d%d" % i), j(b"times", b"l%d" % i)):
            if path.endswith(b"f%d" % i):
                write(path)
            elif path.endswith(b"d%d" % i):
                os.mkdir(path)
            else:
                os.symlink(b"x", path)
            os.utime(path, ns=(ns, ns), follow_symlinks=False)
    os.utime(j(b"kinds", b"fifo"), ns=(5, 7))
    os.utime(j(b"modes", b"closed"), ns=(11, 13))
    return missing


def open_up(top):
    """So that a user who is not root can remove it."""
    for folder, _, _ in os.walk(top):
        os.chmod(folder, 0o700)


def data_map(fd, size):
    """Where the data lies: [(start, end)]."""
    at, found = 0, []
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, at))
    return found


def content(name, here, st, holes):
    """Digest of the content, and where the data lies; holes are not read if `holes`."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=here)
    try:
        h, where = hashlib.blake2b(), data_map(fd, st.st_size) if holes else None
        zeros = bytes(1 << 20)
        for start, end in where if holes else [(0, st.st_size)]:
            for at in range(start, end, 1 << 20):
                block = os.pread(fd, min(1 << 20, end - at), at)
                if block.strip(b"\0") if len(block) < 1 << 20 else block != zeros:
                    h.update(struct.pack("<Q", at & ~4095) + block if not holes else block)
        return h.hexdigest(), where
    finally:
        os.close(fd)


def attributes(name, here):
    path = b"/proc/self/fd/%d/%s" % (here, name)
    try:
        return {a: os.getxattr(path, a, follow_symlinks=False) for a in os.listxattr(path, follow_symlinks=False)}
    except OSError as e:
        return {"error": str(e.errno)}


def describe(top, holes=True, read=True):
    """{path: what can be known of it}; `top` is a path, with itself as b""."""
    found, inodes = {}, {}

    def look(path, name, here):
        st = os.stat(name, dir_fd=here, follow_symlinks=False)
        row = {"type": stat.S_IFMT(st.st_mode), "mode": stat.S_IMODE(st.st_mode), "owner": (st.st_uid, st.st_gid),
               "time": st.st_mtime_ns}
        if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
            row["twin of"] = inodes.setdefault((st.st_dev, st.st_ino), path)
        if stat.S_ISLNK(st.st_mode):
            row["target"] = os.readlink(name, dir_fd=here)
        if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            row["device"] = st.st_rdev
        if stat.S_ISREG(st.st_mode):
            row["size"] = st.st_size
            if read:
                row["content"], row["data at"] = content(name, here, st, holes)
        row["attributes"] = attributes(name, here)
        found[path] = row
        if stat.S_ISDIR(st.st_mode):
            below = os.open(name, FLAGS, dir_fd=here)
            try:
                for entry in sorted(os.listdir(below)):
                    entry = os.fsencode(entry)
                    look(os.path.join(path, entry), entry, below)
            finally:
                os.close(below)

    above = os.open(os.path.dirname(top), FLAGS)
    try:
        look(b"", os.path.basename(top), above)
    finally:
        os.close(above)
    return found


def short(path):
    return repr(path if len(path) < 120 else path[:60] + b"..." + path[-40:])


def differences(a, b, ignore=()):
    """Lines of text; empty when the trees are the same."""
    lines = [f"{short(p)} is missing" for p in sorted(a.keys() - b.keys())]
    lines += [f"{short(p)} is too much" for p in sorted(b.keys() - a.keys())]
    for path in sorted(a.keys() & b.keys()):
        for key in a[path].keys() | b[path].keys():
            x, y = a[path].get(key), b[path].get(key)
            if x != y and key not in ignore:
                lines.append(f"{short(path)}: {key} was {str(x)[:200]}, is {str(y)[:200]}")
    return lines
