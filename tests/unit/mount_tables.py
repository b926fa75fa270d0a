"""Lines of a mount table: a root, a directory over NFS, the disk that it comes from, and a part of the disk bound to its place."""

ROOT = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
NFS = "40 22 0:50 / /opt/st/packs rw,noatime shared:9 - nfs4 10.0.0.9:/srv/st/packs rw,vers=4.2,hard,addr=10.0.0.9\n"
DISK = "30 22 8:16 / /srv/st rw,noatime shared:5 - ext4 /dev/sdb rw\n"
BIND = "41 22 8:16 /packs /opt/st/packs rw,noatime shared:5 - ext4 /dev/sdb rw\n"
