"""A Samba server of a test's own, on a loopback address of its own, gone when the test is.

    with samba.Server(directory) as server: ...
    python3 samba.py [--set 'OPTION = VALUE']... COMMAND [ARG...]    runs COMMAND beside one

Exit code 77, "skipped", where there is no smbd (Debian: samba) or we are not root, as smbd must be.

The server listens on port 445 of an address like 127.93.4.5, and on a high port: libsmbclient asks
for security descriptors on 445 only.  All its state is below the directory given.
"""
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SMBD = shutil.which("smbd", path="/usr/sbin:/usr/bin:/sbin:/bin")
PR_SET_PDEATHSIG = 1

SETTINGS = """
[global]
    server role = standalone server
    netbios name = DOZOTEST
    workgroup = DOZO
    interfaces = {address}/8
    bind interfaces only = yes
    smb ports = 445 {port}
    disable netbios = yes
    log file = {top}/log
    pid directory = {top}/pid
    private dir = {top}/private
    state directory = {top}/state
    cache directory = {top}/cache
    lock directory = {top}/lock
    ncalrpc dir = {top}/ncalrpc
    passdb backend = tdbsam:{top}/private/passdb.tdb
    map to guest = never
    load printers = no
    printcap name = /dev/null
    disable spoolss = yes
    unix charset = UTF-8
    server min protocol = SMB3
    server smb encrypt = required
    posix locking = no
{more}
[data]
    path = {share}
    read only = no
    store dos attributes = yes
    vfs objects = acl_xattr streams_xattr
    acl_xattr:ignore system acls = yes
{share_more}
"""


def available():
    return SMBD is not None and os.getuid() == 0


def free_address():
    """A loopback address on which nobody listens where we shall."""
    for n in range(100):
        seed = os.getpid() * 100 + n
        address = f"127.{64 + seed % 128}.{seed // 128 % 256}.{1 + seed // 32768 % 250}"
        with socket.socket() as low, socket.socket() as high:
            try:
                low.bind((address, 445))
                high.bind((address, 0))
            except OSError:
                continue
            return address, high.getsockname()[1]
    raise RuntimeError("port 445 is taken on every loopback address that was tried")


class Server:
    USER, PASSWORD = "root", "試験 pass=word"

    def __init__(self, top, settings=(), share_settings=()):
        self.top = pathlib.Path(top).resolve()
        self.share = self.top / "share"
        self.process = None
        for name in ["share", "pid", "private", "state", "cache", "lock", "ncalrpc"]:
            (self.top / name).mkdir(parents=True)
        self.address, self.port = free_address()
        self.conf = self.top / "smb.conf"
        lines = ["".join(f"    {line}\n" for line in part) for part in (settings, share_settings)]
        self.conf.write_text(SETTINGS.format(address=self.address, port=self.port, top=self.top, share=self.share,
                                             more=lines[0], share_more=lines[1]))
        self.add_user(self.USER, self.PASSWORD)
        self.credentials = self.write_credentials("credentials", self.PASSWORD)

    def add_user(self, user, password):
        subprocess.run(["pdbedit", "-s", self.conf, "-a", "-t", "-u", user], input=f"{password}\n{password}\n".encode(),
                       check=True, capture_output=True, timeout=60)

    def write_credentials(self, name, password, user=USER):
        path = self.top / name
        path.touch(mode=0o600)
        path.write_text(f"username = {user}\npassword = {password}\ndomain = DOZOTEST\n")
        return path

    @property
    def where(self):
        return f"//{self.address}/data"

    def start(self):
        libc = ctypes.CDLL(None)  # loaded before the fork
        with (self.top / "out").open("wb") as out:
            self.process = subprocess.Popen(
                [SMBD, "--foreground", "--no-process-group", "-s", self.conf], stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, cwd=self.top, start_new_session=True,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM))
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((self.address, 445), timeout=5).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError((self.top / "out").read_text() + (self.top / "log").read_text()) from None
                time.sleep(0.05)

    def ours(self):
        """The processes that run with our configuration: smbd's helpers have sessions of their own."""
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(self.conf).encode() in path.read_bytes():
                    yield int(path.parts[2])
            except OSError:
                pass

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        for pid in self.ours():
            if pid != os.getpid():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    __enter__ = start

    def __exit__(self, *_):
        self.stop()

    def client(self, program, *args, check=True):
        """smbclient, smbcacls: clients that are not ours.  Their output."""
        auth = self.top / "auth"
        auth.write_text(f"username = {self.USER}\npassword = {self.PASSWORD}\ndomain = DOZOTEST\n")
        done = subprocess.run([program, "-s", self.conf, "-A", auth, self.where, *args], check=False,
                              capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout.decode()


def main(args):
    settings = []
    while args[0] == "--set":
        settings.append(args[1])
        args = args[2:]
    with tempfile.TemporaryDirectory(prefix="dozo-samba-") as top, Server(top, settings) as server:
        for name in ["where", "share", "credentials", "port"]:
            os.environ["DOZO_SMB_" + name.upper()] = str(getattr(server, name))
        return subprocess.run(args, check=False).returncode


if __name__ == "__main__":
    if not available():
        print("no Samba server here, or not root: nothing was tried with one")
        sys.exit(77)
    sys.exit(main(sys.argv[1:]))
