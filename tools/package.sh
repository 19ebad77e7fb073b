#!/bin/bash
# Builds the Debian packages of this tree and leaves them in DIR.
#
# usage: tools/package.sh DIR
#
# packaging/debian becomes debian/ in a copy of the tree: what is packaged is what git knows of, as it is now.
set -euo pipefail
[[ $# = 1 ]] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
into=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
command -v dh >/dev/null || { echo "$0: no debhelper: tools/install-deps.sh test" >&2; exit 3; }

version=$(sed -n "s/^project(.* version: '\([^']*\)'.*/\1/p" meson.build)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/dozo"
git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$work/dozo"
mv "$work/dozo/packaging/debian" "$work/dozo/debian"
cat >"$work/dozo/debian/changelog" <<CHANGES
dozo ($version) bookworm; urgency=medium

  * What changed: /usr/share/doc/dozo/CHANGELOG.md

 -- Dozo maintainers <maintainers@localhost>  $(git log -1 --format=%cD)
CHANGES
(cd "$work/dozo" && dpkg-buildpackage --build=binary --unsigned-changes --unsigned-buildinfo) >"$work/log" 2>&1 || {
    tail -40 "$work/log" >&2
    exit 1
}
cp "$work"/dozo_*.deb "$work"/dozo-agent_*.deb "$into"
ls "$into"/dozo_*.deb "$into"/dozo-agent_*.deb
