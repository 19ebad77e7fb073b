#!/usr/bin/env python3
"""Makes the files of a small hospital, or a day's change of them.  Everything is synthetic.

usage: make-demo-tree.py DIR          makes DIR
       make-demo-tree.py DIR --next   changes it as a day of work would

The same bytes, names and times come out on every run.  Names of persons are made of the syllables
架空 (kakū, "imaginary") and carry the mark SYNTHETIC, so that nobody takes one for a patient.
"""
import os
import pathlib
import random
import sys

DAY_US = 86_400 * 10**6
MARCH = 1_772_323_200 * 10**6  # 2026-03-01T00:00:00Z, microseconds since 1970
WARDS = ["3E", "3W", "4E", "4W", "ICU"]
TESTS = [("WBC", "10*3/uL", 4, 11), ("HGB", "g/dL", 9, 17), ("PLT", "10*3/uL", 120, 380),
         ("CRP", "mg/dL", 0, 12), ("CRE", "mg/dL", 0, 3), ("K", "mmol/L", 3, 6)]


class Tree:
    def __init__(self, top):
        self.top = os.fsencode(top)
        self.when = MARCH

    def path(self, name):
        return os.path.join(self.top, name if isinstance(name, bytes) else name.encode())

    def file(self, name, content, mode=0o640):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(content)
        os.chmod(path, mode)
        self.stamp(path)

    def stamp(self, path):
        """Odd nanoseconds on purpose: a backup that rounds times is found out."""
        self.when += 61_000_003
        os.utime(path, ns=(self.when * 1000 + 7, self.when * 1000 + 7), follow_symlinks=False)

    def stamp_directories(self):
        """And what is neither file nor directory: all whose time the making left at now."""
        for folder, folders, names in sorted(os.walk(self.top)):
            for path in (os.path.join(folder, name) for name in sorted(folders + names)):
                if os.path.islink(path) or not (os.path.isfile(path) or os.path.isdir(path)):
                    self.stamp(path)
        for path, _, _ in sorted(os.walk(self.top), reverse=True):
            self.stamp(path)


def patient(number):
    return f"SYN{number:05}", f"架空^太郎{number:03}^^^^^L^I~カクウ^タロウ{number:03}^^^^^L^P", f"SYNTHETIC^{number:05}"


def hl7(dice, number, day):
    """A laboratory result as HL7 v2.5, ISO-2022-JP as Japanese senders write it."""
    ident, name, mark = patient(dice.randrange(1, 400))
    stamp = f"202603{day:02}{dice.randrange(24):02}{dice.randrange(60):02}00"
    lines = [rf"MSH|^~\&|LAB|SYNTHETIC|EMR|SYNTHETIC|{stamp}||ORU^R01|{number:08}|P|2.5||||||~ISO IR87",
             f"PID|1||{ident}^^^{mark}||{name}|19500101|M",
             f"PV1|1|I|{dice.choice(WARDS)}^{dice.randrange(300, 420)}^1",
             f"OBR|1||{number}|CBC^血液検査^99SYN|||{stamp}"]
    for row, (code, unit, low, high) in enumerate(TESTS, 1):
        lines.append(f"OBX|{row}|NM|{code}||{dice.uniform(low, high):.1f}|{unit}|||||F")
    return "\r".join(lines).encode("iso2022_jp") + b"\r"


def dicom(dice, number):
    """The outline of a DICOM file: preamble, mark, a few elements, and a picture with some order in it."""
    def element(group, item, kind, value):
        value += b" " * (len(value) % 2)
        return (group.to_bytes(2, "little") + item.to_bytes(2, "little") + kind
                + len(value).to_bytes(2, "little") + value)
    head = (element(0x0010, 0x0010, b"PN", b"SYNTHETIC^PICTURE")
            + element(0x0010, 0x0020, b"LO", f"SYN{number:05}".encode()))
    picture = bytearray()
    for row in range(256):
        noise = dice.randbytes(512)
        picture += bytes((row + column // 3 + noise[column] % 5) & 0xff for column in range(512))
    return bytes(128) + b"DICM" + head + bytes(picture)


def pdf(dice, title):
    text = f"BT /F1 12 Tf 72 770 Td (SYNTHETIC {title}) Tj ET\n" + "".join(
        f"BT /F1 9 Tf 72 {740 - 12 * row} Td ({' '.join(str(dice.randrange(9999)) for _ in range(12))}) Tj ET\n"
        for row in range(50))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
               "/Resources << /Font << /F1 5 0 R >> >> >>",
               f"<< /Length {len(text)} >>\nstream\n{text}endstream",
               "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    out, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    xref = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{p:010} 00000 n \n" for p in places)
    return (out + f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{xref}\n%%EOF\n").encode()


def claims(dice, month):
    """A claims file in Shift_JIS, as billing systems exchange them."""
    rows = [f"IR,1,13,1,9999999,架空病院SYNTHETIC,2026{month:02},"]
    for number in range(1, 400):
        rows.append(f"RE,{number},1112,架空 太郎{number:03},1,3250101,{dice.randrange(1, 31)},")
        rows.extend(f"SI,12,1,{dice.randrange(111000110, 199999999)},,{dice.randrange(900)},1"
                    for _ in range(dice.randrange(2, 9)))
    return "\r\n".join(rows).encode("shift_jis") + b"\r\n"


def try_xattr(path, name, value):
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError:  # not every file system has them
        pass


def first(top):
    dice, tree = random.Random(20221031), Tree(top)
    os.makedirs(tree.top)
    number = 0
    for day in range(1, 11):
        for _ in range(40):
            number += 1
            tree.file(f"emr/hl7/2026-03-{day:02}/{number:08}.hl7", hl7(dice, number, day))
    for count in range(12):
        tree.file(f"radiology/2026-03/SYN{count:05}.dcm", dicom(dice, count), 0o440)
    for ward in WARDS:
        tree.file(f"documents/{ward}/handover.pdf", pdf(dice, f"ward {ward}"))
    tree.file("documents/手順書/停止時の手順.txt",
              "電子カルテが止まったとき(架空の手順 SYNTHETIC)\n1. 紙の伝票に切り替える\n2. 保管者三人を呼ぶ\n".encode())
    tree.file("documents/old-notice.txt", b"SYNTHETIC: this notice is withdrawn tomorrow\n")
    for month in (1, 2):
        tree.file(f"billing/RECEIPTC-2026{month:02}.UKE", claims(dice, month))
    tree.file("billing/send.sh", b"#!/bin/sh\necho SYNTHETIC: would send the claims\n", 0o750)

    # A database file with holes: 64 MiB long, 1 MiB of it written.
    tree.file("emr/database/emr.db", b"")
    with open(tree.path("emr/database/emr.db"), "r+b") as out:
        for page in range(128):
            out.seek(page * 512 * 1024)
            out.write(b"SYNTHETIC PAGE %06d " % page + dice.randbytes(4096))
        out.truncate(64 * 2**20)
    tree.stamp(tree.path("emr/database/emr.db"))

    # What a careless copy loses.
    tree.file("labs/2026-03-10.csv", b"SYNTHETIC,K,4.1\n" * 500)
    os.link(tree.path("labs/2026-03-10.csv"), tree.path("labs/latest.csv"))
    os.symlink("../documents", tree.path("labs/documents"))
    os.symlink("/nowhere/synthetic", tree.path("labs/dangling"))
    os.mkfifo(tree.path("labs/analyser.fifo"), 0o600)
    tree.file("labs/empty", b"")
    os.makedirs(tree.path("labs/no results yet"))
    tree.file("labs/" + "長い名前" * 21, b"252 bytes of name\n")
    tree.file(b"labs/line\nbreak", b"a name may hold a line break\n")
    tree.file("labs/検査.csv".encode("shift_jis"), "架空,検査\n".encode("shift_jis"))
    tree.file("labs/founded.txt", b"older than 1970\n")
    os.utime(tree.path("labs/founded.txt"), ns=(-86_400 * 10**9 - 1, -86_400 * 10**9 - 1))
    try_xattr(tree.path("labs/2026-03-10.csv"), "user.department", "検査科".encode())
    try_xattr(tree.path("billing"), "user.owner", b"SYNTHETIC")
    os.chmod(tree.path("billing"), 0o2750)
    tree.stamp_directories()


def following(top):
    dice, tree = random.Random(20221101), Tree(top)
    tree.when = MARCH + 12 * DAY_US
    for number in range(401, 405):
        tree.file(f"emr/hl7/2026-03-11/{number:08}.hl7", hl7(dice, number, 11))
    with open(tree.path("emr/database/emr.db"), "r+b") as out:
        for page in (3, 64, 127):
            out.seek(page * 512 * 1024)
            out.write(b"SYNTHETIC PAGE %06d again" % page)
    tree.stamp(tree.path("emr/database/emr.db"))
    tree.file("documents/3E/handover.pdf", pdf(dice, "ward 3E, next day"))
    os.unlink(tree.path("documents/old-notice.txt"))
    os.rename(tree.path("documents/4W/handover.pdf"), tree.path("documents/4W/handover-0310.pdf"))
    os.chmod(tree.path("billing/send.sh"), 0o700)
    os.unlink(tree.path("labs/empty"))
    os.symlink("2026-03-10.csv", tree.path("labs/empty"))
    tree.stamp_directories()


match sys.argv[1:]:
    case [top]:
        first(pathlib.Path(top))
    case [top, "--next"]:
        following(pathlib.Path(top))
    case _:
        sys.exit(__doc__.strip())
