"""Reads the source code of the project."""

from pathlib import Path

ROOT = Path(__file__).parents[2]

PRODUCT = ("models", "sweeps", "pipeline")
TOPS = (*PRODUCT, "benchmarks", "tests")


def sources() -> dict[str, str]:
    """Every Python file of the project by its path from the root."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for top in TOPS
        for path in sorted((ROOT / top).rglob("*.py"))
    }
