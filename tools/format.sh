#!/bin/bash
# Formats every C file with clang-format 14; with --check, only names the files that are not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -d '' files < <(find src programs tests bench -name '*.[ch]' -print0 2>/dev/null)
if [[ ${1-} != --check ]]; then
    clang-format-14 -i "${files[@]}"
    exit
fi
bad=0
for file in "${files[@]}"; do
    clang-format-14 "$file" | cmp -s - "$file" || { echo "not formatted: $file"; bad=1; }
done
[[ $bad == 0 ]] || { echo "run: make format"; exit 1; }
echo "format: ${#files[@]} files"
