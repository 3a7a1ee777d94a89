#!/usr/bin/env bash
# Make build/standins/rootfs: Debian with all that the stand-ins share, from this machine's own package sources. As root.
#
# The machine's apt settings are lent to the folder while packages are installed and taken away again, so that no address of
# a mirror gets into an image.
set -euo pipefail
cd "$(dirname "$0")/../.."

SUITE=bookworm
PACKAGES=(ca-certificates curl libexpat1 libffi8 libgomp1 liblzma5 libncursesw6 libreadline8 libsqlite3-0 libssl3 libuuid1
  openjdk-17-jre-headless postgresql-15 prometheus tini wget zlib1g)
root=$PWD/build/standins/rootfs

[ -e "$root/.complete" ] && exit 0
rm -rf "$root"
mkdir -p "$root"
mirror=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
  sed -n 's/^URIs: *//p; s/^deb \(http[^ ]*\) .*/\1/p' | head -n 1) || true
debootstrap --variant=minbase "$SUITE" "$root" "${mirror:?this machine has no Debian mirror}" >build/standins/debootstrap.log

for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list /etc/apt/apt.conf.d/99* /etc/resolv.conf /etc/hosts; do
  [ ! -e "$file" ] || cp -L "$file" "$root$file"
done
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # installing a server must not start it
chmod +x "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
chroot "$root" sh -c "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends ${PACKAGES[*]}" \
  >build/standins/apt.log 2>&1
trap - EXIT
umount "$root/proc"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/lib/postgresql/15 "$root"/etc/apt/sources.list.d/* \
  "$root"/etc/apt/sources.list "$root"/etc/apt/apt.conf.d/99* "$root"/usr/sbin/policy-rc.d
: >"$root/etc/resolv.conf"
: >"$root/etc/hosts"
touch "$root/.complete"
