"""The cache of decoded images: made once, by one process, whole or not at all, and noticed when damaged."""

import io
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from support.datasets import noise

from pipeline.data import cache
from pipeline.data.cache import LOCK_FILE
from pipeline.system.errors import IntegrityFailure
from pipeline.system.files import cache_folder

SHAPE = (5, 3, 4, 4)
PIXELS = noise(0, *SHAPE)


class Maker:
    """Makes images and counts how often."""

    def __init__(self, fails=None):
        self.count, self.fails = 0, fails

    def __call__(self):
        def blocks():
            for part in PIXELS.split(2):
                yield part.numpy().tobytes()
            if self.fails:
                raise self.fails

        self.count += 1
        return cache.Decoding(SHAPE, blocks)


def files():
    return sorted(path.name for path in cache_folder().iterdir())


def test_made_once():
    """Images are made the first time only; their file can be read by anything that reads safetensors."""
    make = Maker()
    assert torch.equal(cache.load_or_decode("key", make), PIXELS)
    assert torch.equal(cache.load_or_decode("key", make), PIXELS)
    assert make.count == 1
    assert files() == ["key.safetensors", LOCK_FILE]
    assert torch.equal(load_file(cache_folder() / "key.safetensors")["images"], PIXELS)


def test_mapped_from_the_file():
    """What is returned is the file's pages, not a copy of them; and writing to it leaves the file as it is."""
    found = cache.load_or_decode("key", Maker())
    assert str(cache_folder() / "key.safetensors") in Path("/proc/self/maps").read_text()
    found.zero_()
    assert torch.equal(cache.load_or_decode("key", Maker()), PIXELS)


def damaged(damage):
    def apply(path):
        content = bytearray(path.read_bytes())
        path.write_bytes(damage(content))

    return apply


def flip(content):
    content[-7] ^= 1
    return content


@pytest.mark.parametrize(
    "damage",
    [
        damaged(lambda content: content[:-1]),
        damaged(lambda content: content + b"x"),
        damaged(lambda content: content[:4]),
        damaged(lambda content: b""),
        damaged(lambda content: content[:8] + b"x" + content[9:]),
        damaged(lambda content: content.replace(b"crc32", b"other")),
        damaged(lambda content: content.replace(b"images", b"others")),
        damaged(flip),
        lambda path: path.unlink(),
    ],
)
def test_made_anew(damage):
    """A file that is short, long, of another header or of another content is made anew."""
    cache.load_or_decode("key", Maker())
    damage(cache_folder() / "key.safetensors")
    make = Maker()
    assert torch.equal(cache.load_or_decode("key", make), PIXELS)
    assert make.count == 1
    assert torch.equal(cache.load_or_decode("key", make), PIXELS)
    assert make.count == 1


@pytest.mark.parametrize("error", [IntegrityFailure("damaged"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(error):
    """Where making fails half way, or is interrupted, nothing is left."""
    with pytest.raises(type(error)):
        cache.load_or_decode("key", Maker(error))
    assert files() == [LOCK_FILE]
    assert torch.equal(cache.load_or_decode("key", Maker()), PIXELS)


def test_left_by_a_killed_process():
    """What a process left behind that was killed while it wrote is cleared away; files of others are kept."""
    (cache_folder() / "sweep-pipeline-other.part").write_bytes(b"half")
    others = {"download.part": b"mine", "key.part": b"mine, too", "lock": b"nobody's"}
    for name, content in others.items():
        (cache_folder() / name).write_bytes(content)
    cache.load_or_decode("key", Maker())
    assert files() == sorted([*others, "key.safetensors", LOCK_FILE])
    assert {name: (cache_folder() / name).read_bytes() for name in others} == others


def test_unwritable(monkeypatch, tmp_path, capsys):
    """Where the cache's folder cannot be made, images are made in memory, and one line says so."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PIPELINE_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert torch.equal(cache.load_or_decode("key", Maker()), PIXELS)
    said = capsys.readouterr().err
    assert said.startswith(
        f"no cache of decoded images can be written ({tmp_path / 'file' / 'below'}: Not a directory)"
    )
    assert said.count("\n") == 1


def test_full_disk(full_disk, capsys):
    """Where the disk is full images are made in memory, and nothing is left on it."""
    with full_disk(300):
        assert torch.equal(cache.load_or_decode("key", Maker()), PIXELS)
    assert "File too large" in capsys.readouterr().err
    assert files() == [LOCK_FILE]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PIPELINE_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"PIPELINE_CACHE_DIR": "", "XDG_CACHE_HOME": "/b"}, "/b/sweep-pipeline"),
        (
            {"PIPELINE_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": "/c"},
            "/c/.cache/sweep-pipeline",
        ),
    ],
)
def test_folder(monkeypatch, variables, expected):
    """PIPELINE_CACHE_DIR, or else the user's cache, says where it is."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


BUILD = """
import sys, time
from pipeline.data import cache
def blocks():
    open(sys.argv[1], "a").write("made\\n")
    time.sleep(0.5)
    yield bytes(12)
print(int(cache.load_or_decode("key", lambda: cache.Decoding((1, 3, 2, 2), blocks)).sum()))
"""


def test_two_processes_at_once(tmp_path):
    """Of two processes that want the same images one makes them, and the other waits for it."""
    log = tmp_path / "log"
    command, root = [sys.executable, "-c", BUILD, str(log)], Path(__file__).parents[2]
    both = [
        subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in both] == ["0\n", "0\n"]
    assert log.read_text() == "made\n"


def _hold(place, ready, release):
    with FileLock(place / LOCK_FILE):
        ready.set()
        release.wait(30)


def test_waiting_is_said(monkeypatch):
    """Who waits for another process says so."""
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()

    class Heard(io.StringIO):
        """What is said; it is for this that the other process waits."""

        def write(self, text):
            release.set()
            return super().write(text)

    said = Heard()
    monkeypatch.setattr(sys, "stderr", said)
    cache_folder().mkdir(exist_ok=True)
    holder = context.Process(target=_hold, args=(cache_folder(), ready, release))
    holder.start()
    assert ready.wait(30)
    cache.load_or_decode("key", Maker())
    holder.join()
    notice = f"waiting for another process that decodes images into {cache_folder()}"
    assert notice in said.getvalue()
