"""Checkpoints are whole or refused: whatever happens to a file, what is read back is what was written."""

import dataclasses
import errno
import hashlib
import json
import os
import pickle
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

import models
from pipeline import checkpoints
from pipeline.checkpoints import (
    BEST,
    Card,
    Folder,
    check_links,
    load,
    load_model,
    save,
    trial_folder,
)
from pipeline.system import named_files
from pipeline.system.errors import IntegrityFailure, StorageFailure
from pipeline.training.state import optimizer_tensors, restore_optimizer
from sweeps.trial import configure

TENSORS = {
    "a": torch.arange(600.0).view(20, 30),
    "b": torch.tensor(7),
    "c": torch.tensor([], dtype=torch.float64),
}
FACTS = {"epoch": 3, "text": "é漢\n", "values": [1.5, None, True], "worst": float("inf")}


@pytest.fixture
def path(tmp_path):
    """A checkpoint as written."""
    file = tmp_path / "a folder" / "epoch-00001.safetensors"
    save(file, TENSORS, FACTS)
    return file


@pytest.fixture
def finished(tmp_path):
    """A finished network's folder, the network and its card."""
    config = configure({"family": "mlp", "width": 8, "depth": 1, "activation": "gelu"})
    network = models.build(config.family, (1, 4, 4), 3, config.options)
    card = Card(
        config=config,
        classes=("one", "two", "<b>three"),
        shape=(1, 4, 4),
        mean=(0.25,),
        std=(0.5,),
        epoch=2,
        metrics={"val/acc": 0.5},
    )
    checkpoints.save_model(tmp_path / BEST, network.state_dict(), card)
    return tmp_path, network.eval(), card


def same(tensors, others):
    """Whether two mappings hold the same tensors, bit for bit."""
    return tensors.keys() == others.keys() and all(
        torch.equal(tensors[k], others[k]) and tensors[k].dtype == others[k].dtype for k in tensors
    )


def sums(path):
    return path.with_name(path.name + ".sha256")


def forge(path, content):
    """Put other content in a checkpoint's place, with the sum that fits it."""
    path.write_bytes(content)
    sums(path).write_text(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")


def test_round_trip(path):
    """Tensors of every shape and facts come back equal, and nothing else lies in the folder."""
    tensors, facts = load(path)
    assert same(tensors, TENSORS)
    assert facts == FACTS
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + ".sha256"]


def test_tensors_of_any_layout(path):
    """Views, transposed and channels-last tensors, and parameters, are written by their values."""
    odd = {
        "transposed": TENSORS["a"].T,
        "view": TENSORS["a"][:, 3],
        "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    save(path, odd, {})
    assert same(load(path)[0], {name: tensor.detach() for name, tensor in odd.items()})


def test_sum_is_in_the_format_of_sha256sum(path):
    """`sha256sum --check` agrees, also after the file was written a second time."""
    for _ in range(2):
        subprocess.run(
            ["sha256sum", "--check", "--strict", sums(path).name], cwd=path.parent, check=True
        )
        save(path, {"a": torch.zeros(3)}, {})


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_truncated(path, share):
    """A file cut off anywhere is refused with exit code 6, naming it."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        IntegrityFailure, match=r"epoch-00001\.safetensors does not match its SHA-256"
    ) as failure:
        load(path)
    assert failure.value.code == 6


@pytest.mark.parametrize("place", [0, 8, 200, -1])
def test_flipped_bit(path, place):
    """One flipped bit, in the header, the facts or the weights, is noticed."""
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    with pytest.raises(IntegrityFailure, match="SHA-256"):
        load(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\xff", b"abc  epoch-00001.safetensors\n", b"\n\n", b"0" * 64 + b"  x\n"],
)
def test_damaged_sum(path, content):
    """A damaged sum, of any bytes, refuses the file."""
    sums(path).write_bytes(content)
    with pytest.raises(IntegrityFailure, match="SHA-256"):
        load(path)


def test_missing(path):
    """A missing file and a missing sum are said in one line."""
    sums(path).unlink()
    with pytest.raises(IntegrityFailure, match=r"cannot read checkpoint .*: No such file"):
        load(path)
    with pytest.raises(IntegrityFailure, match=r"cannot read checkpoint .*: No such file"):
        load(path.with_name("other"))
    with pytest.raises(IntegrityFailure, match=r"cannot read checkpoint .*: Is a directory"):
        load(path.parent)


def test_replaced(path):
    """Another checkpoint in its place is noticed."""
    other = path.with_name("other.safetensors")
    save(other, {"a": torch.zeros(2)}, {})
    other.replace(path)
    with pytest.raises(IntegrityFailure, match="damaged or replaced"):
        load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        pickle.dumps({"a": 1}),
        safetensors.torch.save({"a": torch.ones(1)}),
        safetensors.torch.save({"a": torch.ones(1)}, metadata={"facts": "{"}),
        safetensors.torch.save({"a": torch.ones(1)}, metadata={"other": "{}"}),
    ],
)
def test_no_checkpoint(path, content):
    """A file that is none of ours is refused, though its sum fits."""
    forge(path, content)
    with pytest.raises(IntegrityFailure, match="is no checkpoint"):
        load(path)


def test_pickle_is_not_unpickled(path, tmp_path):
    """A pickle, which can run anything, is refused unread: plain or as torch writes it."""

    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    torch.save({"weights": Bomb()}, path)
    for content in (pickle.dumps(Bomb()), path.read_bytes()):
        forge(path, content)
        for read in (load, load_model):
            with pytest.raises(IntegrityFailure):
                read(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_failing_write(path, monkeypatch, call):
    """Where the disk fails at any step, the old file stays whole, and the failure has exit code 5 and the cause."""
    calls, fsync = [], os.fsync

    def fail(descriptor):
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageFailure, match=r"a folder.*No space left") as failure:
            save(path, {"a": torch.zeros(9)}, {"epoch": 4})
    assert failure.value.code == 5
    assert list(path.parent.glob("*.tmp")) == []
    tensors, facts = load(path)
    assert facts == (
        FACTS if call < 4 else {"epoch": 4}
    )  # by the fourth the new file stands under its name
    assert same(tensors, TENSORS if call < 4 else {"a": torch.zeros(9)})


@pytest.mark.parametrize("size", [10, 1000])
def test_full_disk(path, full_disk, size):
    """Where the disk is full, for the sum or for the file, the old file stays whole and no rest of the new one."""
    with full_disk(size), pytest.raises(StorageFailure, match="a folder"):
        save(path, {"a": torch.zeros(900)}, {})
    assert same(load(path)[0], TENSORS)
    assert list(path.parent.glob("*.tmp")) == []


@pytest.mark.parametrize("step", range(1, 5))
def test_killed_between_two_steps(path, monkeypatch, step):
    """A process that dies between any two steps of writing leaves the old file or the new one, whole."""

    class Killed(BaseException):
        pass

    calls, replace = [], type(path).replace

    def die(self, target):
        calls.append(target)
        if 2 * len(calls) - 1 == step:
            raise Killed
        replace(self, target)
        if 2 * len(calls) == step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "replace", die)
        with pytest.raises(Killed):
            save(path, {"a": torch.zeros(9)}, {})
    tensors, _ = load(path)
    assert same(tensors, {"a": torch.zeros(9)}) or same(tensors, TENSORS)


def states(folder, *epochs):
    """States of several epochs at once, as a crash between writing one and removing another leaves them."""
    for epoch in epochs:
        save(
            folder.path / f"epoch-{epoch:05d}.safetensors",
            {"a": torch.tensor(epoch)},
            {"epoch": epoch},
        )
    return folder


def test_newest_state(tmp_path):
    """The newest of several states is read; writing one leaves the one before it, and removes older ones."""
    folder = states(Folder(tmp_path), 9, 10)
    assert folder.latest()[1] == {"epoch": 10}
    folder.save_state(11, {"a": torch.tensor(11)}, {"epoch": 11})
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "epoch-00010.safetensors",
        "epoch-00010.safetensors.sha256",
        "epoch-00011.safetensors",
        "epoch-00011.safetensors.sha256",
    ]
    assert folder.latest()[1] == {"epoch": 11}


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:50]),
        lambda file: file.write_bytes(b""),
        lambda file: sums(file).unlink(),
        lambda file: sums(file).write_bytes(b"\xff"),
        lambda file: file.rename(file.with_name(file.name + ".tmp")),
    ],
)
def test_damaged_state(tmp_path, damage):
    """A damaged state is passed over for the one before it, and removed; so is what a crash left half-written."""
    folder = states(Folder(tmp_path), 4, 5)
    damage(tmp_path / "epoch-00005.safetensors")
    tensors, facts = folder.latest()
    assert (int(tensors["a"]), facts["epoch"]) == (4, 4)
    assert not (tmp_path / "epoch-00005.safetensors").exists()
    assert list(tmp_path.glob("*.tmp")) == []
    (tmp_path / "epoch-00004.safetensors").write_bytes(b"x")
    assert folder.latest() is None


def test_failing_state_keeps_the_one_before(tmp_path, full_disk):
    """A state that finds no space leaves the one before it to go on from."""
    folder = states(Folder(tmp_path), 1)
    with full_disk(500), pytest.raises(StorageFailure):
        folder.save_state(2, {"a": torch.zeros(900)}, {})
    assert folder.latest()[1] == {"epoch": 1}


def test_one_state_of_a_paused_trial(tmp_path):
    """A paused trial keeps the state of its epoch alone, whatever else an earlier trial left there."""
    folder = states(Folder(tmp_path / "0001"), 1, 2)
    save(tmp_path / "0001" / "epoch-00009.safetensors", TENSORS, FACTS)
    folder.keep_state(2)
    names = sorted(path.name for path in folder.path.iterdir())
    assert names == ["epoch-00002.safetensors", "epoch-00002.safetensors.sha256"]
    folder.keep_state(3)
    assert folder.latest() is not None


def test_clear(tmp_path):
    """Clearing leaves nothing, also where there is nothing."""
    folder = states(Folder(tmp_path / "0001"), 1, 2)
    folder.clear()
    folder.clear()
    assert not folder.path.exists()
    assert folder.latest() is None


def test_kept(tmp_path):
    """What is kept of a trial are its best weights and, below them, each epoch's, with their sums; no state."""
    folder = states(Folder(tmp_path / "0001"), 9, 10)
    assert list(folder.artifacts()) == []
    save(folder.best, TENSORS, FACTS)
    for epoch in (1, 2, 10_000):
        save(folder.epoch(epoch), TENSORS, FACTS)
    names = [f"epochs/{name}.safetensors" for name in ("0001", "0002", "10000")]
    expected = [(name, "checkpoint/epochs") for name in names] + [(BEST, "checkpoint")]
    assert [
        (path.relative_to(folder.path).as_posix(), place) for path, place in folder.artifacts()
    ] == sorted([*expected, *((f"{name}.sha256", place) for name, place in expected)])
    folder.clear()
    assert list(folder.artifacts()) == []


@pytest.mark.parametrize("part", ["", BEST])
def test_load_model(finished, part):
    """From the file or its folder comes the same network, in evaluation mode, with an equal card."""
    folder, network, card = finished
    found, read = load_model(str(folder / part))
    images = torch.randn(5, 1, 4, 4)
    assert torch.equal(found(images), network(images))
    assert not found.training
    assert read == card


@pytest.mark.parametrize("family", models.FAMILIES)
def test_load_model_of_every_family(family, tmp_path):
    """A network of any family comes back by its card alone."""
    config = configure({"family": family, "width": 4})
    network = models.build(config.family, (1, 16, 16), 3, config.options).eval()
    blank = {"mean": (0.0,), "std": (1.0,), "epoch": 1, "metrics": {}}
    checkpoints.save_model(
        tmp_path / BEST,
        network.state_dict(),
        Card(config=config, classes=("a", "b", "c"), shape=(1, 16, 16), **blank),
    )
    found, card = load_model(tmp_path)
    images = torch.randn(5, 1, 16, 16)
    assert torch.equal(found(images), network(images))
    assert card.config == config


def changed(folder, tensors=None, **facts):
    """Rewrite a finished network's file with other facts, as a stranger could: the sum fits."""
    old, card = load(folder / BEST)
    save(folder / BEST, old if tensors is None else tensors, {**card, **facts})


@pytest.mark.parametrize(
    "facts",
    [
        {"config": {"family": "mlp", "width": 9}},
        {"config": {"family": "mlp", "wdth": 8}},
        {"config": {"family": "mlpp"}},
        {"config": {"family": "no_such_module:Net"}},
        {"config": {"family": "builtins:dict"}},
        {"config": None},
        {"classes": ["one"]},
        {"classes": 3},
        {"shape": [1, 4]},
        {"shape": [1, 4, "4"]},
        {"shape": [1, 4, -4]},
        {"extra": 1},
    ],
)
def test_card_that_does_not_fit(finished, facts):
    """A card that is incomplete, or whose network is another or unknown here, is refused in one line."""
    changed(finished[0], **facts)
    with pytest.raises(IntegrityFailure, match="does not hold a network that this version builds"):
        load_model(finished[0])


def test_weights_that_do_not_fit(finished):
    """Weights of another network are refused."""
    changed(finished[0], {"a": torch.ones(1)})
    with pytest.raises(IntegrityFailure, match="does not hold a network"):
        load_model(finished[0])


@pytest.mark.parametrize(
    "family", ["subprocess:Popen", "subprocess:check_call", f"{__name__}:Touch"]
)
def test_card_calls_networks_only(finished, tmp_path, monkeypatch, family):
    """A stranger's card cannot have anything called but a network: no program runs, no file is made."""
    monkeypatch.chdir(tmp_path)
    changed(finished[0], config={"family": family}, shape=["touch", str(tmp_path / "exploded")])
    with pytest.raises(IntegrityFailure):
        load_model(finished[0])
    changed(finished[0], shape=[1, 4, 4], classes=[str(tmp_path / "exploded")])
    with pytest.raises(IntegrityFailure):
        load_model(finished[0])
    assert not (tmp_path / "exploded").exists()


class Touch:
    """No network: making it leaves a file."""

    def __init__(self, shape, classes):
        Path("exploded").touch()


OPTIMIZERS = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "momentum": lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: Adam(p, lr=0.1),
    "adamw": lambda p: AdamW(p, lr=0.1, weight_decay=0.1),
    "fused": lambda p: Adam(p, lr=0.1, fused=True),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizer_round_trip(path, make):
    """An optimiser put back through a file takes the same steps as the one it was taken from, bit for bit."""

    def step(weights, optimizer):
        optimizer.zero_grad()
        (weights["a"].pow(3).sum() + weights["b"].sin().sum()).backward()
        optimizer.step()

    weights = {
        "a": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "b": torch.randn(5),
    }
    weights = {name: nn.Parameter(tensor) for name, tensor in weights.items()}
    optimizer = make(weights.values())
    for _ in range(3):
        step(weights, optimizer)
    tensors, facts = optimizer_tensors(optimizer)
    save(path, {**tensors, "a": weights["a"], "b": weights["b"]}, facts)

    stored, facts = load(path)
    again = {
        "a": torch.empty(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "b": torch.empty(5),
    }
    again = {name: nn.Parameter(tensor.copy_(stored.pop(name))) for name, tensor in again.items()}
    restored = make(again.values())
    restore_optimizer(restored, stored, facts)
    for _ in range(3):
        step(weights, optimizer)
        step(again, restored)
    assert torch.equal(weights["a"], again["a"])
    assert torch.equal(weights["b"], again["b"])


def test_facts_are_readable_without_the_product(finished):
    """The card is JSON in the file's metadata: any reader of safetensors sees what the network is."""
    with safetensors.safe_open(finished[0] / BEST, framework="pt") as file:
        card = json.loads(file.metadata()["facts"])
    assert card["config"] == finished[2].config.to_dict()
    assert card["classes"] == list(finished[2].classes)
    assert card.keys() == {field.name for field in dataclasses.fields(Card)}


def test_only_what_we_made_is_removed(tmp_path):
    """Of a trial's folder the checkpoints go, with their drafts; files of others stay, and so their folder."""
    folder = Folder(tmp_path / "0003")
    for number in (1, 2):
        save(folder.epoch(number), TENSORS, FACTS)
        folder.save_state(number, TENSORS, FACTS)
    save(folder.best, TENSORS, FACTS)
    (folder.path / ".best.safetensors.4711.tmp").write_bytes(b"half")
    folder.clear()
    assert not folder.path.exists()
    folder.save_state(1, TENSORS, FACTS)
    for name in ("thesis.txt", "draft.tmp", "mine.safetensors"):
        (folder.path / name).write_text("mine")
    folder.states()
    folder.clear()
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "draft.tmp",
        "mine.safetensors",
        "thesis.txt",
    ]


@pytest.mark.parametrize("linked", ["the study's", "the trial's", "of the epochs"])
def test_no_link_is_followed(tmp_path, linked):
    """Where a folder of checkpoints is a link, what it leads to stays as it is, and a sweep is refused there."""
    other = Folder(tmp_path / "other" / "0003")
    for number in (1, 2, 3):
        save(other.epoch(number), TENSORS, FACTS)
    save(other.best, TENSORS, FACTS)
    (other.path / ".best.safetensors.4711.tmp").write_bytes(b"half")
    before = sorted(other.path.rglob("*"))
    path = trial_folder(tmp_path, "study", 3)
    if linked == "the study's":
        path.parent.parent.mkdir()
        path.parent.symlink_to(tmp_path / "other")
    elif linked == "the trial's":
        path.parent.mkdir(parents=True)
        path.symlink_to(other.path)
    else:
        path.mkdir(parents=True)
        (path / "epochs").symlink_to(other.epochs)
    folder = Folder(path)
    folder.states()
    folder.clear()
    assert sorted(other.path.rglob("*")) == before
    if linked != "of the epochs":
        with pytest.raises(StorageFailure, match="is a link, and nothing is written or removed"):
            check_links(tmp_path, "study")


def test_all_checkpoints_may_lie_elsewhere(tmp_path):
    """The folder of all checkpoints may be a link, to another disk."""
    (tmp_path / "big").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "big")
    folder = Folder(trial_folder(tmp_path, "study", 3))
    save(folder.best, TENSORS, FACTS)
    check_links(tmp_path, "study")
    folder.clear()
    assert not (tmp_path / "big" / "study" / "0003").exists()


def test_code_outside_the_working_folder(tmp_path, monkeypatch):
    """What a card or a store names outside the working folder is refused until its user names it."""
    monkeypatch.setenv("PIPELINE_CACHE_DIR", str(tmp_path / "cache"))
    checkpoints.check_code({"family": "net.py:Net", "dataset": "folder:/photos", "augment": "none"})
    outside = tmp_path / "net.py"
    with pytest.raises(ValueError, match=f"names the file of {outside}:Net, which is outside"):
        checkpoints.check_code({"augment": f"{outside}:Net"})
    named_files.remember([outside])
    checkpoints.check_code({"augment": f"{outside}:Net"})
