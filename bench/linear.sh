#!/bin/bash
# linear.sh: is the cost of a file, and of a byte, the same for few and for many?
#
# For each count of SCALES makes that many files of 1 to 8 KiB, measures REPS first and REPS unchanged backups with
# their peak memory, and removes all of it. Then prints a table. The last count is there for the memory bound; it needs
# some 25 GB below B and is measured once.
. "$(dirname "$0")/lib.sh"
SCALES=${SCALES:-31250 125000 500000 2000000}
RESULTS=$B/linear.tsv
work=$B/linear
vault=$work/vault
need_dozo

for files in $SCALES; do
  say "$files files"
  rm -rf "$work"
  mkdir -p "$work"
  "$HERE/synthetic.py" small "$work/data" "$files"
  sync
  row tree "$files" 1 "$(find "$work/data" -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%.0f", n }')" "0 0 0 0 0"
  backup="'$DOZO' --quiet --vault $vault backup --source linear linear/data"
  reps=$REPS
  [ "$files" -lt 2000000 ] || reps=1
  for rep in $(seq "$reps"); do
    rm -rf "$vault" "$work/key"
    "$DOZO" init "$vault" --key-file "$work/key" >"$LOGS/linear.init.log" 2>&1
    warm "$work/data"
    measure dozo "first-$files" "$rep" "$vault" "$work" "$backup"
  done
  for rep in $(seq "$reps"); do
    warm "$work/data"
    measure dozo "unchanged-$files" "$rep" "$vault" "$work" "$backup"
  done
  rm -rf "$work"
done
"$HERE/report.py" linear "$RESULTS"
