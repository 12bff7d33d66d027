#!/bin/bash
# Builds, from this machine's own Debian package sources, everything a Xen test host boots from:
#   xen           the hypervisor              vmlinuz   the kernel of dom0 and of the guest
#   dom0.initrd   initrd of dom0              dom0.img  its root file system, with Xen's tools and this machine's Node
#   guest.initrd  root file system of the self-checking guest, PVH (guest.cfg) or HVM (hvm.cfg)
# usage: build.sh [CACHE]   (default $ROMULUS_CACHE/xen, else ~/.cache/romulus/xen; does nothing when up to date)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-${ROMULUS_CACHE:-$HOME/.cache/romulus}/xen}
suite=bookworm xen=4.17
packages=(linux-image-amd64 initramfs-tools zstd "xen-hypervisor-$xen-amd64" "xen-utils-$xen" qemu-system-xen xenstore-utils
          sysvinit-utils kmod udev procps iproute2 iputils-ping bridge-utils busybox-static libstdc++6)

node=$(readlink -f "$(command -v node)")
stamp=$(cat "$here"/build.sh "$here"/dom0-init "$here"/guest-init "$here"/guest-pauses.c "$here"/*.cfg <(echo "$(stat -c %s "$node")") | sha256sum)
[[ $(cat "$cache/stamp" 2>/dev/null) = "$stamp" ]] && exit 0
for tool in mmdebstrap mkfs.ext4 cpio gcc; do
  command -v "$tool" >/dev/null || { echo "build.sh: $tool is missing: apt-get install mmdebstrap e2fsprogs cpio gcc libc6-dev" >&2; exit 1; }
done
mkdir -p "$cache"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# dom0's initrd carries only the modules that dom0 boots with.
initrd_modules='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
  echo MODULES=list > "$1/etc/initramfs-tools/conf.d/testbed"
  printf "%s\n" virtio_pci virtio_blk ext4 > "$1/usr/share/initramfs-tools/modules.d/testbed"'

apt-get indextargets --format 'deb $(REPO_URI) $(CODENAME) $(COMPONENT)' 'Identifier: Packages' 'Origin: Debian' |
  grep " $suite" |
  mmdebstrap --quiet --variant=minbase --include="$(IFS=' '; echo "${packages[*]}")" \
             --dpkgopt='path-exclude=/usr/share/{doc,man,locale}/*' --essential-hook="$initrd_modules" "$suite" "$root" -

# dom0 itself needs no device model, and to start one takes seconds.
sed -i 's|^QEMU=.*|QEMU=/nonexistent|' "$root"/etc/init.d/xen
install -m 755 "$here"/dom0-init "$root"/sbin/testbed-init
install -m 755 "$node" "$root"/usr/local/bin/node
kernel=$(basename "$root"/lib/modules/*)
cp "$root/boot/vmlinuz-$kernel" "$cache/vmlinuz"
cp "$root/boot/initrd.img-$kernel" "$cache/dom0.initrd"
zcat "$root/boot/xen-$xen-amd64.gz" > "$cache/xen"

guest=$root/tmp/guest
mkdir -p "$guest"/{bin,dev,proc,sys,tmp,lib}
cp "$root"/bin/busybox "$guest"/bin/
for module in xen-netfront xen-blkfront mbcache crc16 crc32c_generic jbd2 ext4; do
  find "$root"/lib/modules -name "$module.ko" -exec cp {} "$guest"/lib/ \;
done
install -m 755 "$here"/guest-init "$guest"/init
gcc -O2 -static -Wall -Werror -o "$guest"/bin/pauses "$here"/guest-pauses.c
(cd "$guest" && find . | cpio --quiet -o -H newc | gzip) > "$cache/guest.initrd"
rm -rf "$guest" "$root"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
mkdir -p "$root"/testbed
cp "$cache"/{vmlinuz,guest.initrd} "$here"/*.cfg "$root"/testbed/

rm -f "$cache/dom0.img"
truncate -s 3G "$cache/dom0.img"
mkfs.ext4 -q -d "$root" "$cache/dom0.img"
echo "$stamp" > "$cache/stamp"
