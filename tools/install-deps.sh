#!/bin/bash
# Installs the Debian 12 packages that dozo needs, and only those that are missing.
#
# usage: tools/install-deps.sh build   to build and run it
#        tools/install-deps.sh test    and everything `make test` uses
#
# docs/design/dependencies.md says what each library is for.  A package that is not used here is
# removed here in the same commit that stops using it.
set -euo pipefail

build=(
    build-essential meson ninja-build pkg-config python3
    libsodium-dev libssl-dev libzstd-dev libxxhash-dev libcyaml-dev libyaml-dev libjansson-dev
    libfuse3-dev fuse3
    libsmbclient-dev libseccomp-dev
    libqrencode-dev libcairo2-dev libpango1.0-dev fonts-ipaexfont-gothic
    openssh-client # dozo approve signs with ssh-keygen
    scdoc
    attr # the demo tree carries extended attributes
)
test=(
    libcmocka-dev clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    mandoc shellcheck codespell git util-linux
    acl libcap2-bin e2fsprogs
    zbar-tools poppler-utils # read the printed shares back
    libgfshare-bin           # open our shares with other hands
    libarchive-tools         # bsdtar reads what export wrote
    faketime                 # lets weeks go by, and clocks jump
    postgresql               # a real database: dumped, kept, restored, compared
    samba samba-vfs-modules  # a real file server on loopback, and clients that are not ours
    smbclient
    debhelper systemd        # the package and its unit are built and looked at
)

case "${1-}" in
build) wanted=("${build[@]}") ;;
test) wanted=("${build[@]}" "${test[@]}") ;;
*)
    echo "usage: $0 build|test" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null; then
    echo "This is not a Debian system: install the equivalents of these packages yourself," >&2
    echo "then run meson and ninja (see HACKING.md):" >&2
    printf '  %s\n' "${wanted[@]}" >&2
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
        echo "These packages are missing; as root, run:" >&2
        echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "installing ${#missing[@]} Debian packages: ${missing[*]}"
install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"
}
# The lists may be old or absent: on a failure, or when there are none, fetch them and try again.
lists=(/var/lib/apt/lists/*_Packages*)
if [[ -e ${lists[0]} ]] && install; then
    exit 0
fi
if "${as_root[@]}" apt-get update -q && install; then
    exit 0
fi
{
    echo
    echo "The packages could not be installed; the lines above say why.  Without a network, bring"
    echo "them from another Debian 12 machine (apt-get download PACKAGE...) or point apt at the"
    echo "site's own mirror, then run this again.  Missing:"
    printf '  %s\n' "${missing[@]}"
} >&2
exit 1
