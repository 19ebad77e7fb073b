#!/usr/bin/env python3
"""Fails when a T_("...") or N_("...") has no Japanese, or the two take different arguments.

usage: check-text.py TOP            the check
       check-text.py TOP --missing  prints empty entries for what po/ja.po lacks, to paste there
"""
import pathlib
import re
import sys

import po

CALL = re.compile(r"\b[TN]_\(\s*")
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"\s*')
COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"', re.S)
CONVERSION = re.compile(r"%(?:(\d+)\$)?[-+ #0']*(\*|\d+)?(?:\.(\*|\d+))?(hh|h|ll|l|j|z|t|L)?(.)")


def arguments(text):
    """{position: type} of what printf would take."""
    taken, turn = {}, 0
    for place, width, precision, length, kind in CONVERSION.findall(text):
        if kind == "%":
            continue
        for star in (width, precision):
            if star == "*":
                turn += 1
                taken[turn] = "int"
        turn += 1
        taken[int(place) if place else turn] = (length or "") + kind
    return taken


def without_comments(source):
    """Keeps strings and line numbers."""
    return COMMENT.sub(lambda hit: hit[0] if hit[0][0] == '"' else re.sub(r"[^\n]", " ", hit[0]),
                       source)


def messages(top):
    """Yields (where, english) for every marked string; english is None when it cannot be read."""
    for path in sorted([*top.glob("src/**/*.[ch]"), *top.glob("programs/**/*.[ch]")]):
        if path.name == "text.h":
            continue
        source = without_comments(path.read_text(encoding="utf-8"))
        for call in CALL.finditer(source):
            where = f"{path.relative_to(top)}:{source.count(chr(10), 0, call.start()) + 1}"
            at, english = call.end(), ""
            while hit := STRING.match(source, at):
                english += hit[1]
                at = hit.end()
            yield where, po.unescape(english) if english and source[at] == ")" else None


def main(top, *options):
    top = pathlib.Path(top)
    catalogue = po.read(top / "po/ja.po")
    seen, problems = set(), []
    for where, english in messages(top):
        if english is None:
            problems.append(f"{where}: T_() and N_() take one plain string literal")
            continue
        japanese = catalogue.get(english, ("", 0))[0]
        if not japanese and english not in seen:
            if "--missing" in options:
                print(f'#: {where}\nmsgid "{po.escape(english)}"\nmsgstr ""\n')
            problems.append(f'{where}: no Japanese in po/ja.po for "{po.escape(english)}"')
        elif arguments(english) != arguments(japanese or english):
            problems.append(f'{where}: "{po.escape(english)}" takes {arguments(english)}, '
                            f"its Japanese {arguments(japanese)}")
        seen.add(english)
    for english, (_, line) in catalogue.items():
        if english not in seen:
            problems.append(f'po/ja.po:{line}: no source says "{po.escape(english)}" any more')
    if "--missing" not in options:
        print("\n".join(problems) or f"text: ok, {len(seen)} messages in two languages")
    return bool(problems)


try:
    sys.exit(main(*sys.argv[1:]))
except ValueError as problem:
    sys.exit(str(problem))
