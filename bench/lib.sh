# shellcheck shell=bash disable=SC2034
# bench/lib.sh: what the bench scripts share. Sourced, not run.
#
# B is where everything large lives (data, repositories, results); it needs some 45 GB. Nothing outside of B is
# written, apart from what apt-get installs.
set -euo pipefail
export LC_ALL=C.UTF-8

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${B:=/var/tmp/dozo-bench}"
B=$(realpath "$B")
DATA=$B/data
DOZO=${DOZO:-$HERE/../build/programs/dozo}
[ ! -e "$DOZO" ] || DOZO=$(realpath "$DOZO")
REPS=${REPS:-3}
RESULTS=${RESULTS:-$B/results.tsv}
RUN=${RUN:-$(date -u +%Y%m%dT%H%M%SZ)}
LOGS=$B/logs
mkdir -p "$LOGS"

say() { echo "[$(date +%T)] $*" >&2; }
die() { echo "bench: $*" >&2; exit 3; }

need_root() { [ "$(id -u)" = 0 ] || die "run as root: owners, devices and loop mounts are part of the tree"; }

# need PROGRAM=PACKAGE...: installs the packages whose program is missing.
need() {
  local pair missing=()
  for pair in "$@"; do
    [ -x "${pair%%=*}" ] || command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}" >/dev/null
}

need_dozo() { [ -x "$DOZO" ] || die "no dozo at $DOZO: build it (release) or set DOZO"; }

PG_BIN=/usr/lib/postgresql/15/bin
# pg PROGRAM ARG...: one of PostgreSQL's programs as its own user. The socket lies outside of the tree.
pg() {
  local program=$1
  shift
  (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups "$PG_BIN/$program" "$@")
}
pg_start() {
  install -d -o postgres -g postgres -m 700 "$B/socket"
  pg pg_ctl -D "$DATA/pgdata" -w -l "$B/socket/log" -o "-k '$B/socket' -p 55432" start >/dev/null
}
pg_stop() { pg pg_ctl -D "$DATA/pgdata" -w -m fast stop >/dev/null; }
PG_DB=(-h "$B/socket" -p 55432)

# size_of PATH: bytes in all files below, as stored.
size_of() { if [ -e "$1" ]; then du -sb --apparent-size "$1" | cut -f1; else echo 0; fi; }

# row PEER PHASE REP BYTES "WALL USER SYS PEAK_KIB RC": one line of results.
row() {
  [ -s "$RESULTS" ] || printf 'run\tpeer\tphase\trep\tbytes\twall_s\tuser_s\tsys_s\tpeak_KiB\trc\n' >"$RESULTS"
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$RUN" "$1" "$2" "$3" "$4" "${5// /$'\t'}" | tee -a "$RESULTS"
}

# measure PEER PHASE REP SIZED SYNCED COMMAND: runs COMMAND in B and appends a row. The time ends when the file
# system that holds SYNCED has everything on disk; `bytes` is the size of SIZED afterwards.
# A failed command is a row with its exit code, not the end of the bench.
measure() {
  local peer=$1 phase=$2 rep=$3 sized=$4 synced=$5 command=$6
  echo "0 0 0 0 255" >"$LOGS/figures"
  sync
  (cd "$B" && "$HERE/measure.py" --figures "$LOGS/figures" bash -c "set -o pipefail; { $command; } && sync -f '$synced'") \
    >"$LOGS/$peer.$phase.$rep.log" 2>&1 || true
  row "$peer" "$phase" "$rep" "$(size_of "$sized")" "$(cat "$LOGS/figures")"
}

# warm PATH...: every inode and every byte below is in the page cache afterwards (but for the holes of the sparse file).
warm() {
  local path
  for path in "$@"; do
    [ -e "$path" ] || continue
    find "$path" -type f ! -name vm.img -print0 | xargs -0 -r -n 2000 cat >/dev/null
  done
}
