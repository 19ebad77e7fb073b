#!/bin/bash
# diff.sh: two snapshots of 1,000,000 files that differ in 100 (80 in content, 20 in mode): how long is their diff?
# The time is that of the whole process, key file and all, warm. Needs some 10 GB below B.
. "$(dirname "$0")/lib.sh"
FILES=${FILES:-1000000}
TIMES=${TIMES:-9}
RESULTS=$B/diff.tsv
work=$B/diff
vault=$work/vault
need_dozo

# keep: one more snapshot; prints its id.
keep() {
  "$DOZO" --vault "$vault" --json --quiet backup --source diff "$work/data" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["snapshot"])'
}

rm -rf "$work"
mkdir -p "$work"
say "$FILES files"
"$HERE/synthetic.py" small "$work/data" "$FILES" --bytes 32 256
"$DOZO" init "$vault" --key-file "$work/key" >&2
before=$(keep)
# In place, and spread evenly: 100 files of FILES.
changed=$(mktemp) # not below B: that would change a directory above the data, too
trap 'rm -f "$changed"' EXIT
find "$work/data" -type f | sort | awk -v step=$((FILES / 100)) 'NR % step == 0' >"$changed"
sleep 1
head -80 "$changed" | while read -r file; do printf 'changed' | dd of="$file" conv=notrunc status=none; done
tail -n +81 "$changed" | xargs chmod 600
after=$(keep)

diff="'$DOZO' --vault $vault --key $work/key --json diff $before $after >$work/found; [ \$? = 1 ]"
warm "$vault"
(eval "$diff") || die "diff did not say that they differ"
for rep in $(seq "$TIMES"); do
  measure dozo diff "$rep" "$vault" "$work" "$diff"
done
found=$(wc -l <"$work/found")
[ "$found" = 100 ] || die "$found differences instead of 100"
awk -F'\t' -v run="$RUN" '$1 == run { print $6 * 1000 }' "$RESULTS" | sort -n |
  awk '{ ms[NR] = $1 } END { printf "diff of two snapshots: %d ms (%d–%d, n=%d)\n", ms[int((NR + 1) / 2)], ms[1], ms[NR], NR }'
rm -rf "$work"
