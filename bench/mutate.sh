#!/bin/bash
# mutate.sh          changes about 1 % of B/data in place, as a day's work would
# mutate.sh --reset  makes B/data anew from B/data.pristine
# B/mutated exists while the tree is changed, so that a tree is never changed twice.
. "$(dirname "$0")/lib.sh"
need_root
[ -d "$DATA.pristine" ] || die "no $DATA.pristine: run make_dataset.sh"

if [ "${1:-}" = --reset ]; then
  rm -rf "$DATA" "$B/mutated"
  cp -a --sparse=always "$DATA.pristine" "$DATA"
  sync
  exit
fi

[ ! -e "$B/mutated" ] || die "$DATA is changed already: mutate.sh --reset"
: >"$B/mutated"
pg_start
pg pgbench "${PG_DB[@]}" -c 2 -t 1000 --random-seed=1 -n emr >/dev/null 2>&1
pg_stop
"$HERE/synthetic.py" mutate "$DATA"
sync
