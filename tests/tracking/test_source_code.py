"""Which code trains: the commit, the changes of tracked files, bounded, and nothing of others is run."""

import os
import subprocess

import pytest

from pipeline.tracking import source_code
from pipeline.tracking.source_code import installed_packages, read_code_state

NOBODY = {
    f"GIT_{who}_{what}": "nobody@example.org"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def git(*words):
    subprocess.run(["git", *words], check=True, capture_output=True, env={**os.environ, **NOBODY})


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder below a repository with one commit of one file, and a secret that git does not track."""
    monkeypatch.chdir(tmp_path)
    git("init", "-b", "work")
    (tmp_path / "net.py").write_text("width = 8\n")
    git("add", "net.py")
    git("commit", "-m", "first")
    (tmp_path / "secret.env").write_text("KEY=1234\n")
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path


def test_commit_and_changes(repository):
    """A clean repository has a commit and a branch; a change of a tracked file is a patch with a digest."""
    clean = read_code_state()
    assert (len(clean.commit), clean.branch, clean.changes, clean.changes_digest) == (
        40,
        "work",
        "",
        "",
    )
    (repository / "net.py").write_text("width = 16\n")
    changed = read_code_state()
    assert changed.commit == clean.commit
    assert "-width = 8\n+width = 16\n" in changed.changes
    assert "1234" not in changed.changes
    assert len(changed.changes_digest) == 12


def test_a_long_patch_is_cut(repository, monkeypatch):
    """What is kept of it is bounded and whole in its lines, and says so."""
    monkeypatch.setattr(source_code, "_MOST_CHANGES", 200)
    (repository / "net.py").write_text("".join(f"line = {n}\n" for n in range(100)))
    *kept, last = read_code_state().changes.splitlines()
    assert last.startswith("# cut off: 1,")
    assert sum(len(line) + 1 for line in kept) <= 200


def test_nothing_that_the_repository_names_is_run(repository):
    """Filters, monitors and drivers of its own configuration are switched off: somebody else may have written it."""
    ran = repository / "ran"
    (repository / ".gitattributes").write_text("*.py filter=trap diff=trap\n")
    for key in ("filter.trap.clean", "diff.trap.textconv", "diff.external", "core.fsmonitor"):
        git("config", key, f"touch {ran}; cat")
    (repository / "net.py").write_text("width = 16\n")
    assert "+width = 16" in read_code_state().changes
    assert not ran.exists()


def test_elsewhere_it_is_the_projects_own(tmp_path, monkeypatch):
    """Outside any repository the state is of this project's clone, and without git there is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(source_code, "_ROOT", tmp_path)
    assert read_code_state() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_code_state() is None


def test_packages():
    """Every installed package has a line with its version."""
    lines = installed_packages().splitlines()
    assert any(line.startswith("mlflow==") for line in lines)
    assert all(line.count("==") == 1 for line in lines)
