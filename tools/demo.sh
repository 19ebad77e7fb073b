#!/bin/bash
# Dozo on a small synthetic hospital: two generations kept, compared, restored, verified.
#
# usage: tools/demo.sh BUILD_DIR        (make demo builds first, then calls this)
#
# Everything it writes is below BUILD_DIR/demo, which it makes anew.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$(realpath "${1:-build}")
dozo=$build/programs/dozo
demo=$build/demo
tree=$demo/hospital
[[ -x $dozo ]] || { echo "$dozo is not built; run: make" >&2; exit 1; }

bold='' plain=''
if [[ -t 1 ]]; then
    bold=$(tput bold 2>/dev/null || true)
    plain=$(tput sgr0 2>/dev/null || true)
fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# Shows a command as somebody would type it, and runs it; $1 is the exit code it must give.
run() {
    local wanted=$1 got=0
    shift
    printf '$ dozo %s\n' "${*//$demo/\$DEMO}"
    "$dozo" "$@" || got=$?
    if [[ $got != "$wanted" ]]; then
        echo "demo: this gave exit code $got instead of $wanted" >&2
        exit 1
    fi
}

rm -rf "$demo"
mkdir -p "$demo"
unset DOZO_KEYS
export DOZO_VAULT=$demo/vault

say "1. A small hospital: results, pictures, claims, a database with holes. All of it is synthetic."
tools/make-demo-tree.py "$tree"
echo "$(find "$tree" -type f -printf . | wc -c) names of files below $tree   (called \$DEMO/hospital from here on)"

say "2. A vault. Its key exists only as five shares; any three of them open it."
run 0 init "$DOZO_VAULT" --custodians 5 --threshold 3 --shares-dir "$demo/shares"

say "3. The first backup, and one after a day of work. No key is needed for that."
run 0 backup --source hospital "$tree"
cp -a --sparse=always "$tree" "$demo/as-it-was" # the judge of step 6
tools/make-demo-tree.py "$tree" --next
run 0 backup --source hospital "$tree"
run 0 snapshots
older=$("$dozo" snapshots --json | sed -n '1s/.*"id": *"\([^"]*\)".*/\1/p')

say "4. The vault is closed: whoever has it reads nothing. Neither names nor content are in it."
run 4 ls latest:hospital
if grep -rqs -e SYNTHETIC -e handover "$DOZO_VAULT"; then
    echo "demo: text of the hospital was found in the vault" >&2
    exit 1
fi
echo "(a search of the vault's files for words of the hospital found nothing)"

say "5. Three custodians come together. What did that day change?"
keys=()
for share in "$demo"/shares/*; do
    [[ $share == *.pdf || ${#keys[@]} == 3 ]] || keys+=("$share")
done
DOZO_KEYS=$(IFS=: && echo "${keys[*]}")
export DOZO_KEYS
run 1 diff "$older" latest:hospital | sed "s|${tree#/}|...|" | { head -n 12; cat >/dev/null; }
echo "(the first lines; exit code 1 means that they differ)"

say "6. The older state comes back, and is compared with a copy that was set aside."
run 0 restore "$older" --to "$demo/restored"
tools/compare-trees.py "$demo/as-it-was" "$demo/restored$tree"

say "7. Is every byte in the vault still what it was? Closed, then opened."
keys_apart=$DOZO_KEYS
unset DOZO_KEYS
run 0 verify
export DOZO_KEYS=$keys_apart
run 0 verify --data

say "All of that worked. How to go on"
cat <<TEXT
  Look round:     export PATH=$build/programs:\$PATH DOZO_VAULT=$DOZO_VAULT
                  export DOZO_KEYS=$DOZO_KEYS
                  dozo ls -R latest:hospital
                  dozo help
  The shares:     $demo/shares
                  (a page to print and a file each; for a real vault, hand them out and delete them)
  Your own vault: make install
                  dozo init /srv/vault --custodians 5 --threshold 3 --shares-dir /media/usb/shares
                  dozo --vault /srv/vault backup --source NAME PATH      then man dozod: on schedule
                  man dozo
  Tidy up:        rm -rf $demo
TEXT
