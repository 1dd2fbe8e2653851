# SPDX-License-Identifier: Apache-2.0
"""Images: in and out of the store, with everybody's tools, and what is in them afterwards."""
import concurrent.futures
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tarfile
import tempfile
import time

import pytest

from conftest import LIMIT_S, Proa, add_dir, add_file

needs = lambda tool: pytest.mark.skipif(not shutil.which(tool), reason=f"{tool} is not installed")


@pytest.fixture
def own(proa, tmp_path):
    """A proa with a store of its own for the test."""
    return Proa(tmp_path / "store", tmp_path / "run")


def tar_bytes(*entries):
    """A tar of (name, data or None for a directory, fields…)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data, *fields in entries:
            if data is None:
                add_dir(tar, name)
            else:
                add_file(tar, name, data, 0o644, **(fields[0] if fields else {}))
    return out.getvalue()


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def oci_layout(layers, path, name="multi:1", media="tar", platforms=None, **config):
    """Writes an OCI layout whose layers are these blobs: [(blob, tar)]."""
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data):
        (blobs / sha(data)[7:]).write_bytes(data)
        return {"digest": sha(data), "size": len(data)}

    def image(architecture):
        text = json.dumps({"os": "linux", "architecture": architecture, "config": config,
                           "rootfs": {"type": "layers", "diff_ids": [sha(tar) for _, tar in layers]}})
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": dict(put(text.encode()), mediaType="application/vnd.oci.image.config.v1+json"),
                    "layers": [dict(put(blob), mediaType=f"application/vnd.oci.image.layer.v1.{media}")
                               for blob, _ in layers]}
        return dict(put(json.dumps(manifest).encode()), mediaType=manifest["mediaType"])

    if platforms:
        index = {"schemaVersion": 2, "manifests": [
            dict(image(arch), platform={"os": "linux", "architecture": arch}) for arch in platforms]}
        entry = dict(put(json.dumps(index).encode()), mediaType="application/vnd.oci.image.index.v1+json")
    else:
        entry = image("amd64")
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return path


def pack(directory, path, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name in sorted(os.listdir(directory)):
            tar.add(directory / name, name)
    return path


def inspect(proa, name):
    return json.loads(proa("inspect", name, check=True).stdout)[0]


def layers_of(proa):
    return sorted(p.name for p in (proa.root / "layers").iterdir())


def diff_dir(proa, tar):
    return proa.root / "layers" / sha(tar)[7:] / "diff"


BASE = tar_bytes(("etc", None), ("etc/keep", b"1"), ("etc/gone", b"2"), ("opaque", None), ("opaque/old", b"3"))
UPPER = tar_bytes(("etc", None), ("etc/.wh.gone", b""), ("opaque", None), ("opaque/.wh..wh..opq", b""),
                  ("opaque/new", b"4"))


# ---- formats -----------------------------------------------------------------------------------


def save_as(own, fmt, out, *names):
    own("save", "--format", fmt, "-o", out, *names, check=True)
    return out


@pytest.mark.parametrize("fmt", ["docker-archive", "oci-archive", "oci-dir"])
def test_save_and_load_keep_everything(own, tmp_path, fmt):
    own("load", "-i", oci_layout([(BASE, BASE), (gzip.compress(UPPER), UPPER)], tmp_path / "in", media="tar"),
        check=True)
    before = inspect(own, "multi:1")
    saved = save_as(own, fmt, tmp_path / "saved", "multi:1")
    own("rmi", "multi:1", check=True)
    assert layers_of(own) == []
    done = own("load", "-i", saved, check=True)
    assert done.stdout == "Loaded image: multi:1\n"
    after = inspect(own, "multi:1")
    assert before["Id"] == after["Id"]
    assert before["RepoDigests"] == after["RepoDigests"]


def test_the_same_save_gives_the_same_bytes(own, tmp_path):
    own("load", "-i", oci_layout([(BASE, BASE)], tmp_path / "in"), check=True)
    one, two = (save_as(own, "docker-archive", tmp_path / n, "multi:1").read_bytes() for n in "ab")
    assert one == two


@pytest.mark.parametrize("way", ["file", "stdin", "gzip", "zstd", "xz"])
@pytest.mark.parametrize("fmt", ["docker-archive", "oci-archive"])
def test_archives_by_every_way_in(own, tmp_path, fmt, way):
    own("load", "-i", oci_layout([(BASE, BASE), (UPPER, UPPER)], tmp_path / "in"), check=True)
    before = inspect(own, "multi:1")["Id"]
    archive = save_as(own, fmt, tmp_path / "a.tar", "multi:1")
    own("rmi", "multi:1", check=True)
    if way == "file":
        own("load", "-i", archive, check=True)
    else:
        data = archive.read_bytes()
        if way != "stdin":
            data = subprocess.run([way, "-c"], input=data, capture_output=True, check=True).stdout
        own("load", input=data, text=False, check=True)
    assert inspect(own, "multi:1")["Id"] == before
    assert len(layers_of(own)) == 2


def test_docker_archive_of_old(own, tmp_path):
    """manifest.json last, layers in directories of their own, equal ones as symbolic links, in any order."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["x"]},
                         "rootfs": {"type": "layers", "diff_ids": [sha(BASE), sha(UPPER), sha(BASE)]}}).encode()
    manifest = [{"Config": "c.json", "RepoTags": ["old:1", "localhost/old:2"],
                 "Layers": ["aa/layer.tar", "bb/layer.tar", "cc/layer.tar"]}]
    archive = tar_bytes(("aa", None), ("aa/layer.tar", BASE), ("aa/VERSION", b"1.0"), ("bb/layer.tar", UPPER),
                        ("cc/layer.tar", b"", {"type": tarfile.SYMTYPE, "linkname": "../aa/layer.tar"}),
                        ("c.json", config), ("repositories", b"{}"),
                        ("manifest.json", json.dumps(manifest).encode()))
    path = tmp_path / "old.tar"
    path.write_bytes(archive)
    for args, given in ((("-i", path), None), ((), archive)):
        done = own("load", *args, input=given, text=False, check=True)
        assert done.stdout == b"Loaded image: old:1\nLoaded image: localhost/old:2\n"
        assert inspect(own, "old:1")["Id"] == sha(config)
        assert len(layers_of(own)) == 2
        own("rmi", "-f", sha(config), check=True)


def test_the_platform_of_this_host_is_picked(own, tmp_path):
    host = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    own("load", "-i", oci_layout([(BASE, BASE)], tmp_path / "a", platforms=["s390x", host, "riscv64"]),
        check=True)
    assert inspect(own, "multi:1")["Architecture"] == host
    done = own("load", "-i", oci_layout([(BASE, BASE)], tmp_path / "b", platforms=["s390x", "mips64"]))
    assert done.returncode == 125 and "linux/s390x, linux/mips64" in done.stderr


@pytest.mark.parametrize("packer", ["gzip", "zstd", "xz"])
def test_compressed_layers(own, tmp_path, packer):
    blob = subprocess.run([packer, "-c"], input=BASE, capture_output=True, check=True).stdout
    own("load", "-i", oci_layout([(blob, BASE)], tmp_path / "in", media=f"tar+{packer}"), check=True)
    assert (diff_dir(own, BASE) / "etc/keep").read_text() == "1"


# ---- other people's tools ------------------------------------------------------------------------


@needs("skopeo")
def test_skopeo_reads_the_store_itself(own, busybox_archive):
    own("import", busybox_archive, "localhost/box:3", check=True)
    out = subprocess.run(["skopeo", "inspect", f"oci:{own.root}/images:localhost/box:3"], capture_output=True,
                         text=True, timeout=LIMIT_S, check=True).stdout
    assert json.loads(out)["Layers"] == inspect(own, "localhost/box:3")["RootFS"]["Layers"]


@needs("skopeo")
@pytest.mark.parametrize("ours,theirs", [("docker-archive", "docker-archive:{}"), ("oci-archive", "oci-archive:{}"),
                                         ("oci-dir", "oci:{}")])
def test_skopeo_copies_both_ways(own, tmp_path, ours, theirs):
    own("load", "-i", oci_layout([(BASE, BASE), (UPPER, UPPER)], tmp_path / "in"), check=True)
    saved = save_as(own, ours, tmp_path / "saved", "multi:1")
    for target in ("docker-archive:{}:back:1", "oci-archive:{}:back:1", "oci:{}:back:1"):
        copy = tmp_path / target.split(":")[0]
        subprocess.run(["skopeo", "copy", "--insecure-policy", theirs.format(saved), target.format(copy)],
                       capture_output=True, timeout=LIMIT_S, check=True)
        own("load", "-i", copy, check=True)
        assert inspect(own, "back:1")["RootFS"]["Layers"] == inspect(own, "multi:1")["RootFS"]["Layers"]


@pytest.fixture
def run_root():
    """podman takes no more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="pod") as path:
        yield path


@needs("podman")
@pytest.mark.parametrize("fmt", ["docker-archive", "oci-archive"])
def test_podman_loads_what_we_save_and_we_what_it_saves(own, tmp_path, run_root, fmt):
    podman = ["podman", "--root", tmp_path / "pod", "--runroot", run_root, "--storage-driver=vfs"]

    def run(*args):
        return subprocess.run([*podman, *args], capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout

    own("load", "-i", oci_layout([(BASE, BASE), (UPPER, UPPER)], tmp_path / "in", name="localhost/multi:1"),
        check=True)
    run("load", "-q", "-i", save_as(own, fmt, tmp_path / "saved", "localhost/multi:1"))
    assert json.loads(run("image", "inspect", "localhost/multi:1"))[0]["RootFS"]["Layers"] == [sha(BASE), sha(UPPER)]
    run("save", "-q", "--format", fmt, "-o", tmp_path / "theirs", "localhost/multi:1")
    own("rmi", "localhost/multi:1", check=True)
    assert "Loaded image: localhost/multi:1" in own("load", "-i", tmp_path / "theirs", check=True).stdout


@needs("umoci")
def test_umoci_unpacks_what_we_save(own, tmp_path):
    own("load", "-i", oci_layout([(BASE, BASE), (UPPER, UPPER)], tmp_path / "in"), check=True)
    layout = save_as(own, "oci-dir", tmp_path / "layout", "multi:1")
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = "one"
    (layout / "index.json").write_text(json.dumps(index))
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:one", tmp_path / "bundle"], capture_output=True,
                   timeout=LIMIT_S, check=True)
    root = tmp_path / "bundle/rootfs"
    assert sorted(os.listdir(root / "etc")) == ["keep"] and os.listdir(root / "opaque") == ["new"]


# ---- what is unpacked ----------------------------------------------------------------------------


def test_whiteouts_are_overlayfs_ready(own, tmp_path):
    own("load", "-i", oci_layout([(BASE, BASE), (UPPER, UPPER)], tmp_path / "in"), check=True)
    gone = (diff_dir(own, UPPER) / "etc/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    assert os.getxattr(diff_dir(own, UPPER) / "opaque", "trusted.overlay.opaque") == b"y"
    done = own("run", "--rm", "--network", "none", "multi:1", "true")
    assert done.returncode == 127  # there is no program in it, but its layers could be mounted


def test_debian_like_tree_is_as_tar_unpacks_it(own, busybox_archive, tmp_path):
    archive = tmp_path / "dated.tar"
    with tarfile.open(busybox_archive) as old, tarfile.open(archive, "w") as new:
        for n, member in enumerate(old):
            member.mtime, member.uid, member.gid = 10**9 + n, n, 2 * n
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    own("import", archive, "box", check=True)
    (reference := tmp_path / "reference").mkdir()
    subprocess.run(["tar", "-C", reference, "--numeric-owner",
                    "--delay-directory-restore", "-xpf", archive], check=True)

    def listing(top):
        out = []
        for path in sorted(top.rglob("*")):
            st = path.lstat()
            data = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
            out.append((str(path.relative_to(top)), st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, data))
        return out

    [layer] = (own.root / "layers").iterdir()
    assert listing(layer / "diff") == listing(reference)


def test_layers_are_shared(own, tmp_path):
    own("load", "-i", oci_layout([(BASE, BASE), (UPPER, UPPER)], tmp_path / "a", name="a:1"), check=True)
    own("load", "-i", oci_layout([(BASE, BASE)], tmp_path / "b", name="b:1"), check=True)
    assert len(layers_of(own)) == 2
    deleted = own("rmi", "a:1", check=True).stdout
    assert sha(UPPER) in deleted and sha(BASE) not in deleted
    assert layers_of(own) == [sha(BASE)[7:]]
    assert inspect(own, "b:1")["RootFS"]["Layers"] == [sha(BASE)]


def test_erofs_has_the_image(own, tmp_path):
    own("load", "-i", oci_layout([(BASE, BASE), (UPPER, UPPER)], tmp_path / "in"), check=True)
    tool = own.exe.parent / "proa-image"
    makers = [subprocess.Popen([tool, "erofs", "multi:1"], env=own.env, stdout=subprocess.PIPE, text=True)
              for _ in range(3)]
    paths = {maker.communicate(timeout=LIMIT_S)[0].strip() for maker in makers}
    assert len(paths) == 1 and not any(maker.returncode for maker in makers)
    (mount := tmp_path / "mnt").mkdir()
    subprocess.run(["mount", "-o", "loop,ro", "-t", "erofs", paths.pop(), mount], check=True)
    try:
        assert sorted(os.listdir(mount / "etc")) == ["keep"] and os.listdir(mount / "opaque") == ["new"]
    finally:
        subprocess.run(["umount", mount], check=True)
    assert str(own.root) not in pathlib.Path("/proc/mounts").read_text()
    own("rmi", "multi:1", check=True)
    assert not list((own.root / "erofs").glob("*.img"))


# ---- import --------------------------------------------------------------------------------------


def test_import_with_changes(own):
    changes = ['CMD ["a", "b c"]', "ENTRYPOINT run it", 'ENV A=1 B="x y"', "ENV C old form", "EXPOSE 80 90-91/udp",
               "LABEL k=v", "USER 5:6", "VOLUME /data", "WORKDIR /srv", "WORKDIR sub", "STOPSIGNAL SIGINT",
               "ONBUILD RUN x"]
    args = [word for change in changes for word in ("--change", change)]
    done = own("import", *args, "-m", "why", "-", "made:1", input=BASE, text=False, check=True)
    image = inspect(own, "made:1")
    config = image["Config"]
    assert done.stdout.decode().strip() == image["Id"]
    assert config["Cmd"] == ["a", "b c"] and config["Entrypoint"] == ["/bin/sh", "-c", "run it"]
    assert config["Env"] == ["A=1", "B=x y", "C=old form"]
    assert set(config["ExposedPorts"]) == {"80/tcp", "90/udp", "91/udp"}
    assert config["Labels"] == {"k": "v"} and config["User"] == "5:6" and set(config["Volumes"]) == {"/data"}
    assert config["WorkingDir"] == "/srv/sub" and config["StopSignal"] == "SIGINT" and config["OnBuild"] == ["RUN x"]
    assert own("history", "--format", "{{.Comment}}", "made:1", check=True).stdout == "why\n"


def test_import_without_a_name(own):
    image_id = own("import", "-", input=BASE, text=False, check=True).stdout.decode().strip()
    assert own("images", "--format", "{{.Repository}} {{.Tag}}", check=True).stdout == "<none> <none>\n"
    assert inspect(own, image_id[7:19])["Id"] == image_id


# ---- names and lists -----------------------------------------------------------------------------


def test_images_tag_rmi(own, tmp_path):
    own("import", "-", "one", input=BASE, text=False, check=True)
    own("tag", "one", "localhost:5000/two:v2", check=True)
    table = own("images", check=True).stdout.splitlines()
    assert table[0].split("  ")[0] == "REPOSITORY" and len(table) == 3
    assert {(line.split()[0], line.split()[1]) for line in table[1:]} == {("one", "latest"),
                                                                         ("localhost:5000/two", "v2")}
    assert len(own("images", "-q", check=True).stdout.split()) == 1
    assert own("images", "--format", "{{.Repository}}", "one", check=True).stdout == "one\n"
    assert own("images", "-f", "dangling=true", "-q", check=True).stdout == ""
    assert json.loads(own("images", "--json", check=True).stdout)[0]["Tag"] in ("latest", "v2")
    assert own("rmi", "one", check=True).stdout == "Untagged: one:latest\n"
    assert "Deleted: sha256:" in own("rmi", "localhost:5000/two:v2", check=True).stdout
    assert own("images", "-q", check=True).stdout == ""


def test_an_image_in_use_stays(proa, background):
    """In the common store: the image runs."""
    with background("echo ready; sleep 60"):
        done = proa("rmi", "busybox")
        assert done.returncode == 125 and "is used by container" in done.stderr
        proa("tag", "busybox", "other-name", check=True)
        assert proa("rmi", "other-name", check=True).stdout == "Untagged: other-name:latest\n"


def test_many_at_once(own, tmp_path):
    """Loads, tags and removals at the same time, of images that share a layer."""
    archives = []
    for i in range(4):
        own_layer = tar_bytes((f"file-{i}", b"x"))
        layout = oci_layout([(BASE, BASE), (own_layer, own_layer)], tmp_path / f"in-{i}", name=f"n{i}:1")
        archives.append(pack(layout, tmp_path / f"{i}.tar"))

    def work(i):
        for _ in range(3):
            own("load", "-i", archives[i], check=True)
            own("tag", f"n{i}:1", f"also{i}:1", check=True)
            own("rmi", f"n{i}:1", check=True)
            own("rmi", f"also{i}:1", check=True)
        own("load", "-i", archives[i], check=True)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(own("images", "--format", "{{.Repository}}", check=True).stdout.split()) == ["n0", "n1", "n2", "n3"]
    assert len(layers_of(own)) == 5
    for i in range(4):
        assert (diff_dir(own, BASE) / "etc/keep").exists()
        inspect(own, f"n{i}:1")


# ---- endings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL])
def test_a_load_that_was_ended_leaves_nothing(own, tmp_path, signo):
    archive = tar_bytes(("blobs/sha256/aa", tar_bytes(("big", bytes(3 << 20)))))
    load = own.popen("load", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    load.stdin.write(archive[:2 << 20])
    load.stdin.flush()
    deadline = time.monotonic() + LIMIT_S
    while not list((own.root / "tmp").glob("*/layer-0/diff/big")):
        assert time.monotonic() < deadline and load.poll() is None
    load.send_signal(signo)
    assert load.wait(LIMIT_S) != 0
    load.stdin.close()
    load.stderr.close()
    if signo == signal.SIGKILL:  # the next command tidies up
        own("load", "-i", oci_layout([(BASE, BASE)], tmp_path / "in"), check=True)
        own("rmi", "multi:1", check=True)
    assert list((own.root / "tmp").iterdir()) == []
    assert layers_of(own) == [] and list((own.root / "images/blobs/sha256").iterdir()) == []


def test_save_to_a_reader_that_goes_away(own):
    own("import", "-", "big", input=tar_bytes(("big", bytes(4 << 20))), text=False, check=True)
    save = own.popen("save", "big", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    save.stdout.read(1000)
    save.stdout.close()
    assert save.wait(LIMIT_S) == 125
    assert b"has gone" in save.stderr.read()
    save.stderr.close()
