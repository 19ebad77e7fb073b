"""Reads the part of the PO format that po/ja.po uses: comments, #, fuzzy, msgid, msgstr."""
import re

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
LINE = re.compile(r'(?:(msgid|msgstr)\s+)?"((?:[^"\\]|\\.)*)"\s*$')


def unescape(text):
    def one(hit):
        if hit[1] not in ESCAPES:
            raise ValueError(f"escape \\{hit[1]} is not known here")
        return ESCAPES[hit[1]]
    return re.sub(r"\\(.)", one, text)


def escape(text):
    return "".join({v: "\\" + k for k, v in ESCAPES.items()}.get(c, c) for c in text)


def read(path):
    """Gives {msgid: (msgstr, line number)} without the header; ValueError names the line."""
    entries, entry, field, fuzzy = {}, {}, None, False

    def close(number):
        nonlocal entry, field, fuzzy
        if entry:
            if set(entry) != {"msgid", "msgstr"}:
                raise ValueError(f"{path}:{number}: msgid and msgstr must come in pairs")
            if entry["msgid"] in entries:
                raise ValueError(f"{path}:{number}: the message is there twice")
            if entry["msgid"]:
                entries[entry["msgid"]] = ("" if fuzzy else entry["msgstr"], number)
            fuzzy = False
        entry, field = {}, None

    number = 0
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        if not line.strip() or line.startswith("#"):
            close(number)
            fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
            continue
        hit = LINE.match(line)
        if not hit or (hit[1] is None and field is None):
            raise ValueError(f"{path}:{number}: not a line of the PO format as read here")
        if hit[1]:
            if hit[1] == "msgid":
                close(number)
            field = hit[1]
            entry[field] = ""
        entry[field] += unescape(hit[2])
    close(number + 1)
    return entries
