"""A whole board for qemu: Debian for ARM64 with systemd, sshd and a V4L2 camera of the kernel.

    sudo apt install qemu-system-arm debootstrap kmod cpio e2fsprogs openssh-client
    sudo python -m benchmarks.studies.board_image board

Packages are unpacked, not installed: no foreign program runs on this machine, and no mount or
kernel setting is needed. What their scripts would have made is written here: users, services,
host keys. The camera is `vivid`, a driver for tests, at /dev/video0.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import subprocess
from pathlib import Path

import click

from lmedge.errors import LmedgeError, MissingDependencyError

from .arm64_root import SUITE, make_packages
from .common import PATH, run_study

PORT = 2299
INCLUDED = (
    "linux-image-arm64",
    "systemd",
    "systemd-sysv",
    "udev",
    "kmod",
    "openssh-server",
    "python3",
    "python3-venv",
    "iproute2",
    "rsync",
    "procps",
    "e2fsprogs",
    "busybox-static",
)
ALSO = ("cryptography", "av", "waitress")  # for signed files, recordings and the preview page
TOOLS = {
    "qemu-system-aarch64": "qemu-system-arm",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "depmod": "kmod",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "ssh-keygen": "openssh-client",
}
# In the order in which they are loaded, before there is a file system.
_MODULES = (
    *("crc16", "crc32c_generic", "libcrc32c", "mbcache", "jbd2", "ext4"),
    *("virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"),
)
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for name in {modules}; do /bin/busybox insmod /modules/$name.ko; done
i=0; while [ ! -e /dev/vda ] && [ $i -lt 300 ]; do i=$((i + 1)); /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /lib/systemd/systemd
"""
_USERS = """\
messagebus:x:100:101::/nonexistent:/usr/sbin/nologin
sshd:x:101:65534::/run/sshd:/usr/sbin/nologin
systemd-network:x:998:998::/:/usr/sbin/nologin
"""
_GROUPS = (
    "messagebus:x:101:\nsystemd-network:x:998:\nsystemd-journal:x:999:\nrender:x:105:\n"
    "kvm:x:106:\nsgx:x:107:\ninput:x:108:\n"
)
_FILES = {
    "etc/hostname": "board\n",
    "etc/fstab": "/dev/vda / ext4 errors=remount-ro 0 1\n",
    "etc/machine-id": "",
    "etc/systemd/network/net.network": "[Match]\nName=e*\n[Network]\nDHCP=ipv4\n",
    "etc/modules-load.d/vivid.conf": "vivid\n",
    "etc/modprobe.d/vivid.conf": (
        "options vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0\n"
    ),
    "etc/ssh/sshd_config": (
        "UsePAM no\nPermitRootLogin yes\nHostKey /etc/ssh/host_key\nSubsystem sftp internal-sftp\n"
    ),
}
_SERVICES = ("ssh.service", "systemd-networkd.service")


def make_root(folder: Path, mirror: str | None) -> Path:
    """Unpack Debian below `folder` and write what its scripts would have made."""
    fetched, root = folder / "fetched", folder / "root"
    options = ["--arch=arm64", "--foreign", "--variant=minbase"]
    options.append(f"--include={','.join(INCLUDED)}")
    _run("debootstrap", *options, SUITE, str(fetched), *filter(None, [mirror]))
    root.mkdir()
    for package in sorted((fetched / "var/cache/apt/archives").glob("*.deb")):
        _run("dpkg-deb", "-x", str(package), str(root))
    (version,) = (path.name for path in (root / "lib/modules").iterdir())
    _run("depmod", "-b", str(root), version)
    masters = root / "usr/share/base-passwd"
    users = (masters / "passwd.master").read_text().replace("root:*:", "root:x:", 1) + _USERS
    groups = (masters / "group.master").read_text() + _GROUPS
    (root / "etc/passwd").write_text(users)
    (root / "etc/group").write_text(groups)
    names = [line.split(":")[0] for line in users.splitlines()]
    (root / "etc/shadow").write_text("".join(f"{name}:*:19000:0:99999:7:::\n" for name in names))
    for name, text in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    for service in _SERVICES:
        (wanted / service).symlink_to(f"/lib/systemd/system/{service}")
    (root / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/multi-user.target")
    (root / "var/log/journal").mkdir(parents=True, exist_ok=True)
    return root


def let_in(root: Path, folder: Path) -> None:
    """Make the key of the user and that of the host, and write the file of known hosts."""
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / "etc/ssh/host_key"))
    home = root / "root/.ssh"
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    shutil.copy(folder / "key.pub", home / "authorized_keys")
    kind, text, *_ = (root / "etc/ssh/host_key.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{PORT} {kind} {text}\n")


def make_initrd(root: Path, folder: Path) -> None:
    """Write initrd.img, which loads the modules of the disk and starts systemd from it."""
    inside = folder / "initrd"
    for name in ("bin", "modules", "root", "proc", "sys", "dev"):
        (inside / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", inside / "bin")
    for name in _MODULES:
        (path,) = (root / "lib/modules").rglob(f"{name}.ko")
        shutil.copy(path, inside / "modules")
    (inside / "init").write_text(_INIT.format(modules=" ".join(_MODULES)))
    (inside / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(inside)) for path in sorted(inside.rglob("*")))
    with (folder / "initrd.img").open("wb") as target:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet"],
            input=names.encode(),
            stdout=target,
            cwd=inside,
            check=True,
        )


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise LmedgeError(f"{Path(command[0]).name} failed: {lines[-1]}")


@click.command()
@click.argument("folder", type=PATH)
@click.option("--mirror", metavar="URL", help="Debian mirror  [default: debootstrap's own]")
@click.option("--megabytes", type=click.IntRange(1024), default=2048, show_default=True)
def main(folder: Path, mirror: str | None, megabytes: int) -> None:
    """Make FOLDER with vmlinuz, initrd.img, disk.img, and the keys that let ssh in."""
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise MissingDependencyError(f"{tool} is missing: sudo apt install {package}")
    if folder.exists():
        raise LmedgeError(f"{folder} exists; remove it or choose another folder")
    folder.mkdir(parents=True)
    click.echo("downloading and unpacking Debian for ARM64")
    root = make_root(folder, mirror)
    let_in(root, folder)
    click.echo("downloading and unpacking the wheels")
    packages = root / "usr/lib/python3/dist-packages"
    make_packages(packages, folder / "wheels", *ALSO)
    # Compiling takes minutes in the emulator; both Pythons are of one version.
    for place in (packages, root / "usr/lib/python3.11"):
        compileall.compile_dir(
            place,
            quiet=2,
            stripdir=str(root),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    shutil.copy(kernel, folder / "vmlinuz")
    make_initrd(root, folder)
    disk = str(folder / "disk.img")
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(root), disk, f"{megabytes}M")
    click.echo(f"made: {folder}")


if __name__ == "__main__":
    run_study(main)
