"""Classes and functions among the arguments of a call: each stands for its reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from models import usercode
from models.extracted import MARK
from models.references import FOLDER, reference_to
from pipeline.system.errors import Failure, UsageFailure
from pipeline.system.files import write_text_atomically


def check_not_loading() -> None:
    """Check that no file of the user's is just being imported, which would train without an end.

    Raises:
        UsageFailure: if one is.
    """
    if usercode.is_loading():
        raise UsageFailure(
            "a sweep begins while this file is imported: put the call below "
            "if __name__ == '__main__':"
        )


class Definitions:
    """The classes and functions that a call has been given."""

    def __init__(self) -> None:
        """Collect none yet."""
        self._sources: dict[Path, str] = {}

    def named(self, value: Any) -> Any:
        """Return a value with references in the place of its classes and functions.

        Args:
            value: an argument; mappings and lists are looked through, their keys included.

        Raises:
            UsageFailure: naming what other processes could not find.
        """
        if isinstance(value, Mapping):
            return {self.named(key): self.named(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.named(item) for item in value]
        if not callable(value):
            return value
        try:
            reference = reference_to(value)
        except ValueError as error:
            raise UsageFailure(str(error)) from None
        if reference.source is not None:
            file = reference.text.rpartition(":")[0]
            self._sources[usercode.working_folder() / file] = reference.source
        return reference.text

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write the files of definitions that are in none; put all back if the block fails.

        Raises:
            UsageFailure: if a file of the user's has such a name.
        """
        before = {file: _written_text(file) for file in self._sources}
        for file, source in self._sources.items():
            file.parent.mkdir(exist_ok=True)
            write_text_atomically(file, source)
        try:
            yield
        except Failure:
            for file, text in before.items():
                _put_back(file, text)
            raise


def _written_text(file: Path) -> str | None:
    """Return what an earlier call has written to a file; None if there is no file."""
    if not file.exists():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    if not text.startswith(MARK):
        raise UsageFailure(
            f"{FOLDER}/{file.name} is no file that pipeline.sweep wrote, and stays: "
            "rename it, or the class"
        )
    return text


def _put_back(file: Path, text: str | None) -> None:
    if text is not None:
        write_text_atomically(file, text.removesuffix("\n"))
        return
    file.unlink()
    with suppress(OSError):  # has other files
        file.parent.rmdir()
