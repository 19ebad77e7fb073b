#!/bin/bash
# run.sh: dozo, its peers and the machine's limits, on the same tree in the same run.
#
#   PEERS="dozo restic ..."  PHASES="first unchanged ..."  REPS=3  FILESYSTEMS="root loop"  B=DIR  DOZO=FILE  ./run.sh
#
# Appends rows to B/results.tsv and to B/fidelity.jsonl; report.py makes tables of them. Warm cache: what a command
# reads is read once before it. The time of a command ends when its file system is synced. Repetitions go round the
# peers, so that a slow minute of the machine hits all alike. RUN=ID continues an earlier run.
. "$(dirname "$0")/lib.sh"
. "$HERE/peers.sh"
PEERS=${PEERS:-dozo limit restic borg bup zpaq casync pipe}
PHASES=${PHASES:-limits first unchanged changed restore one verify check}
FILESYSTEMS=${FILESYSTEMS:-root loop}
LOOP_MIB=${LOOP_MIB:-8192}
wrong=0

need_root
need restic=restic borg=borgbackup bup=bup zpaq=zpaq casync=casync zstd=zstd openssl=openssl gcc=gcc mkfs.ext4=e2fsprogs
[ -d "$DATA.pristine" ] || die "no $DATA.pristine: run make_dataset.sh"
case " $PEERS " in *" dozo "*) need_dozo ;; esac

# step PEER STEP [ARG]: the command, with the peer's directory and newest snapshot.
step() {
  local H=$B/repos/$1 NAME=${NAME:-}
  [ -n "$NAME" ] || NAME=$(cat "$H/newest" 2>/dev/null || true)
  "peer_$1" "${@:2}"
}

backup() { # PEER PHASE REP
  local NAME=$2-$3
  local command
  command=$(step "$1" backup)
  [ -n "$command" ] || return 0
  warm "$DATA"
  measure "$1" "$2" "$3" "$B/repos/$1/repo" "$B/repos/$1" "$command"
  echo "$NAME" >"$B/repos/$1/newest"
}

phase_first() {
  local rep peer command
  [ ! -e "$B/mutated" ] || "$HERE/mutate.sh" --reset
  for rep in $(seq "$REPS"); do
    for peer in $PEERS; do
      command=$(step "$peer" init)
      [ -n "$command" ] || continue
      rm -rf "$B/repos/$peer" "$B/repos/$peer.before"
      mkdir -p "$B/repos/$peer"
      (cd "$B" && bash -c "$command") >"$LOGS/$peer.init.log" 2>&1 || die "$peer cannot init: $LOGS/$peer.init.log"
      backup "$peer" first "$rep"
    done
  done
}

phase_unchanged() {
  local rep peer
  for rep in $(seq "$REPS"); do
    for peer in $PEERS; do
      [ "$peer" = pipe ] || backup "$peer" unchanged "$rep"
    done
  done
}

# Each repetition starts from the repository as it was before the change.
phase_changed() {
  local rep peer home
  [ -e "$B/mutated" ] || "$HERE/mutate.sh"
  for peer in $PEERS; do
    home=$B/repos/$peer
    [ -e "$home" ] || continue
    if [ ! -e "$home.before" ]; then
      case $(cat "$home/newest") in changed-*) die "$peer has the changed tree already: begin with PHASES=first" ;; esac
      mv "$home" "$home.before"
    fi
    for rep in $(seq "$REPS"); do
      rm -rf "$home"
      cp -a "$home.before" "$home"
      backup "$peer" changed "$rep"
    done
    rm -rf "$home.before"
  done
}

# An image written in full once, so that no run pays for its blocks, with a new file system each time.
fresh_loop() {
  umount "$B/loop" 2>/dev/null || true
  if [ ! -e "$B/loop.img" ]; then
    dd if=/dev/zero of="$B/loop.img" bs=1M count="$LOOP_MIB" conv=fsync status=none
  fi
  mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$B/loop.img"
  mkdir -p "$B/loop"
  mount -o loop "$B/loop.img" "$B/loop"
}

# ext4 without a journal walks past inodes freed in the last minute, and for five minutes more past those in blocks that are
# dirty again (`recently_deleted`): who makes 150,000 files where as many were just removed pays three times their price, and
# nobody restores onto that. So what was removed before is given time to be forgotten, and trees restored here are emptied when
# room is needed, not removed.
forget_removed() {
  say "six minutes for the file system to forget what was removed"
  rm -rf "$B"/restored.*
  sync
  sleep 375
}
make_room() {
  local free
  free=$(df --output=avail -BM "$B" | tail -1 | tr -dc 0-9)
  [ "$free" -lt "${KEEP_FREE_MIB:-16384}" ] || return 0
  say "emptying the large files restored so far"
  find "$B"/restored.* -type f -links 1 -size +256k -exec truncate -s 0 {} +
  sync
}

restore_once() { # PEER FILESYSTEM REP
  local peer=$1 filesystem=$2 rep=$3 target command
  target=$B/restored.$peer.$rep
  if [ "$filesystem" = loop ]; then
    fresh_loop
    target=$B/loop/restored
  else
    make_room
  fi
  if [ "$peer" = limit ]; then
    sync
    row limit "create-$filesystem" "$rep" 0 "$("$B/limit_create" "$DATA" "$target" 2)"
  else
    command=$(step "$peer" restore "$target")
    [ -n "$command" ] || return 0
    mkdir "$target"
    warm "$B/repos/$peer"
    measure "$peer" "restore-$filesystem" "$rep" /nowhere "$target" "$command"
    if [ "$filesystem" = root ] && ! grep -qs "\"run\": \"$RUN\", \"peer\": \"$peer\"" "$B/fidelity.jsonl"; then
      "$HERE/compare.py" "$DATA" "$target/$(step "$peer" tree)" >"$LOGS/fidelity" 2>"$LOGS/$peer.compare.log" || true
      sed "s/^{/{\"run\": \"$RUN\", \"peer\": \"$peer\", /" "$LOGS/fidelity" | tee -a "$B/fidelity.jsonl"
    fi
  fi
  [ "$filesystem" = root ] || rm -rf "$target"
  sync
}

# Dozo takes its turn again after every other peer, so that each has one of the same minute beside it.
phase_restore() {
  local rep peer filesystem turn
  gcc -O2 -pthread -o "$B/limit_create" "$HERE/limit_create.c"
  case " $FILESYSTEMS " in *" root "*) forget_removed ;; esac
  for filesystem in $FILESYSTEMS; do
    turn=0
    for rep in $(seq "$REPS"); do
      for peer in $PEERS; do
        [ "$peer" = dozo ] && [ "$PEERS" != dozo ] && continue
        restore_once "$peer" "$filesystem" "$rep"
        [ "$peer" = dozo ] && continue
        turn=$((turn + 1))
        [ $((turn % 2)) = 0 ] || case " $PEERS " in *" dozo "*) restore_once dozo "$filesystem" "$turn" ;; esac
      done
    done
  done
  umount "$B/loop" 2>/dev/null || true
  rm -rf "$B"/restored.*
}

one_file() { # PEER STEP REP
  local command
  rm -rf "$B/one"
  mkdir "$B/one"
  case $2 in
    one) command=$(step "$1" one "$B/one") ;;
    cat) command=$(step "$1" cat "$B/one/one.hl7") ;;
  esac
  [ -n "$command" ] || return 0
  measure "$1" "$2" "$3" /nowhere "$B/one" "$command"
  find "$B/one" -type f -exec cmp -s {} "$DATA/${ONE#data/}" \; -print | grep -q . || {
    say "$1 $2: the file is not the one kept"
    wrong=1
  }
}

phase_one() {
  local rep peer
  for peer in $PEERS; do
    warm "$B/repos/$peer"
  done
  for rep in $(seq $((REPS > 5 ? REPS : 5))); do
    for peer in $PEERS; do
      one_file "$peer" one "$rep"
      one_file "$peer" cat "$rep"
    done
  done
}

check_all() { # STEP
  local rep peer command
  for rep in $(seq "$REPS"); do
    for peer in $PEERS; do
      command=$(step "$peer" "$1")
      [ -n "$command" ] || continue
      warm "$B/repos/$peer"
      measure "$peer" "$1" "$rep" "$B/repos/$peer/repo" "$B/repos/$peer" "$command"
    done
  done
}
phase_verify() { check_all verify; }
phase_check() { check_all check; }

limit() { # PHASE REP COMMAND [FILE whose size counts]
  measure limit "$1" "$2" "${4:-/nowhere}" "$B" "$3"
}

phase_limits() {
  local rep level jobs rate sample=$B/sample.bin device=$B/device.bin
  # A sixteenth of the files, as one file.
  find "$DATA" -type f -size -100M -print0 | sort -z | awk -v RS='\0' -v ORS='\0' 'NR % 16 == 0' |
    xargs -0 cat >"$sample"
  # 2 GiB that no layer below can make short work of.
  [ -e "$device" ] || openssl enc -aes-128-ctr -pbkdf2 -k device -in /dev/zero 2>/dev/null |
    dd of="$device" bs=1M count=2048 iflag=fullblock conv=fsync status=none || true
  warm "$DATA" "$sample"
  for rep in $(seq "$REPS"); do
    limit stat-walk "$rep" "find data -printf '%s %T@ %m %U %G %i\n' >/dev/null"
    limit cat "$rep" "find data -type f -print0 | xargs -0 -n 2000 cat >/dev/null" "$DATA"
    for level in 1 3; do
      for jobs in 1 2; do
        limit "zstd-$level-T$jobs" "$rep" "zstd -q -$level -T$jobs -c $sample >/dev/null" "$sample"
      done
    done
    for jobs in 1 2; do
      # +F:index:name:bytes per second; a row is one second of it.
      rate=$(openssl speed -mr -seconds 2 -bytes 65536 -evp sha256 -multi "$jobs" 2>/dev/null |
        awk -F: '/^\+F/ { printf "%.0f\n", $NF }' | tail -1)
      row limit "sha256-$jobs" "$rep" "$rate" "1 $jobs 0 0 0"
    done
    limit device-read "$rep" "for k in 0 1 2 3; do
      dd if=$device of=/dev/null bs=1M iflag=direct skip=\$((k * 512)) count=512 status=none & done; wait" "$device"
  done
}

mkdir -p "$B/repos"
say "run $RUN: $PEERS; $PHASES; $REPS repetitions"
for phase in $PHASES; do
  say "$phase"
  "phase_$phase"
done
exit $wrong
