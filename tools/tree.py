"""The files of the source tree, for the checks: as git knows them, or all of a released archive."""
import fnmatch
import pathlib
import subprocess

TOP = pathlib.Path(__file__).resolve().parent.parent


def files(*patterns):
    """Sorted paths below TOP that match a pattern; * crosses folders ('src/*.h'); no links."""
    try:
        listed = subprocess.run(["git", "-C", str(TOP), "ls-files", "-z", "--cached", "--others",
                                 "--exclude-standard"], capture_output=True, check=True).stdout
        every = [TOP / name for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        every = [path for path in TOP.rglob("*")
                 if not path.relative_to(TOP).parts[0].startswith(("build", ".git"))]
    return sorted(path for path in every if path.is_file() and not path.is_symlink()
                  and any(fnmatch.fnmatch(str(path.relative_to(TOP)), pattern)
                          for pattern in patterns))
