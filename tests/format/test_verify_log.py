#!/usr/bin/env python3
"""tools/verify_log.py agrees with logs that dozo makes, and finds what was done to them."""
import pathlib, shutil, subprocess, sys, tempfile

make_log, reader, document = sys.argv[1:4]


def made(path, *sizes):
    path.mkdir()
    return subprocess.run([make_log, path, *map(str, sizes)], check=True, capture_output=True,
                          text=True).stdout.strip()


def read(*args):
    r = subprocess.run([sys.executable, reader, *map(str, args)], capture_output=True, text=True)
    return r.returncode, r.stdout


def expect(what, condition, shown=""):
    if not condition:
        sys.exit(f"failed: {what}\n{shown}")


with tempfile.TemporaryDirectory() as top:
    top = pathlib.Path(top)
    for sizes in [(), (1,), (2,), (255, 256), (256, 257), (3, 700), (65536, 66000)]:
        log = top / ("log" + "-".join(map(str, sizes)))
        key = made(log, *sizes)
        code, out = read(log, key)
        n = sizes[-1] if sizes else 0
        expect(f"a log of {sizes} verifies", code == 0 and f"size {n}," in out, out[-500:])
        expect(f"{n} leaves are shown", len(out.splitlines()) == n + 1)

    # the bytes of docs/format/log.md are those of the log of two leaves
    text = pathlib.Path(document).read_text()
    expect("the document shows the checkpoint", (top / "log2/checkpoint").read_text() in text)
    squeezed = "".join(text.split())
    for name in ["tile/0/000.p/2", "tile/entries/000.p/2"]:
        data = (top / "log2" / name).read_bytes()
        for at in range(0, len(data), 16):
            expect(f"the document shows {name} at {at:#x}", data[at:at + 16].hex() in squeezed)

    small, big = top / "log2", top / "log3-700"
    expect("another key is refused", read(small, "00" * 32)[0] == 1)
    expect("the log continues an older checkpoint", read("--old", small / "checkpoint", big, key)[0] == 0)
    expect("and not a later one", read("--old", big / "checkpoint", small, key)[0] == 1)

    for name in ["checkpoint", "tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/000",
                 "tile/entries/002.p/188"]:
        good = (big / name).read_bytes()
        for what, bad in [("a flipped bit", good[:-9] + bytes([good[-9] ^ 4]) + good[-8:]),
                          ("a cut", good[:-1]), ("something behind", good + b"\n"), ("nothing", b"")]:
            (big / name).unlink()
            (big / name).write_bytes(bad)
            code, out = read(big, key)
            expect(f"{what} in {name} is found", code == 1 and "WRONG" in out, out[-500:])
        (big / name).unlink()
        expect(f"{name} is missed", read(big, key)[0] == 1)
        (big / name).write_bytes(good)
    expect("all is well again", read(big, key)[0] == 0)
    shutil.rmtree(small)
print("verify_log.py agrees")
