#!/bin/sh
# Runs inside the new root file system of the virtual machines, once, after its packages are installed.
set -eu

# Only what a test starts runs; a machine in software emulation takes its time for everything else.
mkdir -p /etc/systemd/system-preset /etc/systemd/system
printf 'enable ssh.service\nenable vm-net.service\nenable remote-fs.target\ndisable *\n' >/etc/systemd/system-preset/00-vm.preset
cat >/etc/systemd/system/vm-net.service <<'UNIT'
[Unit]
Description=Addresses of a test machine
DefaultDependencies=no
After=systemd-udev-trigger.service systemd-udev-settle.service
Wants=systemd-udev-settle.service
Before=ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/vm-net
[Install]
WantedBy=multi-user.target
UNIT
cat >/usr/local/sbin/vm-net <<'PROGRAM'
#!/bin/sh
# eth0 is for commands, eth1 for what is tested; the kernel's command line has vm.index=1, 2.
set -e
index=$(sed 's/.*vm\.index=\([0-9]*\).*/\1/' /proc/cmdline)
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth1 up
ip addr add "10.77.0.$index/24" dev eth1
PROGRAM
chmod 755 /usr/local/sbin/vm-net
systemctl preset-all
for unit in getty.target systemd-logind.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer man-db.timer; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
mkdir -p /var/log/journal

# What a machine needs to find its root, and no more: the archive is unpacked at each boot.
sed -i 's/^MODULES=.*/MODULES=list/' /etc/initramfs-tools/initramfs.conf
printf '%s\n' virtio_pci virtio_blk virtio_rng ext4 >>/etc/initramfs-tools/modules
update-initramfs -u

printf '10.77.0.1 a\n10.77.0.2 b\n127.0.0.1 localhost\n' >/etc/hosts
sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf
printf 'UseDNS no\nPermitRootLogin prohibit-password\nMaxSessions 100\n' >/etc/ssh/sshd_config.d/vm.conf
echo '/dev/vda / ext4 defaults 0 0' >/etc/fstab
: >/etc/machine-id
apt-get clean
rm -rf /var/lib/apt/lists/*
