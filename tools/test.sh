#!/bin/bash
# Everything that CI runs, as several builds of the same tree.
#
# usage: tools/test.sh [gcc] [clang] [asan] [tsan] [fuzz]      all of them when none is named
#
#   gcc    gcc, optimised with debug symbols: every suite, and the checks of the tree itself
#   clang  clang, the same flags: a second opinion of warnings; clang-tidy over every source
#   asan   gcc with AddressSanitizer, LeakSanitizer and UBSan: unit, fault, crash and fuzz-replay tests
#   tsan   gcc with ThreadSanitizer: the tests that use several threads
#   fuzz   clang with libFuzzer, ASan and UBSan: each target searches for FUZZ_SECONDS (15)
#
# Each build lives in build-test/<name> and is kept: a second run compiles what changed only.
# All builds run even when one fails; the last line counts tests over all of them.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

builds=("$@")
[[ $# -gt 0 ]] || builds=(gcc clang asan tsan fuzz)
fuzz_seconds=${FUZZ_SECONDS:-15}

tools/install-deps.sh test || exit 1
export LSAN_OPTIONS=suppressions=$PWD/tests/leaks-of-others.txt:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1

run_build() { # name, compiler, meson options; then the suites in the array `suites`
    local name=$1 compiler=$2 dir=build-test/$1 selected=() wrap=() again=() slow=1
    shift 2
    printf '\n== %s: %s %s\n' "$name" "$compiler" "$*"
    rm -rf "$dir/meson-logs"
    [[ ! -f $dir/build.ninja ]] || again=(--reconfigure)
    if ! CC=$compiler meson setup "${again[@]}" "$dir" "$@" >"$dir.log" 2>&1; then
        tail -n 30 "$dir.log"
        return 1
    fi
    if ! ninja -C "$dir" >"$dir.log" 2>&1; then
        tail -n 60 "$dir.log"
        echo "the $name build failed; all it said is in $dir.log"
        return 1
    fi
    for suite in "${suites[@]}"; do
        selected+=(--suite "$suite")
    done
    # ThreadSanitizer wants its shadow at fixed addresses; newer kernels may put us in the way.
    [[ $name != tsan ]] || ! setarch -R true 2>/dev/null || wrap=(setarch -R)
    [[ $name == gcc || $name == clang ]] || slow=4
    "${wrap[@]}" meson test -C "$dir" --no-rebuild --print-errorlogs -t "$slow" "${selected[@]}"
}

failed=0
mkdir -p build-test
rm -f build-test/*/meson-logs/testlog.junit.xml
for build in "${builds[@]}"; do
    started=$SECONDS
    suites=()
    case $build in
    gcc) run_build gcc gcc || failed=1 ;;
    clang)
        suites=(unit fuzz golden tidy)
        run_build clang clang-14 -Dhouse=false -Dtidy=true || failed=1
        ;;
    asan)
        suites=(unit threads fault crash golden fuzz)
        run_build asan gcc -Dhouse=false -Db_sanitize=address,undefined || failed=1
        ;;
    tsan)
        suites=(threads)
        run_build tsan gcc -Dhouse=false -Db_sanitize=thread || failed=1
        ;;
    fuzz)
        suites=(fuzz-search)
        run_build fuzz clang-14 -Dhouse=false -Dfuzz=libfuzzer "-Dfuzz_seconds=$fuzz_seconds" \
            -Db_sanitize=address,undefined -Db_lundef=false || failed=1
        ;;
    *)
        echo "no build is called '$build'; there are gcc, clang, asan, tsan, fuzz" >&2
        exit 2
        ;;
    esac
    echo "-- $build took $((SECONDS - started)) s"
done

echo
tools/ci-summary "${builds[@]}" || failed=1
exit "$failed"
