#!/usr/bin/env python3
"""Fails when a source under src/ or programs/ does not compile for arm64.

usage: check-arm64.py BUILD_DIR

Every compile command of the build is repeated with the cross compiler, optimised, so that the
plain and the arm64 paths of run-time dispatch are both translated.  Nothing is linked or run:
Debian 12 installs no arm64 copies of our libraries beside the native ones without changing the
machine.  Their headers are the native ones; those that differ by machine come last in the search.
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

import tree

COMPILER = "aarch64-linux-gnu-gcc"
# Flags that only the native machine's compiler takes.
NATIVE = ("-fcf-protection", "-march=", "-mtune=", "-msse", "-mavx", "-maes", "-mpclmul", "-msha", "-mbmi")
# Sources that src/*/meson.build takes for x86-64 alone; the plain twins are in their neighbours.
X86_ONLY = ("_avx512.c",)


def command(entry):
    words = iter(shlex.split(entry["command"])[1:])
    kept = [COMPILER]
    for word in words:
        if word in ("-o", "-MF", "-MQ"):
            next(words)
        elif word != "-MD" and not word.startswith(NATIVE):
            kept.append(word)
    native = subprocess.run(["gcc", "-print-multiarch"], text=True, capture_output=True, check=True)
    return [*kept, "-o", "/dev/null", "-idirafter", f"/usr/include/{native.stdout.strip()}"]


def compile_one(entry):
    return subprocess.run(command(entry), cwd=entry["directory"], text=True, capture_output=True,
                          check=False)


def main(build):
    entries = []
    for entry in json.loads((pathlib.Path(build) / "compile_commands.json").read_text()):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if source.name.endswith(X86_ONLY):
            continue
        if source.is_relative_to(tree.TOP / "src") or source.is_relative_to(tree.TOP / "programs"):
            entries.append(entry)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for entry, done in zip(entries, pool.map(compile_one, entries)):
            if done.returncode:
                print(f"{entry['file']} does not compile for arm64:\n{done.stderr}")
                bad += 1
    print(f"arm64: {len(entries)} sources compiled, {bad} bad")
    return bool(bad) or not entries


sys.exit(main(*sys.argv[1:]))
