"""Writes an archive for `docker load`: busybox from Debian's busybox-static, under the names that clients' tests use:
one image for all names that end alike, so that one of them can be pruned while another is used."""
import hashlib
import io
import json
import platform
import subprocess
import sys
import tarfile

BUSYBOX = "/bin/busybox"


def entry(name, kind=tarfile.REGTYPE, mode=0o755, link="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, size
    return info


def layer(kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ["bin", "dev", "etc", "etc/config", "proc", "sys", "root", "tmp", "usr", "usr/bin", "usr/sbin", "var", "var/opt", "www"]:
            tar.addfile(entry(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755))
        binary = open(BUSYBOX, "rb").read()
        tar.addfile(entry("bin/busybox", size=len(binary)), io.BytesIO(binary))
        applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for applet in sorted(set(applets) - {"busybox"}):
            tar.addfile(entry(f"bin/{applet}", tarfile.SYMTYPE, link="busybox"))
        for name, mode, text in [
            ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70::/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
            ("etc/group", 0o644, "root:x:0:\npostgres:x:70:\nnobody:x:65534:\n"),
            ("etc/alpine-release", 0o644, "3.10.0\n"),
            ("etc/config/uhttpd", 0o644, "\nconfig uhttpd main\n"),
            ("etc/image", 0o644, kind + "\n"),
            ("hello", 0o755, "#!/bin/sh\necho\necho 'Hello from Docker!'\necho\n"),
            ("usr/sbin/run_uhttpd", 0o755, "#!/bin/sh\nexec httpd \"$@\"\n"),
        ]:
            tar.addfile(entry(name, mode=mode, size=len(text)), io.BytesIO(text.encode()))
    return buffer.getvalue()


def image(kind):
    """Name and bytes of the configuration, name and bytes of the layer."""
    content = layer(kind)
    digest = hashlib.sha256(content).hexdigest()
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64"),
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "busybox-static"}],
    }).encode()
    return hashlib.sha256(config).hexdigest() + ".json", config, digest + ".tar", content


def main(path, names):
    kinds = {}
    for name in names:
        kinds.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    manifest, members = [], []
    for kind, tags in kinds.items():
        config_name, config, layer_name, content = image(kind)
        manifest.append({"Config": config_name, "RepoTags": tags, "Layers": [layer_name]})
        members += [(config_name, config), (layer_name, content)]
    members.append(("manifest.json", json.dumps(manifest).encode()))
    with tarfile.open(path, "w") as tar:
        for member, data in members:
            tar.addfile(entry(member, mode=0o644, size=len(data)), io.BytesIO(data))


main(sys.argv[1], sys.argv[2:])
