# shellcheck shell=bash
# Bash completion of dozo(1): commands, options, and the snapshots of the vault in use.

_dozo_snapshots() { # dozo's global options that came before; ids, and the names of the newest
    local listed
    listed=$("$@" snapshots --json 2>/dev/null) || return
    sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' <<<"$listed"
    echo latest
    sed -n 's/.*"source": *"\([^"]*\)".*/latest:\1/p' <<<"$listed" | sort -u
}

_dozo_requests() { # dozo's global options that came before
    "$@" requests --json 2>/dev/null | sed -n 's/.*"request": *"\([^"]\{12\}\).*/\1/p'
}

_dozo() {
    local commands="init backup snapshots ls cat diff restore mount verify rebuild status log export checkpoint witness policy hold prune enrol open close operator request requests approve"
    local cur prev words cword command='' at position=0 options
    local -a asking
    _init_completion -n : || return # colons belong to latest:SOURCE

    asking=("${words[0]}")
    for ((at = 1; at < cword; at++)); do
        case ${words[at]} in
        --vault | --key)
            asking+=("${words[at]}" "${words[at + 1]}")
            ((at++))
            ;;
        --passphrase-file | --lang | --source | --exclude | --to | --strip | --sample | --since | \
            --verify | --tar | --custodians | --threshold | --shares-dir | --key-file | --operators | \
            --approvals | --host-key | --qr | --file | --command | --qr-text | --checkpoint | \
            --stdin-as | --smb | --credentials | --pre | --post | --why | --for | --name | --text | --sign-with | --signature | --valid | --revoke) ((at++)) ;;
        -*) ;;
        *)
            if [[ -z $command ]]; then command=${words[at]}; else ((position++)); fi
            ;;
        esac
    done

    case $prev in
    --vault | --to | --shares-dir)
        _filedir -d
        return
        ;;
    --key | --passphrase-file | --credentials | --key-file | --operators | --host-key | --tar | --verify | --qr | --file | --qr-text | --checkpoint | --sign-with | --signature)
        _filedir
        return
        ;;
    --pre | --post)
        mapfile -t COMPREPLY < <(compgen -c -- "$cur")
        return
        ;;
    --lang)
        mapfile -t COMPREPLY < <(compgen -W "en ja" -- "$cur")
        return
        ;;
    --source | --exclude | --strip | --sample | --since | --custodians | --threshold | --approvals | --command | --stdin-as | --smb | --why | --for | --name | --valid | --revoke)
        return
        ;;
    esac

    if [[ $prev == --text ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_dozo_requests "${asking[@]}")" -- "$cur")
        return
    fi

    if [[ $cur == -* ]]; then
        options="--vault --key --passphrase-file --json --quiet --lang --help --version"
        case $command in
        init)
            options+=" --custodians --threshold --shares-dir --key-file --passphrase"
            options+=" --operators --approvals --host-key"
            ;;
        backup) options+=" --source --exclude --one-file-system --reread --stdin-as --smb --credentials --smb-no-encryption --pre --post --no-names" ;;
        snapshots) options+=" --source --checkpoint" ;;
        ls) options+=" -l -R" ;;
        restore) options+=" --to --overwrite --strip" ;;
        mount) options+=" -f --foreground --allow-other" ;;
        verify) options+=" --data --sample" ;;
        log) options+=" --since --verify" ;;
        export) options+=" --tar" ;;
        checkpoint) options+=" --qr" ;;
        witness) options+=" --file --command --paper --qr-text" ;;
        policy) options+=" --minimum --daily --monthly --yearly --timezone" ;;
        hold) options+=" --why" ;;
        prune) options+=" --dry-run --source" ;;
        enrol) options+=" --valid --list --revoke" ;;
        open) options+=" --for --renew --collect" ;;
        operator) options+=" --why --for" ;;
        request) options+=" --why --for --name" ;;
        requests) options+=" --all --text" ;;
        approve) options+=" --sign-with --signature --yes" ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
        return
    fi

    case $command:$position in
    :*) mapfile -t COMPREPLY < <(compgen -W "$commands help" -- "$cur") ;;
    help:0) mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur") ;;
    ls:0 | cat:0 | diff:[01] | restore:0 | mount:0 | export:0 | hold:0)
        mapfile -t COMPREPLY < <(compgen -W "$(_dozo_snapshots "${asking[@]}")" -- "$cur")
        __ltrim_colon_completions "$cur"
        ;;
    policy:0) mapfile -t COMPREPLY < <(compgen -W "show set" -- "$cur") ;;
    operator:0) mapfile -t COMPREPLY < <(compgen -W "list add remove" -- "$cur") ;;
    request:0) mapfile -t COMPREPLY < <(compgen -W "operator-add operator-remove delete-snapshot loosen-policy release-hold acknowledge-alarm unfreeze-clock" -- "$cur") ;;
    approve:0) mapfile -t COMPREPLY < <(compgen -W "$(_dozo_requests "${asking[@]}")" -- "$cur") ;;
    operator:2 | request:1) _filedir ;;
    witness:0) mapfile -t COMPREPLY < <(compgen -W "list add check" -- "$cur") ;;
    mount:1 | init:0) _filedir -d ;;
    backup:*) _filedir ;;
    esac
}
complete -F _dozo dozo
