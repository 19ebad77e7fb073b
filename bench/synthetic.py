#!/usr/bin/env python3
"""The seeded, synthetic parts of the bench tree. No line of it is about a real person.

synthetic.py hl7 DIR         100,000 HL7 v2.5 result messages, 1 to 8 KiB, Japanese
synthetic.py ct DIR          512 pictures like uncompressed CT slices, 0.5 MiB each
synthetic.py special DATA    links, attributes, odd names, FIFO, set-user-id, below DATA/special
synthetic.py mutate DATA     changes about 1 % of the tree
synthetic.py small DIR N [--bytes MIN MAX]   N small files that differ, 1,000 to a directory
synthetic.py pick FROM TO [--suffix S] [--each-mib N] [--total-mib N]   copies files by name order up to a total
"""
import argparse
import array
import os
import random
import shutil

MIB = 1 << 20

FAMILY = ("佐藤 鈴木 高橋 田中 伊藤 渡辺 山本 中村 小林 加藤 吉田 山田 佐々木 山口 松本 井上 木村 林 斎藤 清水 "
          "山崎 森 池田 橋本 阿部 石川 山下 中島 石井 小川").split()
GIVEN = "太郎 花子 一郎 美咲 健太 陽子 翔 さくら 大輔 由美 直樹 恵子 拓也 真由美 和也 久美子 隆 明美 誠 智子".split()
KANA = "サトウ スズキ タカハシ タナカ イトウ ワタナベ ヤマモト ナカムラ コバヤシ カトウ".split()
TESTS = [("718-7", "Hemoglobin", "g/dL"), ("6690-2", "WBC", "10*3/uL"), ("777-3", "PLT", "10*3/uL"),
         ("2345-7", "Glucose", "mg/dL"), ("2160-0", "Creatinine", "mg/dL"), ("1742-6", "ALT", "U/L"),
         ("1920-8", "AST", "U/L"), ("2951-2", "Na", "mmol/L"), ("2823-3", "K", "mmol/L"),
         ("1988-5", "CRP", "mg/dL"), ("4548-4", "HbA1c", "%"), ("2085-9", "HDL-C", "mg/dL"),
         ("2571-8", "TG", "mg/dL"), ("3094-0", "BUN", "mg/dL")]
WORDS = ("経過 良好 発熱 咳嗽 あり なし 継続 処方 変更 検査 異常 所見 軽度 投薬 再診 予定 胸部 腹部 単純 撮影 "
         "確認 説明 同意 入院 退院 手術 術後 安静 食事 摂取").split()


def message_path(root, i):
    return f"{root}/{i // 1000:03d}/ORU_{i:06d}.hl7"


def message(r, i, when):
    """One ORU^R01 of 1 to 8 KiB: results, and now and then a note."""
    sent = 20240401000000 + r.randrange(30) * 1000000 + r.randrange(86400)
    lines = [
        f"MSH|^~\\&|LIS|HOSP{r.randrange(20):02d}|HIS|MAIN|{sent}||ORU^R01^ORU_R01|{i:010d}|P|2.5||||||UNICODE UTF-8",
        f"PID|1||{r.randrange(10**8):08d}^^^HOSP^PI||{r.choice(FAMILY)}^{r.choice(GIVEN)}^^^^^L^I"
        f"~{r.choice(KANA)}^{r.choice(KANA)}^^^^^L^P"
        f"||{r.randrange(1930, 2024)}{r.randrange(1, 13):02d}{r.randrange(1, 29):02d}|{r.choice('MF')}"
        f"|||^^東京都^^{r.randrange(100, 200)}-{r.randrange(10000):04d}^JPN",
        f"OBR|1|{r.randrange(10**9)}|{r.randrange(10**9)}|CBC^血算^L|||{when}",
    ]
    target = r.randrange(1024, 8192)
    size = sum(len(line.encode()) + 1 for line in lines)
    k = 0
    while size < target:
        k += 1
        if r.random() < 0.85:
            code, name, unit = r.choice(TESTS)
            line = (f"OBX|{k}|NM|{code}^{name}^LN||{r.uniform(0.1, 400):.{r.randrange(3)}f}|{unit}"
                    f"|{r.uniform(0, 10):.1f}-{r.uniform(10, 200):.1f}|{r.choice('NHL')}|||F|||{when + k}"
                    f"||{r.randrange(10**6):06d}^{r.choice(FAMILY)}^{r.choice(GIVEN)}")
        else:
            line = f"NTE|{k}|L|" + "".join(r.choice(WORDS) for _ in range(r.randrange(5, 40))) + "。"
        size += len(line.encode()) + 1
        lines.append(line)
    return ("\r".join(lines) + "\r").encode()[:8192]


def hl7(root):
    r = random.Random(20240401)
    for i in range(100_000):
        path = message_path(root, i)
        if i % 1000 == 0:
            os.makedirs(os.path.dirname(path))
        when = 1_711_929_600 + i * 37
        with open(path, "wb") as f:
            f.write(message(r, i, when))
        # Times with all nine digits: a tool that keeps microseconds only is found out.
        os.utime(path, ns=(when * 10**9 + i, when * 10**9 + i * 7919 % 10**9))


def ct(root):
    """A body with a rim and one organ, shifted a little in each slice, under Gaussian noise from a table."""
    r = random.Random(7)
    os.makedirs(root)
    side, mask = 512, (1 << 18) - 1
    noise = [int(r.gauss(0, 9)) for _ in range(1 << 18)]
    body = []
    for y in range(side):
        for x in range(side):
            radius = ((x - 256) ** 2 + (y - 256) ** 2) ** 0.5
            level = 40 if radius < 200 else 700 if radius < 215 else -1000
            organ = 300 if (x - 300) ** 2 + (y - 200) ** 2 < 900 else 0
            body.append(1024 + level + organ)
    for k in range(512):
        at, shift = r.randrange(1 << 18), k % 17 * 3
        pixels = array.array("H", [max(0, b + shift + noise[(at + i) & mask]) for i, b in enumerate(body)])
        with open(f"{root}/CT{k:04d}.dcm", "wb") as f:
            f.write(b"\0" * 128 + b"DICM" + r.randbytes(300) + pixels.tobytes())


def special(data):
    root = f"{data}/special"
    for name in ("links", "xattr", "names", "emptydir"):
        os.makedirs(f"{root}/{name}")
    for i in range(500):
        target = message_path("hl7", i % 100 * 1000 + i)
        os.link(f"{data}/{target}", f"{root}/links/hard_{i:04d}.hl7")
        os.symlink(f"../../{target}", f"{root}/links/sym_{i:04d}")
    os.symlink("/nonexistent/どこか", f"{root}/links/broken")
    for i in range(300):
        path = f"{root}/xattr/f{i:03d}.txt"
        with open(path, "w") as f:
            f.write(f"患者区分 {i}\n" * 20)
        os.setxattr(path, "user.patient.class", f"区分{i % 7}".encode())
        os.setxattr(path, "user.big", bytes([i % 256]) * 1500)
        os.utime(path, ns=(1_700_000_000_000_000_001 + i, 1_700_000_000_123_456_789 + i))
    names = ["患者_佐藤　太郎.txt".encode(), "カルテ（写）.txt".encode(), "半角ｶﾅ.txt".encode(),
             "佐藤.txt".encode("shift_jis"), b"new\nline.txt", b"sp ace'quote\".txt", b"x" * 250]
    for name in names:
        with open(f"{root}/names/".encode() + name, "wb") as f:
            f.write(name * 10)
    for i in range(200):
        open(f"{root}/names/empty_{i}", "w").close()
    os.mkfifo(f"{root}/pipe")
    os.chmod(f"{root}/emptydir", 0o1777)
    with open(f"{root}/setuid", "wb") as f:
        f.write(b"#!/bin/sh\n")
    os.chown(f"{root}/setuid", 1000, 1001)
    os.chmod(f"{root}/setuid", 0o6755)


def mutate(data):
    r = random.Random(99)
    root = f"{data}/hl7"
    picked = r.sample(range(1000, 100_000), 1600)
    for i in picked[:1000]:  # corrected
        with open(message_path(root, i), "r+b") as f:
            f.seek(os.path.getsize(f.name) // 2)
            f.write(b"|CORRECTED|%d|" % r.randrange(10**9))
    for i in picked[1000:1100]:  # deleted
        os.unlink(message_path(root, i))
    for i in picked[1100:1120]:  # renamed
        os.rename(message_path(root, i), message_path(root, i) + ".moved")
    os.makedirs(f"{root}/100")
    for i in picked[1120:]:  # new, much like another
        with open(message_path(root, i), "rb") as f:
            old = f.read()
        with open(f"{root}/100/ORU_{i:06d}_n.hl7", "wb") as f:
            half = len(old) // 2
            f.write(old[:half] + b"\rZZZ|%d\r" % r.randrange(10**12) + old[half:])
    include = f"{data}/system/usr/include"
    for name in sorted(os.listdir(include))[:50]:  # grown at the end
        path = f"{include}/{name}"
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "ab") as f:
                f.write(b"/* appended %d */\n" % r.randrange(10**9) * 50)
    with open(f"{data}/dumps/karte_20240402.sql", "ab") as f:
        for k in range(10_000):
            f.write(b"-- log %d %x\n" % (k, r.getrandbits(256)))
    for k in range(10):  # 5 MiB of new slices
        with open(f"{data}/ct/CT{k:04d}.dcm", "rb") as f:
            picture = bytearray(f.read())
        picture[128:428] = r.randbytes(300)
        for at in range(600, len(picture), 97):
            picture[at] ^= r.randrange(4)
        with open(f"{data}/ct/CTn{k:04d}.dcm", "wb") as f:
            f.write(picture)
    with open(f"{data}/compressed/jpg/new.jpg", "wb") as f:
        f.write(r.randbytes(5 * MIB))
    with open(f"{data}/special/vm.img", "r+b") as f:  # a hole is written to
        f.seek(300 * MIB)
        f.write(r.randbytes(MIB))


def small(root, count, least, most):
    """Text of low redundancy: slices of one pool, each with a head of its own so that no two files are equal."""
    r = random.Random(count)
    pool = r.randbytes(16 * MIB).hex().encode()
    for i in range(count):
        if i % 1000 == 0:
            directory = f"{root}/{i // 1000:05d}"
            os.makedirs(directory)
        size = r.randint(least, most)
        at = r.randrange(len(pool) - most)
        fd = os.open(f"{directory}/{i:07d}.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, (b"%016x\n" % r.getrandbits(64) + pool[at:at + size])[:size])
        os.close(fd)


def pick(source, target, suffix, each_mib, total_mib):
    os.makedirs(target)
    total = 0
    for name in sorted(os.listdir(source)):
        path = os.path.join(source, name)
        if not name.endswith(suffix):
            continue
        if os.path.islink(path):
            os.symlink(os.readlink(path), os.path.join(target, name))
        elif os.path.isfile(path):
            size = os.path.getsize(path)
            if size <= each_mib * MIB and total + size <= total_mib * MIB:
                shutil.copy2(path, os.path.join(target, name))
                total += size


def main():
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = top.add_subparsers(dest="kind", required=True)
    for name in ("hl7", "ct", "special", "mutate"):
        kinds.add_parser(name).add_argument("root")
    p = kinds.add_parser("small")
    p.add_argument("root")
    p.add_argument("count", type=int)
    p.add_argument("--bytes", nargs=2, type=int, default=(1024, 8192))
    p = kinds.add_parser("pick")
    p.add_argument("source")
    p.add_argument("target")
    p.add_argument("--suffix", default="")
    p.add_argument("--each-mib", type=int, default=1 << 20)
    p.add_argument("--total-mib", type=int, default=1 << 20)
    a = top.parse_args()
    if a.kind == "small":
        small(a.root, a.count, *a.bytes)
    elif a.kind == "pick":
        pick(a.source, a.target, a.suffix, a.each_mib, a.total_mib)
    else:
        {"hl7": hl7, "ct": ct, "special": special, "mutate": mutate}[a.kind](a.root)


main()
