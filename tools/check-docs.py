#!/usr/bin/env python3
"""Fails when a document names a command, option, make word or file that does not exist.

usage: check-docs.py [DOZO [PROGRAM...]]     the built programs; their own help is then asked as well

- In the code blocks and `code` words of README*, HACKING, SECURITY and docs/: every
  `dozo COMMAND` has a man page, and every option of such a line is on that page or on dozo(1).
- Every `make WORD` there is in the Makefile.
- Every relative link in a Markdown file leads to a file.
- Every page of docs/design is in its index.
- Every man page's command is in the bash completion, and the other way round.
- With DOZO: `dozo help COMMAND` works for each command that has a page.
- With each further PROGRAM: its options are those of its page in section 8.
- Every key that src/daemon reads from dozod.yaml is a term of that file's page, and its kinds, too.

Lines of a document that speak of what is planned carry the word "planned" (予定) and are left out.
"""
import re
import subprocess
import sys

import tree

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def man_pages():
    """{command: text}; '' is dozo(1) itself."""
    return {re.sub(r"^dozo-?", "", path.name.split(".")[0]): path.read_text().replace("\\", "")
            for path in tree.files("docs/man/*.1.scd")}


def program_problems(program):
    """What a program and its page disagree in."""
    name = program.rsplit("/", 1)[-1]
    page = (tree.TOP / f"docs/man/{name}.8.scd").read_text()
    terms = "\n".join(line for line in page.splitlines() if line.startswith("*--"))
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    for option in sorted(set(OPTION.findall(said)) ^ set(OPTION.findall(terms))):
        yield f"{name} {option}: not in both of its --help and docs/man/{name}.8.scd"


def configuration_problems():
    """What the daemon reads and the page of its file disagree in."""
    page = (tree.TOP / "docs/man/dozod.yaml.5.scd").read_text().replace("\\", "")
    for path in tree.files("src/daemon/*.[ch]"):
        # rows of tables of keys, and of the table of kinds
        for word in re.findall(r'\{[\s\\]*"([a-z-]+)",\s*(?:dz_key|read|skip|[a-z]+_keys)',
                               path.read_text()):
            if f"*{word}*" not in page:
                yield f"{path.relative_to(tree.TOP)}: {word} is not in docs/man/dozod.yaml.5.scd"


def code(text):
    """Yields (line number, code) of fenced blocks and of `words`."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif "planned" in line or "予定" in line:
            continue
        elif fenced:
            yield number, line
        else:
            for word in re.findall(r"`([^`]+)`", line):
                yield number, word


def main(dozo=None, *programs):
    pages, problems = man_pages(), list(configuration_problems())
    for program in programs:
        problems += program_problems(program)
    targets = set(re.findall(r"^([a-z-]+):", (tree.TOP / "Makefile").read_text(), re.M))
    for path in tree.files("README*.md", "HACKING.md", "SECURITY.md", "docs/*.md"):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(tree.TOP)
        for number, line in code(text):
            where = f"{name}:{number}"
            for found in re.finditer(r"(?:^|[\s/(])dozo((?:\s+[^\s|&;]+)*)", line.split("#")[0]):
                if path.parent.name == "format":  # labels such as "dozo pack v1" are no commands
                    break
                words = found[1].split()
                while words and words[0].startswith("-"):  # global options, some with a value
                    words = words[2 if words[0] in ("--vault", "--key", "--lang") else 1:]
                if not words or not re.fullmatch(r"[a-z]+", words[0]) or words[0] == "help":
                    continue
                if words[0] not in pages:
                    problems.append(f"{where}: there is no command dozo {words[0]}")
                    continue
                for option in OPTION.findall(" ".join(words)):
                    if not re.search(re.escape(option) + r"(?![a-z-])", pages[words[0]] + pages[""]):
                        problems.append(f"{where}: dozo {words[0]} has no {option}")
            for word in re.findall(r"(?:^|&& )make ([a-z][a-z-]*)", line):
                if word not in targets:
                    problems.append(f"{where}: the Makefile has no {word}")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if not (path.parent / link).exists():
                problems.append(f"{name}: the link to {link} leads nowhere")

    index = tree.TOP / "docs/design/README.md"
    for path in tree.files("docs/design/*.md"):
        if path != index and f"({path.name})" not in index.read_text():
            problems.append(f"docs/design/README.md does not name {path.name}")

    completion = (tree.TOP / "completions/dozo.bash").read_text()
    completed = re.search(r'commands="([^"]*)"', completion)[1].split()
    for odd in set(completed) ^ set(pages) - {"help", ""}:
        problems.append(f"dozo {odd}: not in both of docs/man and completions/dozo.bash")
    for command in sorted(pages) if dozo else ():
        done = subprocess.run([dozo, "help", *command.split()], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            problems.append(f"dozo help {command} gives {done.returncode}: {done.stderr.strip()}")
        for option in sorted(set(OPTION.findall(done.stdout))):
            if not re.search(re.escape(option) + r"(?![a-z-])", pages[command] + pages[""]):
                problems.append(f"docs/man: dozo help {command} names {option}, its page does not")
    print("\n".join(problems) or f"docs: ok, {len(pages)} man pages")
    return bool(problems)


sys.exit(main(*sys.argv[1:]))
