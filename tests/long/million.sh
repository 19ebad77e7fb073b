#!/bin/bash
# A directory of a million files: kept, listed, given back, within bounds of memory.
#
# usage: tests/long/million.sh DOZO [FILES]       DOZO_LONG=1 runs it with the other tests
#
# Prints the time and the peak memory of each step.
set -euo pipefail

dozo=$(realpath "$1")
files=${2:-1000000}
limit=$((512 * 1024)) # KiB: the promise for 2,000,000 files
if [[ -z ${DOZO_LONG:-} && -z ${2:-} ]]; then
    echo "left out: set DOZO_LONG=1 to run it"
    exit 77
fi

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}" dozo-million-XXXXXX)
mounted=
cleanup() {
    [[ -z $mounted ]] || fusermount3 -u "$work/mnt" || true
    rm -rf "$work"
}
trap cleanup EXIT
export DOZO_VAULT=$work/vault DOZO_KEYS=$work/key
mkdir "$work/tree" "$work/tree/many" "$work/mnt"

fail() {
    echo "million: $*" >&2
    exit 1
}
# Runs the rest, its output to $work/out; $1 names the step.
step() {
    local name=$1 begun=$EPOCHREALTIME
    shift
    /usr/bin/env python3 -c '
import os, resource, subprocess, sys
code = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], "wb")).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)' "$work/out" "$@" 2>"$work/err" || { cat "$work/err" >&2; fail "$name failed"; }
    local peak
    peak=$(tail -n 1 "$work/err")
    printf '%-28s %8.1f s %8d MiB\n' "$name" "$(bc <<<"$EPOCHREALTIME - $begun")" $((peak / 1024))
    ((peak <= limit)) || fail "$name took $peak KiB"
}

python3 - "$work/tree/many" "$files" <<'PY'
import os, sys
os.chdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    fd = os.open("%08x.hl7" % (i * 2654435761 % 2**32), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, b"MSH|%d" % i)
    os.close(fd)
PY

"$dozo" --quiet init "$DOZO_VAULT" --key-file "$work/key" >/dev/null
step 'first backup' "$dozo" --quiet backup --source many "$work/tree"
step 'backup, nothing changed' "$dozo" --quiet backup --source many "$work/tree"
step 'ls -R' "$dozo" ls latest "${work#/}/tree/many"
[[ $(wc -l <"$work/out") == "$files" ]] || fail "ls gives $(wc -l <"$work/out") files"
one=$(sed -n "$((files / 2))p" "$work/out")
step 'cat of one file' "$dozo" cat latest "$one"
cmp "$work/out" "/$one" || fail 'cat gives something else'
step 'restore of one file' "$dozo" --quiet restore latest "$one" --to "$work/one"
cmp "$work/one/$one" "/$one" || fail 'the restored file is another'
echo changed >"/$one"
# exit code 1 says that they differ
step 'diff of one change' sh -c '"$1" backup --quiet --source many "$2" >/dev/null && "$1" diff "$3" latest || [ $? = 1 ]' \
    - "$dozo" "$work/tree" "$("$dozo" snapshots --json | sed -n '1s/.*"id": *"\([^"]*\)".*/\1/p')"
[[ $(grep -c hl7 "$work/out") == 1 ]] || fail 'diff gives other changes'
if "$dozo" help mount >/dev/null 2>&1 && [[ -w /dev/fuse ]]; then
    "$dozo" mount latest "$work/mnt" &
    for ((i = 0; i < 1000; i++)); do
        if mountpoint -q "$work/mnt"; then mounted=1 && break; fi
        sleep 0.01
    done
    [[ $mounted ]] || fail 'nothing is mounted'
    step 'ls -f in the mount' ls -f "$work/mnt/$work/tree/many"
    [[ $(grep -c hl7 "$work/out") == "$files" ]] || fail "the mount shows $(wc -l <"$work/out") files"
    step 'find -size in the mount' find "$work/mnt/$work/tree/many" -size +9c
    pid=$(pgrep -n -f "dozo mount latest $work/mnt" || true)
    [[ -z $pid ]] || echo "the mount itself: $(grep VmHWM "/proc/$pid/status")"
fi
step 'restore of everything' "$dozo" --quiet restore latest --to "$work/all"
[[ $(find "$work/all" -name '*.hl7' -printf . | wc -c) == "$files" ]] || fail 'files are missing'
