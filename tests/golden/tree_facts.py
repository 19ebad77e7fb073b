"""What is true of a tree on disk, without dozo: the maker of golden vaults writes it down, and the
test compares what comes back with it."""
import hashlib
import os
import stat

TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
         stat.S_IFSOCK: "socket", stat.S_IFCHR: "chardev", stat.S_IFBLK: "blockdev"}


def facts(top):
    """A row an entry below `top`, sorted by path; paths are relative to it, "" is itself."""
    rows, first = [], {}
    for folder, dirs, files in os.walk(os.fsencode(top)):
        for path in ([folder] if folder == os.fsencode(top) else []) + [os.path.join(folder, n) for n in dirs + files]:
            st = os.lstat(path)
            name = os.fsdecode(os.path.relpath(path, os.fsencode(top)))
            row = {"path": "" if name == "." else name, "type": TYPES[stat.S_IFMT(st.st_mode)],
                   "mode": f"{stat.S_IMODE(st.st_mode):04o}", "uid": st.st_uid, "gid": st.st_gid,
                   "mtime_s": st.st_mtime_ns // 10**9, "mtime_ns": st.st_mtime_ns % 10**9}
            if row["type"] == "file":
                with open(path, "rb") as file:
                    row.update(size=st.st_size, sha256=hashlib.sha256(file.read()).hexdigest())
                if st.st_nlink > 1:
                    row["inode"] = st.st_ino
            if row["type"] == "symlink":
                row["target"] = os.fsdecode(os.readlink(path))
            else:
                row["xattrs"] = {n: os.getxattr(path, n).hex() for n in sorted(os.listxattr(path))
                                 if n.startswith("user.")}
            rows.append(row)
    rows.sort(key=lambda row: os.fsencode(row["path"]))
    for row in rows:  # which names are one file, not which number it has
        if "inode" in row:
            row["same_as"] = first.setdefault(row.pop("inode"), row["path"])
    return rows
