#!/bin/sh
# Runs inside the new root file system, once, after its packages are installed.
# Part of the image's cache key: a change here rebuilds it.
set -eu

# A node starts what the lab tells it to and nothing else: with Debian's defaults a boot takes 10 s, and a
# database or a cluster daemon that starts by itself is one that Pacemaker does not know of.
mkdir -p /etc/systemd/system-preset /etc/systemd/system-generators /etc/systemd/journald.conf.d
echo 'disable *' >/etc/systemd/system-preset/00-lab.preset
systemctl preset-all
# Units that presets do not reach (static or generated) and that have no work to do in a container
for unit in getty.target console-getty.service systemd-logind.service systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service rpcbind.service rpcbind.socket nfs-server.service nfs-client.target \
    rpc-statd.service rpc-statd-notify.service proc-fs-nfsd.mount var-lib-nfs-rpc_pipefs.mount \
    e2scrub_reap.service dpkg-db-backup.timer apt-daily.timer apt-daily-upgrade.timer fstrim.timer; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
ln -sf /dev/null /etc/systemd/system-generators/systemd-getty-generator
ln -sf /lib/systemd/system/multi-user.target /etc/systemd/system/default.target

# The journal stays on the node's disk, so that it can be read after a power-off, and drops nothing.
mkdir -p /var/log/journal
printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nSystemMaxUse=512M\n' \
    >/etc/systemd/journald.conf.d/lab.conf

# Each node gets its own identity on its first boot.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/hostname

# A node without a domain name server must not wait for one.
if [ -e /etc/nsswitch.conf ]; then
    sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf
fi

if [ -d /var/lib/mysql ]; then
    # The data directory that mariadb-server's installation made is every node's first one (each node sees it through
    # its overlay, which costs nothing until it is written). The files that a server finds and completes on
    # its own are left out of it.
    install -d -o mysql -g adm -m 2750 /var/log/mysql
    rm -f /var/lib/mysql/*.pid /var/lib/mysql/ib_buffer_pool /var/lib/mysql/ibtmp1 /var/lib/mysql/*-bin.* \
        /var/lib/mysql/debian-*.flag
    chown -R mysql:mysql /var/lib/mysql
fi

apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old
