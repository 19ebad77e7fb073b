#!/bin/bash
# Fails when mandoc finds fault with a man page.  usage: tools/check-man.sh PAGE...
# scdoc puts an empty paragraph around every section; mandoc's remark on that is no fault of ours.
set -uo pipefail

found=$(mandoc -Tlint -Wwarning "$@" | grep -v 'skipping paragraph macro')
[[ -z $found ]] || { echo "$found"; exit 1; }
echo "$# man pages read"
