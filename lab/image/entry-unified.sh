#!/bin/sh
set -eu
if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup
    mount -t cgroup2 -o nsdelegate none /sys/fs/cgroup
fi
# Docker inside a host disables IPv6 per interface and fails where /proc/sys is read-only.
mount -o remount,rw /proc/sys
# Without shared propagation systemd credentials are silently missing.
mount --make-rshared /
# The engine writes its own /etc/hosts anew at every start: a host keeps its file over a reboot. Names of hosts come by DNS.
if umount /etc/hosts; then
    [ -s /etc/hosts ] || printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >/etc/hosts
fi
exec /sbin/init
