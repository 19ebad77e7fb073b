#!/bin/bash
# Makes B/data, a tree like a small hospital's server: about 150,000 files, 4.8 GiB of which 1 GiB is one sparse file.
# Takes a few minutes; needs root. The synthetic parts are seeded; the system files and the packages are this machine's.
#
# B/data.pristine is a copy that mutate.sh --reset goes back to.
. "$(dirname "$0")/lib.sh"
need_root
need $PG_BIN/initdb=postgresql-15 setfattr=attr setfacl=acl setcap=libcap2-bin openssl=openssl python3=python3

synthetic() { "$HERE/synthetic.py" "$@"; }
# keystream SEED: endless bytes that look random and are the same each time.
keystream() { openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv "$(printf %032x "$1")" -in /dev/zero 2>/dev/null; }

rm -rf "$DATA" "$DATA.pristine" "$B/mutated"
mkdir -p "$DATA"

say "system: programs, headers, manuals, libraries"
for part in bin sbin include share/man share/doc share/perl lib/python3 lib/git-core; do
  [ -e "/usr/$part" ] || continue
  mkdir -p "$DATA/system/usr/$(dirname $part)"
  cp -a "/usr/$part" "$DATA/system/usr/$(dirname $part)/"
done
synthetic pick "/usr/lib/$(uname -m)-linux-gnu" "$DATA/system/lib" --suffix '' --total-mib 450

say "hl7: 100,000 messages"
synthetic hl7 "$DATA/hl7"

say "pgdata: a PostgreSQL cluster, stopped; dumps: two generations of one table"
install -d -o postgres -g postgres -m 700 "$DATA/pgdata"
pg initdb -D "$DATA/pgdata" -A trust --no-sync -E UTF8 --locale=C.UTF-8 >/dev/null
cat >>"$DATA/pgdata/postgresql.conf" <<'C'
listen_addresses = ''
max_wal_size = 256MB
min_wal_size = 80MB
shared_buffers = 512MB
fsync = off
full_page_writes = on
C
pg_start
pg createdb "${PG_DB[@]}" emr
pg pgbench "${PG_DB[@]}" -i -s 60 -q emr >/dev/null 2>&1
pg psql "${PG_DB[@]}" -q emr >/dev/null <<'S'
select setseed(0.42);
create table karte as select g id, md5(random()::text) k, (random()*1e8)::int pid, now() - (g||' s')::interval ts,
  repeat(md5(g::text),2)||' 経過良好 '||substr(md5(random()::text),1,12) note from generate_series(1,600000) g;
create index on karte(pid);
vacuum analyze karte;
checkpoint;
S
mkdir -p "$DATA/dumps"
pg pg_dump "${PG_DB[@]}" -t karte emr >"$DATA/dumps/karte_20240401.sql"
awk 'NR % 5000 == 0 { print "-- 変更行 " NR } { print }' "$DATA/dumps/karte_20240401.sql" >"$DATA/dumps/karte_20240402.sql"
pg_stop

say "compressed: packages, pictures, a tar.gz"
mkdir -p "$DATA/compressed/jpg"
synthetic pick /var/cache/apt/archives "$DATA/compressed/deb" --suffix .deb --each-mib 60 --total-mib 300
(keystream 1 || true) | head -c $((160 << 20)) | split -b 640K -d -a 4 --additional-suffix=.jpg - "$DATA/compressed/jpg/xray_"
tar -C /usr/share -c --sort=name --mtime=@0 --owner=0 --group=0 perl zoneinfo man | gzip -6n >"$DATA/compressed/share.tar.gz"

say "ct: 512 uncompressed 16-bit pictures"
synthetic ct "$DATA/ct"

say "special: sparse, links, attributes, odd names, devices"
mkdir -p "$DATA/special"
truncate -s 1G "$DATA/special/vm.img"
for at_mib in 0 100 500 900; do
  (keystream $((at_mib + 2)) || true) |
    dd of="$DATA/special/vm.img" bs=1M seek=$at_mib count=4 iflag=fullblock conv=notrunc status=none
done
synthetic special "$DATA"
setfacl -d -m u:nobody:rx "$DATA/special/xattr"
find "$DATA/special/xattr" -name 'f??[0369].txt' -exec setfacl -m u:nobody:r,g:daemon:rw {} +
cp /bin/true "$DATA/special/capfile"
setcap cap_net_raw+ep "$DATA/special/capfile"
mknod "$DATA/special/chardev" c 1 3

say "pristine copy"
cp -a --sparse=always "$DATA" "$DATA.pristine"
sync
say "done: $(find "$DATA" -type f | wc -l) files, $(find "$DATA" | wc -l) entries," \
  "$(du -sm --apparent-size "$DATA" | cut -f1) MiB, $(du -sm "$DATA" | cut -f1) MiB on disk"
