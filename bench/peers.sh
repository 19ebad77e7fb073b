# shellcheck shell=bash
# bench/peers.sh: one function per tool. Sourced by run.sh.
#
#   peer_X STEP [ARG]   prints the shell command that does STEP, run in B, or nothing where X cannot
#
# H is X's own directory: its repository is H/repo, caches and keys are beside it. NAME is the name of the snapshot to
# make or to read. Steps: init, backup, restore TARGET, one TARGET (one file of the whole, into a tree), cat FILE (the
# same, on stdout), verify (every stored byte, without keys), check (everything opened), tree (where below TARGET the
# restored data lie).

ONE=data/hl7/050/ORU_050123.hl7
export BORG_PASSPHRASE=bench BORG_RELOCATED_REPO_ACCESS_IS_OK=yes RESTIC_PASSWORD=bench

peer_dozo() {
  local opened="'$DOZO' --quiet --vault $H/repo --key $H/key"
  case $1 in
    init) echo "'$DOZO' init $H/repo --key-file $H/key" ;;
    backup) echo "'$DOZO' --quiet --vault $H/repo backup --source bench data" ;;
    restore) echo "$opened restore latest --to $2" ;;
    one) echo "$opened restore latest '${B#/}/$ONE' --to $2" ;;
    cat) echo "$opened cat latest '${B#/}/$ONE' >$2" ;;
    verify) echo "'$DOZO' --quiet --vault $H/repo verify" ;;
    check) echo "$opened verify --data" ;;
    tree) echo "${B#/}/data" ;;
  esac
}

peer_restic() {
  local run="restic -q -r $H/repo --cache-dir $H/cache"
  case $1 in
    init) echo "$run init" ;;
    backup) echo "$run backup data" ;;
    restore) echo "$run restore latest --target $2" ;;
    one) echo "$run restore latest --target $2 --include /$ONE" ;;
    cat) echo "$run dump latest /$ONE >$2" ;;
    check) echo "$run check --read-data" ;;
    tree) echo data ;;
  esac
}

peer_borg() {
  local run="BORG_BASE_DIR=$H/base borg"
  case $1 in
    init) echo "$run init -e repokey $H/repo" ;;
    backup) echo "$run create --compression zstd,3 $H/repo::$NAME data" ;;
    restore) echo "mkdir -p $2 && cd $2 && $run extract $H/repo::$NAME" ;;
    one) echo "mkdir -p $2 && cd $2 && $run extract $H/repo::$NAME $ONE" ;;
    cat) echo "$run extract --stdout $H/repo::$NAME $ONE >$2" ;;
    check) echo "$run check --verify-data $H/repo" ;;
    tree) echo data ;;
  esac
}

peer_bup() { # no encryption
  local run="BUP_DIR=$H/repo bup"
  case $1 in
    init) echo "$run init" ;;
    backup) echo "$run index data && $run save -q -n main data" ;;
    restore) echo "$run restore -q -C $2 main/latest$B/data" ;;
    one) echo "$run restore -q -C $2 main/latest$B/$ONE" ;;
    cat) echo "$run cat-file main/latest$B/$ONE >$2" ;;
    check) echo "$run fsck" ;;
    tree) echo data ;;
  esac
}

peer_zpaq() { # loses hard links, attributes, owners
  local archive=$H/repo/a.zpaq how="-threads 2 -key bench >/dev/null"
  case $1 in
    init) echo "mkdir -p $H/repo" ;;
    backup) echo "zpaq add $archive data -method 1 $how" ;;
    restore) echo "zpaq extract $archive data -to $2/data $how" ;;
    one) echo "zpaq extract $archive $ONE -to $2/one.hl7 $how" ;;
    check) echo "zpaq extract $archive -test $how" ;;
    tree) echo data ;;
  esac
}

peer_casync() { # no encryption; cannot read one file out of a whole
  local store="--store=$H/repo/store.castr"
  case $1 in
    init) echo "mkdir -p $H/repo" ;;
    backup) echo "casync make $store $H/repo/$NAME.caidx data" ;;
    restore) echo "mkdir -p $2/data && casync extract $store $H/repo/$NAME.caidx $2/data" ;;
    check) echo "casync digest $store $H/repo/$NAME.caidx" ;;
    tree) echo data ;;
  esac
}

peer_pipe() { # no deduplication, no authentication
  local archive=$H/repo/$NAME.tar.zst.enc aes="openssl enc -aes-256-ctr -pbkdf2 -k bench"
  local tar="tar --xattrs --xattrs-include='*' --acls"
  case $1 in
    init) echo "mkdir -p $H/repo" ;;
    backup) echo "$tar --sparse -cf - data | zstd -q -3 -T2 | $aes -out $archive" ;;
    restore) echo "mkdir -p $2 && $aes -d -in $archive | zstd -dqc | $tar -xpf - -C $2" ;;
    # tar leaves at the first hit, so the two before it end by a broken pipe: that is no failure.
    one) echo "mkdir -p $2 && set +o pipefail && $aes -d -in $archive | zstd -dqc | tar --occurrence=1 -xpf - -C $2 $ONE" ;;
    check) echo "$aes -d -in $archive | zstd -dqc >/dev/null" ;;
    tree) echo data ;;
  esac
}

# Not a tool but what the machine can do; run.sh calls limit_create.
peer_limit() { :; }
