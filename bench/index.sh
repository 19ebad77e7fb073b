#!/bin/sh
# Shows that an index of 100 million chunks works under 1 GiB of memory, page cache included.
#
#   bench/index.sh BUILD_DIR [bench_index options, such as -n 100000000 -t 2 -d /var/tmp]
#
# Uses systemd-run where systemd runs; else, as root, a control group of its own: version 2
# (memory.max) or version 1 (memory.limit_in_bytes, the same limit by its older name).
# LIMIT=bytes changes the limit.  Needs about 7 GB in the directory while it builds.
set -eu
prog=${1:?usage: bench/index.sh BUILD_DIR [options]}/bench/index/bench_index
shift
limit=${LIMIT:-1073741824}
[ -x "$prog" ] || { echo "$prog: not built" >&2; exit 2; }

if [ -d /run/systemd/system ]; then
    exec systemd-run --quiet --scope -p MemoryMax="$limit" -p MemorySwapMax=0 "$prog" "$@"
fi

root="" v=""
for m in $(awk '$3 == "cgroup2" { print $2 }' /proc/mounts); do
    if grep -qw memory "$m/cgroup.controllers" 2>/dev/null; then root=$m v=2; fi
done
if [ -z "$root" ]; then
    root=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts) v=1
fi
[ -n "$root" ] || { echo "no control group with a memory controller" >&2; exit 2; }

group=$root/dozo-bench-index-$$
[ "$v" = 1 ] || grep -qw memory "$root/cgroup.subtree_control" ||
    echo +memory > "$root/cgroup.subtree_control"
mkdir "$group"
trap 'rmdir "$group"' EXIT
if [ "$v" = 2 ]; then
    echo "$limit" > "$group/memory.max"
    ! [ -e "$group/memory.swap.max" ] || echo 0 > "$group/memory.swap.max"
else
    echo "$limit" > "$group/memory.limit_in_bytes"
fi
echo "limit $limit bytes, control groups version $v"
status=0
sh -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$group" "$prog" "$@" || status=$?
for f in memory.peak memory.max_usage_in_bytes memory.failcnt memory.events; do
    ! [ -e "$group/$f" ] || echo "$f: $(tr '\n' ' ' < "$group/$f")"
done
exit $status
