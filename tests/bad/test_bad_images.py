# SPDX-License-Identifier: Apache-2.0
"""Images that are damaged, hostile or not there: one line, exit code 125, nothing left behind."""
import gzip
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tarfile

import pytest

from conftest import LIMIT_S, Proa, add_dir, add_file


@pytest.fixture
def own(proa, tmp_path):
    return Proa(tmp_path / "store", tmp_path / "run")


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data, *fields in entries:
            add_file(tar, name, data, 0o644, **(fields[0] if fields else {}))
    return out.getvalue()


GOOD = tar_of(("file", b"x" * 5000))


def docker_archive(layer=GOOD, diff_id=None, manifest=None, config=None, tags=("bad:1",)):
    config = config or json.dumps({"os": "linux", "architecture": "amd64",
                                   "rootfs": {"type": "layers", "diff_ids": [diff_id or sha(layer)]}}).encode()
    manifest = manifest or json.dumps([{"Config": "c.json", "RepoTags": list(tags), "Layers": ["l.tar"]}]).encode()
    return tar_of(("l.tar", layer), ("c.json", config), ("manifest.json", manifest))


def oci_archive(blob=GOOD, digest=None, size=None, layer_tar=GOOD, break_config=False):
    config = json.dumps({"os": "linux", "architecture": "amd64",
                         "rootfs": {"type": "layers", "diff_ids": [sha(layer_tar)]}}).encode()
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest or sha(blob), "size": len(blob)}
    manifest = json.dumps({"schemaVersion": 2, "config": {"digest": sha(config), "size": len(config)},
                           "layers": [layer]}).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [{"digest": sha(manifest), "size": len(manifest)}]}).encode()
    return tar_of(("oci-layout", b"{}"), ("index.json", index),
                  (f"blobs/sha256/{layer['digest'][7:]}", blob),
                  (f"blobs/sha256/{sha(config)[7:]}", config + b" " if break_config else config),
                  (f"blobs/sha256/{sha(manifest)[7:]}", manifest))


def refuse(own, data, *says, command=("load",)):
    """As a file and through a pipe."""
    path = pathlib.Path(own.root).parent / "bad.tar"
    path.write_bytes(data)
    source = ("-i", path) if command == ("load",) else (path,)
    for args, given in (((*command, *source), None),
                        (command if command == ("load",) else (*command, "-"), data)):
        done = own(*args, input=given, text=False)
        error = done.stderr.decode()
        assert done.returncode == 125, done
        assert error.startswith("proa: ") and error.count("\n") == 1, error
        for text in says:
            assert text in error, error
        nothing_left(own)


def nothing_left(own):
    assert list((own.root / "tmp").iterdir()) == []
    assert list((own.root / "layers").iterdir()) == []
    assert list((own.root / "images/blobs/sha256").iterdir()) == []
    assert own("images", "-q", check=True).stdout == ""


HOSTILE = {
    "dot-dot": [("../outside", b"x")],
    "hard link to outside": [("h", b"", {"type": tarfile.LNKTYPE, "linkname": "../../outside"})],
    "hard link to nothing": [("h", b"", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})],
    "file as a directory": [("f", b"x"), ("f/g", b"x")],
    "whiteout without a name": [(".wh.", b"")],
    "owner out of range": [("f", b"", {"uid": 1 << 40})],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_layers(own, case):
    layer = tar_of(("innocent", b"x"), *HOSTILE[case])
    name = HOSTILE[case][-1][0]
    refuse(own, docker_archive(layer), "layer l.tar", f'entry "{name}"')
    refuse(own, gzip.compress(docker_archive(gzip.compress(layer), diff_id=sha(layer))), "layer l.tar")
    assert not (own.root.parent / "outside").exists()


def test_what_a_hostile_layer_may_do_stays_inside(own, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    layer = tar_of(("up", b"", {"type": tarfile.SYMTYPE, "linkname": "../" * 20 + str(tmp_path)[1:]}),
                   ("abs", b"", {"type": tarfile.SYMTYPE, "linkname": "/"}),
                   ("abs/tmp-of-the-image", b"inside"), ("/absolute", b"inside"))
    own("import", "-", "x", input=layer, text=False, check=True)
    [diff] = (own.root / "layers").glob("*/diff")
    assert (diff / "tmp-of-the-image").read_text() == "inside" and (diff / "absolute").read_text() == "inside"
    assert outside.read_text() == "untouched" and not pathlib.Path("/tmp-of-the-image").exists()


def test_damaged_archives(own):
    good = docker_archive()
    refuse(own, b"", "empty")
    refuse(own, b"not an archive at all" * 100, "neither a tar archive")
    refuse(own, good[:len(GOOD) // 2])
    refuse(own, gzip.compress(good)[:-20])
    refuse(own, gzip.compress(good)[:100] + bytes(100))
    refuse(own, GOOD, "proa import")


def test_wrong_digests(own):
    refuse(own, docker_archive(diff_id=sha(b"other")), "layer 1", "damaged", sha(GOOD))
    refuse(own, oci_archive(digest=sha(b"other")), "damaged", sha(b"other"))
    refuse(own, oci_archive(layer_tar=b"other"), "damaged")
    refuse(own, oci_archive(break_config=True), "configuration", "damaged")


def test_wrong_documents(own):
    refuse(own, docker_archive(manifest=b"{"), "manifest.json", "JSON")
    refuse(own, docker_archive(manifest=b"[]"), "manifest.json")
    refuse(own, docker_archive(manifest=b'[{"Config": "absent", "Layers": []}]'), "absent is not in it")
    refuse(own, docker_archive(manifest=b'[{"Config": "c.json", "Layers": ["absent"]}]'), "absent")
    refuse(own, docker_archive(manifest=b'[{"Config": "c.json", "Layers": ["c.json"]}]'))
    refuse(own, docker_archive(manifest=b'[{"Config": "../c.json", "Layers": []}]'), '".."')
    refuse(own, docker_archive(config=b'{"os":"windows","rootfs":{"diff_ids":["' + sha(GOOD).encode() + b'"]}}'),
           "windows")
    refuse(own, docker_archive(config=b'{"rootfs":{"diff_ids":["sha512:00"]}}'), "sha512")
    refuse(own, docker_archive(config=b'{"rootfs":{"diff_ids":[]}}'), "lists 0 layers")
    refuse(own, tar_of(("index.json", b'{"schemaVersion":2,"manifests":[]}')), "no image")
    refuse(own, tar_of(("index.json", b'{"schemaVersion":2,"manifests":[{"digest":"sha256:../../x","size":1}]}')),
           "digest")
    refuse(own, tar_of(("a", b"", {"type": tarfile.SYMTYPE, "linkname": "b"}),
                       ("b", b"", {"type": tarfile.SYMTYPE, "linkname": "a"})), "no image")


def test_bombs(own):
    own.env["PROA_MAX_LAYER_BYTES"] = "1m"
    bomb = tar_of(("zeros", bytes(5 << 20)))
    refuse(own, docker_archive(gzip.compress(bomb), diff_id=sha(bomb)), "limit", "PROA_MAX_LAYER_BYTES")
    refuse(own, gzip.compress(bytes(50 << 20)), "limit", command=("import",))


def test_bad_names_for_archived_images(own):
    """A name that is none does not keep the image out."""
    done = own("load", input=docker_archive(tags=["Not A Name"]), text=False, check=True)
    assert done.stdout.startswith(b"Loaded image ID: sha256:")


def test_unknown_images(own):
    for command in (("save", "-o", own.root.parent / "x"), ("rmi",), ("history",), ("inspect",), ("run", "--rm")):
        done = own(*command, "no-such-image")
        assert done.returncode != 0 and "no-such-image" in done.stderr, command
    assert not (own.root.parent / "x").exists()
    done = own("tag", "no-such-image", "a")
    assert done.returncode == 125 and "is not in the store: load it with proa load" in done.stderr


def test_bad_arguments(own, tmp_path):
    own("import", "-", "good", input=GOOD, text=False, check=True)
    for args, says in ((("tag", "good", "Upper"), "lower-case"),
                       (("load", "-i", tmp_path / "absent"), "No such file"),
                       (("load", "-i", "a", "b"), "twice"),
                       (("import", tmp_path), "directory"),
                       (("import", "--change", "FROM x", "/dev/null"), "FROM"),
                       (("import", "--change", 'ENV A="x', "/dev/null"), "quotation mark"),
                       (("import", "--platform", "plan9/amd64", "/dev/null"), "plan9"),
                       (("import", "/dev/null", "x"), "empty"),
                       (("save", "--format", "zip", "good"), "zip"),
                       (("save", "--format", "oci-dir", "good"), "-o DIR"),
                       (("save", "-o", "/nonexistent/x", "good"), "/nonexistent/x"),
                       (("images", "-f", "colour=red"), "colour=red"),
                       (("history",), ""), (("rmi",), "")):
        done = own(*args)
        assert done.returncode == 125 and says in done.stderr, (args, done)


def test_damaged_store(own):
    own("import", "-", "x", input=GOOD, text=False, check=True)
    image = json.loads(own("inspect", "x", check=True).stdout)[0]
    config = own.root / "images/blobs/sha256" / image["Id"][7:]
    config.write_bytes(config.read_bytes() + b" ")
    done = own("run", "--rm", "x", "true")
    assert done.returncode == 125 and "damaged" in done.stderr
    (own.root / "images/index.json").write_text("{")
    done = own("images")
    assert done.returncode == 125 and "JSON" in done.stderr


def test_a_blob_damaged_on_disk_is_not_saved(own, tmp_path):
    own("import", "-", "x", input=GOOD, text=False, check=True)
    blob = own.root / "images/blobs/sha256" / sha(GOOD)[7:]
    data = bytearray(blob.read_bytes())
    data[600] ^= 1
    blob.write_bytes(data)
    done = own("save", "-o", tmp_path / "out.tar", "x")
    assert done.returncode == 125 and "damaged" in done.stderr
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("out")] == []


@pytest.fixture
def small_disk(tmp_path):
    (place := tmp_path / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_full_disk(proa, small_disk, tmp_path):
    full = Proa(small_disk / "store", tmp_path / "run")
    layer = tar_of(("big", os.urandom(4 << 20)))
    for way in ({"input": docker_archive(layer)}, {"input": gzip.compress(docker_archive(layer))}):
        done = full("load", text=False, **way)
        assert done.returncode == 125 and b"No space left on device" in done.stderr
        assert list((full.root / "tmp").iterdir()) == []
    full("import", "-", "small", input=GOOD, text=False, check=True)


def test_unwritable_store(proa, small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = Proa(small_disk / "store", tmp_path / "run")("images")
    assert done.returncode == 125 and "Read-only file system" in done.stderr and "--root" in done.stderr
