#!/bin/bash
# Everything at once on one machine: a vault, its daemons, and every kind of source beside it: a local tree, a dump of a real
# PostgreSQL, a share of a real Samba, a server with an agent. Ends with `dozo status`, which shows them all.
#
# usage: tools/bring-up.sh BUILD_DIR        as root; make bring-up installs and builds first
#
# The lines marked with $ are what one types on a hospital's machines (docs/runbook.md says where and why). Everything it writes is
# below BUILD_DIR/bring-up, which it makes anew; all servers end with it.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$(realpath "${1:-build}")
bin=$build/programs
top=$build/bring-up
[[ -x $bin/dozo && -x $bin/dozod && -x $bin/dozo-agent ]] || { echo "$bin: not built; run: make bring-up" >&2; exit 1; }
[[ $(id -u) = 0 ]] || { echo "run it as root: Samba's server needs it" >&2; exit 77; }

# Once more, with a Samba server beside us that ends when we do.
if [[ -z ${DOZO_SMB_WHERE-} ]]; then
    rm -rf "$top"
    mkdir -p "$top"
    exec python3 -B tests/e2e/samba.py "tools/${0##*/}" "$build"
fi

say() { printf '\n%s\n' "$*"; }
run() {
    printf '$ %s\n' "${*//$top/\$TOP}"
    "$bin/$1" "${@:2}"
}
# until SENTENCE COMMAND...: waits for at most a minute.
until_true() {
    local sentence=$1
    for _ in $(seq 600); do
        if "${@:2}" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "bring-up: it did not come to this: $sentence" >&2
    tail -n 20 "$top"/*.log >&2
    exit 1
}
pg_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
pg() { (cd / && runuser -u postgres -- "$pg_bin/$1" "${@:2}"); }
clean_up() {
    [[ -z ${intake-} ]] || kill "$intake" 2>/dev/null || true
    [[ -z ${daemon-} ]] || kill "$daemon" 2>/dev/null || true
    wait
    [[ ! -d $top/pg/data ]] || pg pg_ctl -D "$top/pg/data" -m immediate stop >/dev/null 2>&1 || true
}
trap clean_up EXIT

say "1. What a hospital has: files, a database, a share of the wards. All of it is synthetic."
chmod 755 "$top" # the database's user passes through
tools/make-demo-tree.py "$top/files"
cp -a "$top/files/." "$DOZO_SMB_SHARE/"
install -d -o postgres -g postgres -m 700 "$top/pg"
pg initdb -D "$top/pg/data" -A trust -U postgres -N -E UTF8 --locale=C >/dev/null
pg pg_ctl -D "$top/pg/data" -w -l "$top/pg/log" -o "-c listen_addresses='' -c unix_socket_directories='$top/pg'" start >/dev/null
pg psql -h "$top/pg" -U postgres -qc "CREATE TABLE orders AS SELECT i, 'SYNTHETIC ' || i AS what FROM generate_series(1, 10000) AS i"

say "2. A vault: its key exists as five shares, any three open it."
run dozo init "$top/vault" --custodians 5 --threshold 3 --shares-dir "$top/shares"
export DOZO_VAULT=$top/vault
run dozo witness add safe --file "$top/in-the-safe"

say "3. What feeds it, on schedule: every 20 s here, so that one need not wait."
cat >"$top/dozod.yaml" <<YAML
vault: $top/vault
timezone: Asia/Tokyo
late-after: 1h
sources:
  - {name: files, kind: tree, every: 20s, paths: [$top/files]}
  - {name: orders-db, kind: command, every: 20s, file: orders.dump, argv: [$pg_bin/pg_dump, -h, $top/pg, -U, postgres, -Fc, -Z0, postgres]}
  - {name: wards, kind: share, every: 20s, share: $DOZO_SMB_WHERE, credentials: $DOZO_SMB_CREDENTIALS}
YAML
chmod 600 "$top/dozod.yaml"
run dozod --config "$top/dozod.yaml" --check
"$bin/dozod" --config "$top/dozod.yaml" >"$top/dozod.log" 2>&1 &
daemon=$!

say "4. A server that sends by itself."
"$bin/dozo-intake" --vault "$top/vault" --listen 127.0.0.1:0 >"$top/intake.log" 2>&1 &
intake=$!
until_true "dozo-intake listens" grep -q "listening on" "$top/intake.log"
server=$(sed -n 's/.*listening on //p' "$top/intake.log" | head -1)
"$bin/dozo" --json enrol emr-server >"$top/invitation"
member() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$top/invitation" "$1"; }
(umask 077 && member token >"$top/token")
run dozo-agent enrol --state "$top/agent" --server "$server" --ca-fingerprint "$(member ca_fingerprint)" --token-file "$top/token"
rm "$top/token" "$top/invitation"
run dozo-agent backup --quiet --state "$top/agent" --server "$server" "$top/files"

say "5. All of it is in the vault."
came() { [[ $("$bin/dozo" snapshots --json --source "$1" | wc -l) -ge 1 ]]; }
for source in files orders-db wards emr-server; do
    until_true "$source has a snapshot" came "$source"
done
run dozo status || true # 1: what is red is what one machine cannot have
for source in files orders-db wards emr-server; do
    came "$source"
done
say "The log of the daemons is in $top/*.log, the vault in $top/vault, its shares in $top/shares."
