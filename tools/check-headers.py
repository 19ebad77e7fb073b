#!/usr/bin/env python3
"""Fails when a header does not compile by itself, or not twice: each includes what it needs.

usage: check-headers.py BUILD_DIR COMPILER...

The flags are those of the build itself, without the forced core/banned.h: that one brings standard
headers along and would hide a missing include.
"""
import json
import pathlib
import shlex
import subprocess
import sys

import tree


def flags(build):
    """The flags of the build's sources, all folders together: include paths may differ by folder."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = iter(shlex.split(entry["command"])[1:])
        for word in words:
            if word in ("-include", "-o", "-MF", "-MQ", "-c"):
                next(words)
            elif word.startswith(("-I", "-D", "-std")):
                if word.startswith("-I"):
                    word = "-I" + str(build / word[2:])
                found.setdefault(word)
            elif word == "-isystem":
                found.setdefault("-isystem" + str(build / next(words)))
    return [word for word in found if not word.startswith(("-DMUST", "-DTEST"))]


def main(build, *compiler):
    build = pathlib.Path(build)
    common = [*compiler, *flags(build), "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c", "-"]
    headers = tree.files("src/*.h")
    bad = 0
    for header in headers:
        name = header.relative_to(tree.TOP / "src")
        if str(name) == "core/banned.h":  # read first by every source; poisons names when read twice
            continue
        twice = f'#include "{name}"\n' * 2
        done = subprocess.run(common, input=twice, text=True, capture_output=True, check=False)
        if done.returncode:
            print(f"src/{name} does not compile alone:\n{done.stderr}")
            bad += 1
    print(f"headers: {len(headers)} read, {bad} bad")
    return bool(bad)


sys.exit(main(*sys.argv[1:]))
