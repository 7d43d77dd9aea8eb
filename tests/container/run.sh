#!/bin/sh
# Runs a command in the files of an image, much as a container runtime does with --read-only --tmpfs /tmp
# --cap-drop ALL --security-opt no-new-privileges --network host: for machines where buildah can build an image and no
# runtime is allowed to start it. Needs root.
#
#   run.sh ROOT MODELS USER:GROUP FOLDER NAME=VALUE... COMMAND ARGUMENT...
#
# ROOT: the image's mounted files. MODELS: the folder to mount at /models, read-only. FOLDER: where the command starts.
set -eu
export root="$1" models="$2" user="${3%:*}" group="${3#*:}" folder="$4"
shift 4
# The command is process 1 of its own process namespace, which ends with this script.
exec unshare --mount --propagation private --pid --fork --kill-child=KILL -- sh -euc '
    mount --bind "$root" "$root"
    mount --bind "$models" "$root/models"
    mount -o remount,bind,ro "$root/models"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/tmp"
    mount -o remount,bind,ro "$root"
    exec chroot "$root" /usr/bin/setpriv --reuid "$user" --regid "$group" --clear-groups \
        --bounding-set=-all --inh-caps=-all --no-new-privs \
        /usr/bin/env --ignore-environment --chdir="$folder" "$@"
' sh "$@"
