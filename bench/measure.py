#!/usr/bin/env python3
"""measure.py --figures FILE COMMAND ARG...

Runs COMMAND and writes one line to FILE: wall seconds, user and system CPU seconds of it and all its descendants,
peak memory in KiB, exit code.

Peak memory is the larger of two: the kernel's maximum over single processes (which has a floor, this interpreter's own
size of about 14 MiB), and the sum of the resident sets of all descendants of COMMAND, sampled ten times a second, so
that a pipe is counted whole. Exits with COMMAND's code.
"""
import os
import resource
import subprocess
import sys
import threading
import time

SAMPLE_S = 0.1
PAGE_KIB = resource.getpagesize() // 1024


def descendants(pid):
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children") as f:
                children = f.read().split()
        except OSError:
            continue
        for child in children:
            yield child
            yield from descendants(child)


def resident_kib(pid):
    try:
        with open(f"/proc/{pid}/statm") as f:
            return int(f.read().split()[1]) * PAGE_KIB
    except (OSError, IndexError):
        return 0


def main():
    if len(sys.argv) < 4 or sys.argv[1] != "--figures":
        sys.exit(__doc__)
    done = threading.Event()
    peak_kib = 0

    def sample(pid):
        nonlocal peak_kib
        while not done.wait(SAMPLE_S):
            peak_kib = max(peak_kib, sum(map(resident_kib, descendants(pid))))

    start = time.monotonic()
    child = subprocess.Popen(sys.argv[3:])
    sampler = threading.Thread(target=sample, args=(child.pid,), daemon=True)
    sampler.start()
    _, status, used = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    done.set()
    sampler.join()
    code = os.waitstatus_to_exitcode(status)
    peak_kib = max(peak_kib, used.ru_maxrss)
    with open(sys.argv[2], "w") as f:
        f.write(f"{wall:.3f} {used.ru_utime:.3f} {used.ru_stime:.3f} {peak_kib} {code}\n")
    sys.exit(code if code >= 0 else 128 - code)


main()
