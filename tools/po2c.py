#!/usr/bin/env python3
"""Compiles a PO catalogue into the sorted table that src/core/text.c searches.

usage: po2c.py ja.po table.c
"""
import sys

import po


def literal(text):
    """A C string literal; bytes beyond ASCII in octal, which cannot run into what follows."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}"
                         for b in text.encode()) + '"'


def main(source, target):
    pairs = sorted((english.encode(), english, japanese)
                   for english, (japanese, _) in po.read(source).items() if japanese)
    with open(target, "w", encoding="ascii") as out:
        out.write("/* Made by tools/po2c.py; change po/ja.po instead. */\n"
                  '#include "core/text_table.h"\n\n'
                  "const struct dz_text_pair dz_text_table[] = {\n")
        for _, english, japanese in pairs:
            out.write(f"    {{ {literal(english)}, {literal(japanese)} }},\n")
        # The last row keeps the array from being empty, and is not counted.
        out.write("    { NULL, NULL },\n};\n"
                  f"const size_t dz_text_table_len = {len(pairs)};\n")


try:
    main(*sys.argv[1:])
except ValueError as problem:
    sys.exit(str(problem))
