#!/bin/sh
# enter.sh ROOT OPT OPTIONS COMMAND...: become COMMAND in ROOT with the directory at /opt, as a container's runtime would
# do it. To be started as the first process of namespaces of its own. OPTIONS: read-only, nobody, no-proc-sys,
# workdir=FOLDER.
set -eu
root=$1 opt=$2 options=$3
shift 3
has() { case ",$options," in *",$1,"*) ;; *) return 1 ;; esac }

mount --make-rprivate /
mount --bind "$root" "$root"
mount --bind "$opt" "$root/opt"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
if has no-proc-sys; then mount -t tmpfs none "$root/proc/sys"; fi
if has read-only; then
    mount -o remount,bind,ro "$root"
    mount -o remount,bind,ro "$root/opt"
fi
if has nobody; then exec chroot --userspec=65534:65534 --groups= "$root" "$@"; fi
case ",$options," in
*,workdir=*)
    folder=${options#*workdir=}
    exec unshare --root="$root" --wd="${folder%%,*}" "$@"
    ;;
esac
exec chroot "$root" "$@"
