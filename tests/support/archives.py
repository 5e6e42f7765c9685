"""Writes archives, good ones and ones with hostile members."""

import gzip
import io
import stat
import tarfile
import zipfile


def write_tar(path, *members, mode="w:gz"):
    """A tar of a good file, and then of the members."""
    with tarfile.open(path, mode) as tar:
        for name, kind, target in [("good", tarfile.REGTYPE, ""), *members]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.size = 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"data") if member.size else None)
    return path


def good(tmp_path, kind):
    if kind == "tar.gz":
        return write_tar(tmp_path / "archive.tar.gz", ("a/b/c", tarfile.REGTYPE, ""))
    if kind == "tar":
        return write_tar(tmp_path / "archive.tar", ("a/b/c", tarfile.REGTYPE, ""), mode="w")
    if kind == "zip":
        return write_zip(tmp_path / "archive.zip", "a/b/c")
    path = tmp_path / "archive.gz"
    path.write_bytes(gzip.compress(bytes(range(256)) * 9))
    return path


def write_zip(path, *names, mode=stat.S_IFREG):
    """A zip of a good file, and then of the names."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("good", "data")
        for name in names:
            member = zipfile.ZipInfo(name)
            member.external_attr = (mode | 0o644) << 16
            packed.writestr(member, "data")
    return path
