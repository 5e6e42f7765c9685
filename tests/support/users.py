"""Runs commands as another user, who may write only what is that user's."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.endtoend import pipeline

USER = 12345  # has no name, and owns nothing
# May look into every folder, because the interpreter of a test may lie in one of root's, but write
# only what a user of this number may.
POWER = "-all,+dac_read_search"
BECOME = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
BECOME += [f"--inh-caps={POWER}", f"--ambient-caps={POWER}", f"--bounding-set={POWER}"]


def give(folder: Path) -> None:
    """Make a folder, with all that is in it, the other user's."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)


@contextlib.contextmanager
def common_folder() -> Iterator[Path]:
    """A folder that all users may enter, unlike those of pytest.

    Skips the test where this user cannot become another.
    """
    if os.geteuid() or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, by setpriv")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def run_as_other(home: Path, *commands: tuple[Path | str, ...]) -> list[tuple[int, str]]:
    """Run commands in one process of the other user.

    Args:
        home: the user's home folder, made if it is missing.
        commands: each the working folder, and the words of a command.

    Returns:
        The exit code of each command, and what it said.
    """
    home.mkdir(exist_ok=True)
    give(home)
    text = json.dumps([[str(word) for word in command] for command in commands])
    ran = subprocess.run(
        [*BECOME, sys.executable, "-m", "support.users", text],
        env={**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout.splitlines()[-1])


def main() -> None:
    """Run commands, each with its folder, and print their exit codes and what they said."""
    results = []
    for folder, *words in json.loads(sys.argv[1]):
        os.chdir(folder)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = pipeline(*words)
        results.append((code, said.getvalue()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
