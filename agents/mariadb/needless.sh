# A transition waits for each notification, on every node, and a failover for the demotion of a server that is dead. What no promotion, replica
# or hook needs ends here, without an interpreter.

several() {
    [ $# -gt 2 ]
}

lists() {
    case " $1 " in *" $OCF_RESKEY_CRM_meta_on_node "*) return 0 ;; esac
    return 1
}

hooked() {
    [ -r /etc/hafailover/hooks.json ] || return 1
    while IFS= read -r line || [ -n "$line" ]; do
        case "$line" in *'"hooks"'*) return 0 ;; esac
    done </etc/hafailover/hooks.json
    return 1
}

dead() {
    for comm in /proc/[0-9]*/comm; do
        { IFS= read -r name <"$comm"; } 2>/dev/null || continue
        # Whether it is this one the agent finds out.
        case "$name" in mariadbd | mysqld) return 1 ;; esac
    done
    return 0
}

needless() {
    [ -n "$OCF_RESKEY_CRM_meta_on_node" ] || return 1
    hooked && return 1
    case "$1" in
    notify) ;;
    demote) dead; return ;;
    *) return 1 ;;
    esac
    case "$OCF_RESKEY_CRM_meta_notify_type-$OCF_RESKEY_CRM_meta_notify_operation" in
    pre-promote)
        # Who has received most is asked only where several replicas could be promoted.
        # shellcheck disable=SC2086
        ! several $OCF_RESKEY_nodes
        ;;
    post-promote)
        # The first monitor after a demotion begins at once, and follows the new primary; the address would wait for it here. A server that
        # waits for its role, though, is started by nobody sooner.
        [ ! -e "/run/hafailover/$OCF_RESOURCE_INSTANCE.held" ] || return 1
        lists "$OCF_RESKEY_CRM_meta_notify_promote_uname" || lists "$OCF_RESKEY_CRM_meta_notify_demote_uname"
        ;;
    post-start) return 1 ;;
    esac
}
