#!/bin/sh
# First process of a lab host: gives systemd the cgroup2 tree and mounts it expects, then becomes systemd.
set -eu

# A machine with cgroup v1 offers no unified tree at /sys/fs/cgroup. systemd 257 needs one of its own:
# journald refuses a tree without a subtree, and the machine's own tree must not be trampled on.
if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
    aside=/run/cgroup2
    mkdir -p "$aside"
    mount -t cgroup2 none "$aside"
    subtree="$aside/lab/$(hostname)"
    mkdir -p "$subtree"
    echo 1 >"$subtree/cgroup.procs"
    umount "$aside"
    exec unshare --cgroup /lab/entry-unified.sh
fi
exec /lab/entry-unified.sh
