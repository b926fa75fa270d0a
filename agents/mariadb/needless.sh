# A transition waits for each notification, on every node. Those that no promotion, replica or hook needs end here, without an interpreter.

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

needless() {
    [ "$1" = notify ] && [ -n "$OCF_RESKEY_CRM_meta_on_node" ] || return 1
    hooked && return 1
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
