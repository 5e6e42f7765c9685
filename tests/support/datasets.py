"""Writes tiny data sets, each in its known layout. No two images have the same pixels."""

import hashlib
import os
import pickle
import struct
from pathlib import Path

import torch
from PIL import Image
from scipy.io import savemat

from models import vision

HOSTILE = [
    "<b>",
    "=cmd()",
    "a$b^$c",
    "e\u0301t\u00e9",
    "[red]",
]  # names of classes; one in two forms of é
TRAIN, TEST = 60, 20  # images of the official parts, in ten classes


def noise(seed: int, *shape: int) -> torch.Tensor:
    """Random bytes of a shape."""
    return torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def save(
    path: Path, seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB", **options
) -> Path:
    """Write an image of noise, of width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    if mode in ("RGB", "L", "RGBA", "LA"):
        shape = (height, width) if mode == "L" else (height, width, len(mode))
        image = Image.fromarray(noise(seed, *shape).numpy())
    else:
        image = Image.fromarray(noise(seed, height, width).numpy()).convert(mode)
    image.save(path, **options)
    return path


def write_folder(
    root: Path, parts=("train/",), classes=("cat", "dog"), count: int = 12, **options
) -> Path:
    """A folder of images: ``<part><class>/<number>.png``."""
    for part in parts:
        for name in classes:
            for number in range(count):
                path = f"{part}{name}/{number:02}.png"
                save(
                    root / path,
                    int(hashlib.sha256(os.fsencode(path)).hexdigest()[:8], 16),
                    **options,
                )
    return root


def write_nasty(root: Path) -> Path:
    """Write a folder with images of every mode and size, hostile names, and other files."""
    modes = ["RGB", "L", "RGBA", "P", "LA", "1", "CMYK", "I;16"]
    for position, name in enumerate(HOSTILE):
        for number in range(8):
            mode, size = modes[number], (5 + 3 * position, 20 - number)
            kind = "tif" if mode == "CMYK" else "png"
            save(
                root / "train" / name / "deeper" / f"{number}.{kind}",
                10 * position + number,
                size,
                mode,
            )
        (root / "train" / name / "notes.txt").write_text("no image")
    (root / "train" / "empty").mkdir()
    save(root / "train" / ".hidden" / "1.png")
    save(root / "train" / HOSTILE[0] / ".hidden.png")
    (root / "train" / "README.md").write_text("no image")
    return root


def write_tiny_imagenet(data_dir: Path, _patch=None, name: str = "tiny-imagenet-200") -> Path:
    """A Tiny-ImageNet of 3 classes, 20 + 4 images each, two of one title."""
    root, rows = data_dir / name, []
    for position, wnid in enumerate(("n003", "n001", "n002")):
        for number in range(20):
            save(
                root / "train" / wnid / "images" / f"{wnid}_{number}.JPEG",
                100 * position + number,
                (16, 16),
            )
        for number in range(4):
            file = f"val_{4 * position + number}.JPEG"
            save(root / "val" / "images" / file, 1000 + 4 * position + number, (16, 16))
            rows.append(f"{file}\t{wnid}\t0\t1\t2\t3\n")
    save(root / "test" / "images" / "test_0.JPEG")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("n003\nn001\nn002\n")
    (root / "words.txt").write_text(
        "n000\tentity\nn001\tcrane, bird\nn002\tcrane\nn003\tgoldfish, Carassius auratus\n"
    )
    return root


def idx(array: torch.Tensor) -> bytes:
    """A uint8 tensor in the format of the MNIST files."""
    return (
        struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
        + array.numpy().tobytes()
    )


def _idx_files(folder: str, train: str, test: str):
    def write(data_dir: Path, _patch) -> None:
        raw = data_dir / folder / "raw"
        raw.mkdir(parents=True)
        for seed, part, count in ((1, train, TRAIN), (2, test, TEST)):
            (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(noise(seed, count, 28, 28)))
            (raw / f"{part}-labels-idx1-ubyte").write_bytes(
                idx(torch.arange(count).remainder(10).to(torch.uint8))
            )

    return write


def write_svhn(data_dir: Path, patch) -> None:
    """SVHN's two files, of whose sums torchvision is told; the digit 0 has the label 10."""
    known = {}
    for seed, part, count in ((1, "train", TRAIN), (2, "test", TEST)):
        path = data_dir / f"{part}_32x32.mat"
        labels = torch.arange(count).remainder(10).add(1).to(torch.uint8)
        savemat(
            path, {"X": noise(seed, 32, 32, 3, count).numpy(), "y": labels.unsqueeze(1).numpy()}
        )
        known[part] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    patch.setattr(vision.part("datasets").SVHN, "split_list", known)


def write_cifar(data_dir: Path, patch, name: str = "CIFAR10", batches: int = 2) -> None:
    """A CIFAR in batches, of whose sums torchvision is told."""
    known = getattr(vision.part("datasets"), name)
    folder = data_dir / known.base_folder
    folder.mkdir()
    fine = name == "CIFAR100"

    def write(file, content):
        (folder / file).write_bytes(pickle.dumps(content))
        return [file, hashlib.md5((folder / file).read_bytes()).hexdigest()]

    def batch(seed, count):
        labels = [n % 10 for n in range(count)]
        return {
            "data": noise(seed, count, 3072).numpy(),
            "fine_labels" if fine else "labels": labels,
        }

    trains = [write(f"train_{n}", batch(n, TRAIN // batches)) for n in range(batches)]
    key = "fine_label_names" if fine else "label_names"
    meta, md5 = write("meta", {key: [f"class {n}" for n in range(100 if fine else 10)]})
    patch.setattr(known, "train_list", trains)
    patch.setattr(known, "test_list", [write("test", batch(99, TEST))])
    patch.setattr(known, "meta", {"filename": meta, "key": key, "md5": md5})


# How each data set is written below a data folder.
LAYOUTS = {
    "digits": lambda data_dir, patch: None,
    "few_digits": lambda data_dir, patch: None,
    "mnist": _idx_files("MNIST", "train", "t10k"),
    "fashion_mnist": _idx_files("FashionMNIST", "train", "t10k"),
    "kmnist": _idx_files("KMNIST", "train", "t10k"),
    "emnist": _idx_files("EMNIST", "emnist-balanced-train", "emnist-balanced-test"),
    "svhn": write_svhn,
    "cifar10": write_cifar,
    "cifar100": lambda data_dir, patch: write_cifar(data_dir, patch, "CIFAR100", 1),
    "tiny_imagenet": write_tiny_imagenet,
}
