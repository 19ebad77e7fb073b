#!/usr/bin/env python3
"""Tables of what run.sh and linear.sh measured.

report.py [--run ID]... [--into FILE] RESULTS.tsv
report.py linear LINEAR.tsv

The newest run, or the runs named: a later run's rows take the place of an earlier one's for the same tool and phase.
Every figure is a median, with least and most and the number of repetitions where there are several. --into puts the
tables between the two marks in FILE (RESULTS.md) and leaves the text around them alone.
"""
import argparse
import csv
import json
import os
import re
from collections import defaultdict
from statistics import median

MARKS = ("<!-- figures: made by report.py -->", "<!-- end of figures -->")
MIB = 1 << 20
NAMES = {"restic": "restic 0.14", "borg": "borg 1.2 zstd,3", "bup": "bup (no encryption)", "zpaq": "zpaq -m1",
         "casync": "casync (no encryption)", "pipe": "tar \\| zstd -3 -T2 \\| openssl", "limit": "limit: create, 2 threads"}


class Phase:
    """The repetitions of one phase of one tool."""

    def __init__(self, rows):
        self.failed = [r["rc"] for r in rows if r["rc"] != "0"]
        rows = [r for r in rows if r["rc"] == "0"]
        self.n = len(rows)
        self.walls = sorted(float(r["wall_s"]) for r in rows)
        self.cpus = [float(r["user_s"]) + float(r["sys_s"]) for r in rows]
        self.peak_mib = max((int(r["peak_KiB"]) / 1024 for r in rows), default=None)
        self.bytes = median(int(r["bytes"]) for r in rows) if rows else None
        self.wall = median(self.walls) if rows else None
        self.cpu = median(self.cpus) if rows else None

    def rate(self):
        """Bytes a second."""
        return self.bytes / self.wall

    def show(self, unit="s"):
        if not self.n:
            return f"failed ({self.failed[0]})"
        scale = 1000 if unit == "ms" else 1
        digits = 0 if unit == "ms" else 2 if self.wall < 10 else 1
        text = f"{self.wall * scale:.{digits}f}"
        if self.n > 1:
            text += f" ({self.walls[0] * scale:.{digits}f}–{self.walls[-1] * scale:.{digits}f}, n={self.n})"
        return text + (f", failed {len(self.failed)}×" if self.failed else "")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def read_tsv(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f, delimiter="\t"))


def load(path, runs):
    """(tool, phase) -> Phase, and tool -> what its restore lost."""
    rows = read_tsv(path)
    runs = runs or [rows[-1]["run"]]
    measured = {}
    for run in runs:
        groups = defaultdict(list)
        for r in rows:
            if r["run"] == run:
                groups[r["peer"], r["phase"]].append(r)
        measured.update({key: Phase(group) for key, group in groups.items()})
    fidelity = {}
    beside = os.path.join(os.path.dirname(path), "fidelity.jsonl")
    if os.path.exists(beside):
        with open(beside) as f:
            for line in f:
                item = json.loads(line)
                if item["run"] in runs:
                    fidelity[item["peer"]] = item
    return measured, fidelity


def machine():
    def first(path, pattern):
        with open(path) as f:
            found = re.search(pattern, f.read())
        return found.group(1) if found else "unknown"
    cpu = first("/proc/cpuinfo", r"model name\s*: (.*)")
    model = first("/proc/cpuinfo", r"model\s*: (\d+)")
    flags = first("/proc/cpuinfo", r"flags\s*: (.*)").split()
    notable = [flag for flag in ("sha_ni", "aes", "vaes", "avx2", "avx512f", "gfni") if flag in flags]
    memory = int(first("/proc/meminfo", r"MemTotal:\s*(\d+)")) / MIB
    kernel = ".".join(os.uname().release.split(".")[:2])
    return (f"Machine: {cpu} (model {model}; {', '.join(notable)}), {os.cpu_count()} CPUs, {memory:.0f} GiB, "
            f"Linux {kernel}, {os.uname().machine}. Warm cache; wall time includes the sync of the file system.\n")


class Report:
    def __init__(self, measured, fidelity):
        self.measured, self.fidelity = measured, fidelity
        seen = {peer for peer, _ in measured}
        self.peers = [p for p in ["dozo", *NAMES] if p in seen and p != "limit"]

    def get(self, peer, phase):
        found = self.measured.get((peer, phase))
        return found if found and found.n else None

    def show(self, peer, phase, unit="s"):
        found = self.measured.get((peer, phase))
        return found.show(unit) if found else "–"

    def ratio(self, phase, peer, phase2=None):
        a, b = self.get("dozo", phase), self.get(peer, phase2 or phase)
        return a.wall / b.wall if a and b else None

    def show_ratio(self, phase, peer):
        value = self.ratio(phase, peer) if peer != "dozo" else None
        return f"{value:.2f}" if value is not None else "–"

    def faithful(self, peer):
        item = self.fidelity.get(peer)
        if not item:
            return "–", "–"
        lost = ", ".join(f"{kind} {count}" for kind, count in item["lost"].items())
        return lost or "nothing", f"{item['restored_disk_MiB']} of {item['source_disk_MiB']}"

    def backup(self):
        rows = []
        for p in self.peers:
            first = self.get(p, "first")
            peaks = [self.get(p, phase).peak_mib for phase in ("first", "unchanged", "changed") if self.get(p, phase)]
            rows.append([NAMES.get(p, p), self.show(p, "first"), f"{first.cpu:.1f}" if first else "–",
                         f"{max(peaks):.0f}" if peaks else "–", f"{first.bytes / MIB:.0f}" if first else "–",
                         self.show(p, "unchanged"), self.show(p, "changed")])
        return table(["backup, wall s", "first", "first, CPU s", "peak MiB", "stored MiB", "unchanged", "about 1 % changed"],
                     rows)

    def restore(self):
        rows = [[NAMES.get(p, p), self.show(p, "restore-root"), self.show(p, "restore-loop"), *self.faithful(p)]
                for p in self.peers]
        rows.append([NAMES["limit"], self.show("limit", "create-root"), self.show("limit", "create-loop"), "–", "–"])
        return table(["restore, wall s", "root file system", "fresh loop ext4", "lost", "MiB on disk"], rows)

    def small(self):
        rows = [[NAMES.get(p, p), self.show(p, "one", "ms"), self.show(p, "cat", "ms"), self.show(p, "verify"),
                 self.show(p, "check")] for p in self.peers]
        return table(["", "one file restored, ms", "one file to stdout, ms", "verify, closed, s", "check of all, s"], rows)

    def ratios(self):
        phases = ["first", "unchanged", "changed", "restore-root", "restore-loop", "one", "cat", "check"]
        rows = [[NAMES.get(p, p)] + [self.show_ratio(phase, p) for phase in phases] for p in self.peers if p != "dozo"]
        return table(["dozo's time / peer's"] + phases, rows)

    def limits(self):
        rows = []
        for (peer, phase), found in self.measured.items():
            if peer == "limit" and found.n and not phase.startswith("create-"):
                rate = f"{found.rate() / 1e6:.0f}" if found.bytes else "–"
                rows.append([phase, "–" if phase.startswith("sha256") else found.show(), rate])
        return table(["limit", "wall s", "MB/s"], rows)

    def fastest_faithful(self, phase):
        found = [(self.get(p, phase).wall, p) for p in self.peers
                 if p != "dozo" and self.get(p, phase) and self.fidelity.get(p, {}).get("faithful")]
        return min(found)[1] if found else None

    def goals(self):
        """Goal, limit, value or None."""
        first, restic = self.get("dozo", "first"), self.get("restic", "first")
        yield "first backup / restic", 0.45, self.ratio("first", "restic")
        yield "first backup / pipe", 1.00, self.ratio("first", "pipe")
        yield "stored size / restic", 1.00, first.bytes / restic.bytes if first and restic else None
        yield "unchanged / zpaq", 1.00, self.ratio("unchanged", "zpaq")
        yield "unchanged / find -printf", 3.5, self.ratio("unchanged", "limit", "stat-walk")
        yield "1 % changed / restic", 0.40, self.ratio("changed", "restic")
        for fs in ("root", "loop"):
            peer = self.fastest_faithful(f"restore-{fs}")
            yield (f"restore, {fs} / fastest faithful peer ({peer or 'none'})", 0.8,
                   self.ratio(f"restore-{fs}", peer) if peer else None)
            yield f"restore, {fs} / creating the files", 1.2, self.ratio(f"restore-{fs}", "limit", f"create-{fs}")
        one = self.get("dozo", "one")
        yield "one file, ms", 50, one.wall * 1000 if one else None
        peaks = [found.peak_mib for (peer, _), found in self.measured.items() if peer == "dozo" and found.n]
        yield "peak memory of any command, MiB", 256, max(peaks) if peaks else None
        verify, sha, device = self.get("dozo", "verify"), self.get("limit", f"sha256-{min(os.cpu_count(), 2)}"), \
            self.get("limit", "device-read")
        if verify and sha and device:  # told as time, so that less is better here too
            yield ("verify, closed: time / 1.25 × the limit's", 1.00,
                   verify.wall * min(sha.rate(), device.rate()) / verify.bytes / 1.25)

    def goal_table(self):
        rows = [[name, f"≤ {most:g}", "–" if value is None else f"{value:.2f}",
                 "–" if value is None else "yes" if value <= most else "**no**"] for name, most, value in self.goals()]
        return table(["goal", "at most", "measured", "reached"], rows)

    def text(self):
        return "\n".join([machine(), self.goal_table(), self.backup(), self.restore(), self.small(), self.ratios(),
                          self.limits()])


def linear(path):
    """The newest run of linear.sh: `tree` rows carry the bytes of the data."""
    rows = read_tsv(path)
    groups = defaultdict(list)
    for r in rows:
        if r["run"] == rows[-1]["run"]:
            groups[r["peer"], r["phase"]].append(r)
    measured = {key: Phase(group) for key, group in groups.items()}
    lines = []
    for files in sorted(int(phase) for peer, phase in measured if peer == "tree"):
        data = measured["tree", str(files)].bytes
        line = [f"{files:,}", f"{data / MIB:.0f}"]
        for step in ("first", "unchanged"):
            found = measured.get(("dozo", f"{step}-{files}"))
            if not found or not found.n:
                line += ["failed"] * 4
                continue
            line += [found.show(), f"{found.cpu / files * 1e6:.1f}", f"{found.cpu / data * 1e9:.2f}",
                     f"{found.peak_mib:.0f}"]
        lines.append(line)
    head = ["files", "MiB"] + [f"{step}{what}" for step in ("first", "unchanged")
                               for what in (", wall s", ", CPU µs a file", ", CPU ns a byte", ", peak MiB")]
    return table(head, lines)


def put_into(path, text):
    with open(path) as f:
        page = f.read()
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    with open(path, "w") as f:
        f.write(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}")


def main():
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--run", action="append")
    top.add_argument("--into")
    top.add_argument("what", nargs="+", metavar="[linear] FILE")
    a = top.parse_args()
    text = linear(a.what[1]) if a.what[0] == "linear" else Report(*load(a.what[0], a.run)).text()
    if a.into:
        put_into(a.into, text)
    else:
        print(text)


main()
