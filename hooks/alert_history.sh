#!/bin/sh
# Pacemaker's alert agent for the history: it hands in what happened and returns. hafailover-history.service writes it down.
#
# Pacemaker runs one for each event, as hacluster, on every node and in the middle of every failover, which needs the processor for itself
# then: so most end here without another program, and none starts an interpreter. What the variables hold was written by others: it is
# data, none is evaluated, and none but digits gets into a file's name. agents/inbox.py tells of the form.
LC_ALL=C
umask 077
box="${HAFAILOVER_INBOX:-/run/hafailover/inbox}"

case "$CRM_alert_kind" in
node | fencing) ;;
resource)
    case "$CRM_alert_task" in
    notify | meta-data) exit 0 ;;
    monitor) [ "$CRM_alert_rc" != "$CRM_alert_target_rc" ] || exit 0 ;;
    esac
    # A recurring look that ends repeats what it said last, also where that was a failure.
    [ "$CRM_alert_status" != 1 ] || exit 0
    ;;
*) exit 0 ;;
esac

refused() {
    logger -t hafailover-history -p daemon.warning -- \
        "not recorded, the inbox is missing, full, or closed to hacluster: $CRM_alert_kind $CRM_alert_rsc $CRM_alert_task on $CRM_alert_node"
    exit 0
}

digits() { case "$1" in '' | *[!0-9]*) return 1 ;; esac; [ ${#1} -le "$2" ]; }

happened=
micro=000000$CRM_alert_timestamp_usec
micro=${micro#"${micro%??????}"}
if digits "$CRM_alert_timestamp_epoch" 12; then
    digits "$micro" 6 || micro=000000
    happened=$CRM_alert_timestamp_epoch$micro
    at=${happened}000
else
    at=$(date +%s%N)
fi
while [ ${#at} -lt 20 ]; do at=0$at; done
name=$at.$$

cd "$box" 2>/dev/null || refused
set -- *
[ $# -lt 1000 ] || refused
# No value takes the others' room: 8192 bytes are read.
set -C
{ printf '%s=%.300s\0' kind "$CRM_alert_kind" happened "$happened" node "$CRM_alert_node" nodeid "$CRM_alert_nodeid" \
    rsc "$CRM_alert_rsc" task "$CRM_alert_task" interval "$CRM_alert_interval" rc "$CRM_alert_rc" \
    target_rc "$CRM_alert_target_rc" status "$CRM_alert_status" exec_time "$CRM_alert_exec_time" >".$name" &&
    printf '%s=%.2000s\0' desc "$CRM_alert_desc" >>".$name"; } 2>/dev/null || { rm -f -- ".$name"; refused; }
# Nobody reads half a record.
mv -T -- ".$name" "$name" 2>/dev/null || { rm -f -- ".$name"; refused; }
