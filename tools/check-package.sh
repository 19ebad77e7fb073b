#!/bin/bash
# Are the Debian packages whole?  Builds them, takes them apart, and runs what is in them; installs nothing.
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
all_libraries_found() { ! ldd "$root"/usr/bin/* "$root"/usr/sbin/* "$root"/usr/libexec/dozo/* | grep 'not found'; }
depends_on() { dpkg-deb -f "$work"/"$1"_*.deb Depends | grep -q "$2"; }
does_not_depend_on() { ! depends_on "$@"; }
# The scripts would otherwise start daemons that nobody has configured.  What was enabled before stays so.
starts_nothing() {
    cat "$work"/*.scripts/postinst >"$work/postinst"
    ! grep -E '_dh_action=start|deb-systemd-invoke start' "$work/postinst" &&
        [[ $(grep -c 'helper enable' "$work/postinst") = $(grep -c 'was-enabled' "$work/postinst") ]]
}
user_comes_before_its_directory() {
    local found
    found=$(grep -oE 'systemd-(sysusers|tmpfiles)' "$work/dozo-agent.scripts/postinst" | uniq | head -2 | tr '\n' ' ')
    [[ $found = "systemd-sysusers systemd-tmpfiles " ]] || { echo "$found"; return 1; }
}
unit_is_right() {
    sed "s|=/usr/|=$root/usr/|" "$root/lib/systemd/system/$1" >"$work/$1"
    ! systemd-analyze verify --man=no "$work/$1" 2>&1 | grep "$1"
}
# 10.0 is a unit that gives nothing away, 0.0 one that gives all away; here times ten.
unit_is_hardened() { systemd-analyze security --offline=yes --threshold="$2" "$work/$1"; }

tools/package.sh "$work" >/dev/null
root=$work/root
for package in dozo dozo-agent; do
    dpkg-deb -x "$work"/${package}_*.deb "$root"
    dpkg-deb -e "$work"/${package}_*.deb "$work/$package.scripts"
done

holds "the vault's depends on the libraries that it links" depends_on dozo libsodium23
holds "and on a program that no library tells of" depends_on dozo openssh-client
holds "the agent's needs no more than it links" does_not_depend_on dozo-agent libfuse3
holds "every library is found" all_libraries_found
holds "the command runs" "$root/usr/bin/dozo" --version
holds "the agent runs" "$root/usr/bin/dozo-agent" --version
holds "the daemon takes the example that comes with it" \
    "$root/usr/sbin/dozod" --config "$root/usr/share/doc/dozo/examples/dozod.yaml" --check
for file in usr/share/man/man1/dozo.1.gz usr/share/man/man8/dozod.8.gz usr/share/bash-completion/completions/dozo \
    usr/share/man/man8/dozo-agent.8.gz usr/lib/sysusers.d/dozo-agent.conf usr/share/doc/dozo/copyright \
    usr/share/doc/dozo/runbook.ja.md.gz; do
    holds "they have /$file" has "$file"
done
holds "installing them starts nothing" starts_nothing
holds "the agent's user is made before its directory" user_comes_before_its_directory
for unit in dozod.service dozo-intake.service dozo-agent.service dozo-agent.timer; do
    holds "systemd understands $unit" unit_is_right "$unit"
done
holds "dozod.service is hardened as far as backups allow" unit_is_hardened dozod.service 46
holds "dozo-intake.service is hardened" unit_is_hardened dozo-intake.service 40
holds "dozo-agent.service is hardened" unit_is_hardened dozo-agent.service 32
exit $failed
