#!/bin/sh
# Pacemaker's alert agent: it leaves the event in the inbox and returns. hafailover-alerts.service delivers it.
#
# Pacemaker runs one for each event, many at once, and events come in hundreds when a cluster is in trouble: so it starts no program and
# waits for nobody. What the variables hold was written by others: none is evaluated, and none but digits gets into a file's name.
LC_ALL=C
umask 027
box="${HAFAILOVER_ALERTS:-/var/lib/hafailover/alerts}/inbox"
cd "$box" 2>/dev/null || { echo "hafailover alert: $box cannot be entered: run hafailover install on this node" >&2; exit 1; }

number() { case "$1" in '' | *[!0-9]* | ?????????????*) n=0 ;; *) n=$1 ;; esac; }
number "$CRM_alert_timestamp_epoch"; at=$n
number "$CRM_alert_timestamp_usec"; micro=$n
number "$CRM_alert_node_sequence"; sequence=$n

# Nobody has emptied it for a long time: the newest events are worth more than the oldest. Whoever removes one counts it.
set -- *
[ $# -lt "${HAFAILOVER_ALERTS_INBOX:-20000}" ] || { rm -- "$1" 2>/dev/null && printf x >>../overflow; }

# At most 32 KiB of each, the long ones last; an event without its end is delivered as far as it goes.
ulimit -f 64
trap '' XFSZ
set -C
{ printf '%s\0' "kind=$CRM_alert_kind" "at=$at" "micro=$micro" "sequence=$sequence" "recipient=$CRM_alert_recipient" \
  "node=$CRM_alert_node" "nodeid=$CRM_alert_nodeid" "resource=$CRM_alert_rsc" "task=$CRM_alert_task" \
  "interval=$CRM_alert_interval" "rc=$CRM_alert_rc" "target_rc=$CRM_alert_target_rc" "status=$CRM_alert_status" \
  "attribute=$CRM_alert_attribute_name" "desc=$CRM_alert_desc" "value=$CRM_alert_attribute_value" "end=1" \
  >"$at.$micro.$sequence.$$"; } 2>/dev/null ||
  [ -s "$at.$micro.$sequence.$$" ] || { echo "hafailover alert: an event cannot be kept in $box: is its disk full?" >&2; exit 1; }
