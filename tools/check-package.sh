#!/bin/bash
# Is the Debian package whole?  Builds it, takes it apart, and runs what is in it; installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# holds SENTENCE COMMAND...
holds() {
    if "${@:2}" >"$work/said" 2>&1; then
        echo "package: $1"
    else
        echo "package: NOT so: $1"
        sed 's/^/    /' "$work/said"
        failed=1
    fi
}
has() { [[ -e $root/$1 ]] || { echo "no /$1"; return 1; }; }
all_libraries_found() { ! ldd "$root"/usr/bin/dozo "$root"/usr/sbin/dozod "$root"/usr/libexec/dozo/* | grep 'not found'; }
depends_on() { dpkg-deb -f "$deb" Depends | grep -q "$1"; }
# The scripts would otherwise start a daemon that nobody has configured.
starts_nothing() { ! grep -E 'deb-systemd-helper enable|deb-systemd-invoke start' "$scripts"/postinst; }
unit_is_right() {
    sed "s|/usr/sbin/dozod|$root/usr/sbin/dozod|" "$root/lib/systemd/system/dozod.service" >"$work/dozod.service"
    systemd-analyze verify --man=no "$work/dozod.service" 2>&1 | grep "dozod.service" && return 1
    return 0
}
# 10.0 is a unit that gives nothing away, 0.0 one that gives all away.
unit_is_hardened() { systemd-analyze security --offline=yes --threshold=60 "$work/dozod.service"; }

tools/package.sh "$work" >/dev/null
deb=$(echo "$work"/dozo_*.deb)
root=$work/root
scripts=$work/scripts
dpkg-deb -x "$deb" "$root"
dpkg-deb -e "$deb" "$scripts"

holds "it depends on the libraries that it links" depends_on libsodium23
holds "and on a program that no library tells of" depends_on openssh-client
holds "every library is found" all_libraries_found
holds "the command runs" "$root/usr/bin/dozo" --version
holds "the daemon takes the example that comes with it" \
    "$root/usr/sbin/dozod" --config "$root/usr/share/doc/dozo/examples/dozod.yaml" --check
for file in usr/share/man/man1/dozo.1.gz usr/share/man/man8/dozod.8.gz usr/share/bash-completion/completions/dozo \
    lib/systemd/system/dozod.service usr/share/doc/dozo/copyright usr/share/doc/dozo/runbook.ja.md.gz; do
    holds "it has /$file" has "$file"
done
holds "installing it starts nothing" starts_nothing
holds "systemd understands the unit" unit_is_right
holds "the unit is hardened" unit_is_hardened
exit $failed
