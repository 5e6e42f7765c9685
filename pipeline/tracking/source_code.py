"""Tells which code trains: its git commit, what differs from the commit, and all packages."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]  # of this project, which may be a clone
_INSTALLED = ".dist-info"  # how the folder of an installed package ends, after name and version
_TIMEOUT = 10.0  # seconds for a git command, which may meet a slow disk
_MOST_CHANGES = 100_000  # characters of a diff that are kept
# What a repository's own configuration could have git run; its readers did not write it.
_COMMANDS = r"^(core\.fsmonitor|filter\..*\.(clean|process))$"
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


@dataclass(frozen=True)
class CodeState:
    """The state of a git repository.

    Attributes:
        commit: the full hash.
        branch: its name; empty for none.
        changes: the differences of the files that git tracks, as a patch; empty for none. A long
            patch is cut off, and says so in its last line.
    """

    commit: str
    branch: str
    changes: str

    @property
    def changes_digest(self) -> str:
        """A short digest of the changes; empty if there are none."""
        return hashlib.sha256(self.changes.encode()).hexdigest()[:12] if self.changes else ""


def read_code_state() -> CodeState | None:
    """Return the state of the working folder's repository, or else of this project's own.

    None if there is no repository, or git is missing or does not answer in time. Nothing is
    written, and no command runs that the configuration of the repository names.
    """
    state = _read_state(Path.cwd())
    if state is None and (_ROOT / ".git").exists():  # else it is installed, perhaps inside another
        state = _read_state(_ROOT)
    return state


def installed_packages() -> str:
    """Return all installed packages with their versions, as lines of a ``requirements.txt``."""
    # The names of the folders tell both: to read the metadata would take a tenth of a second.
    names = {
        path.name.removesuffix(_INSTALLED)
        for folder in sys.path
        for path in Path(folder).glob(f"*{_INSTALLED}")
    }
    lines = [name.replace("-", "==", 1) for name in sorted(names, key=str.lower) if "-" in name]
    return "".join(f"{line}\n" for line in lines)


def _read_state(folder: Path) -> CodeState | None:
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        branch = _git(folder, "branch", "--show-current").strip()
        diff = ["diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short"]
        changes = _git(folder, *_without_commands(folder), *diff)
    except (OSError, subprocess.SubprocessError):
        return None
    if len(changes) > _MOST_CHANGES:
        kept = changes[:_MOST_CHANGES].rpartition("\n")[0]
        changes = f"{kept}\n# cut off: {len(changes):,} characters in all\n"
    return CodeState(commit, branch, changes)


def _without_commands(folder: Path) -> list[str]:
    """Return the options that switch off the commands which the repository itself configures."""
    command = ["config", "--local", "--includes", "--name-only", "--get-regexp", _COMMANDS]
    try:
        names = _git(folder, *command).split()
    except subprocess.CalledProcessError:  # there are none
        names = []
    return [word for name in names for word in ("-c", f"{name}=")]


def _git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, and return its output.

    Raises:
        OSError: if git is missing.
        subprocess.SubprocessError: if it fails or takes too long.
    """
    # The words are ours, but for names of settings, which stand behind -c.
    done = subprocess.run(  # noqa: S603
        ["git", "-C", str(folder), *arguments],  # noqa: S607 - as the user's own shell finds it
        env={**os.environ, **_QUIET},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=_TIMEOUT,
    )
    return done.stdout.decode("utf-8", errors="replace")
