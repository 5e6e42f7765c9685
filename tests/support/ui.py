"""Runs `pipeline ui` over a study in a process of its own."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class StudyUI:
    """The UI of a study: its links, once it answers, and its process."""

    def __init__(
        self, folder: Path, name: str, *options: str, port: int, env: Mapping[str, str]
    ) -> None:
        """Start it, and wait until it answers.

        Args:
            folder: with the stores.
            name: the study.
            options: of the command.
            port: that it listens on.
            env: its environment.
        """
        path = folder / "ui.txt"
        self._log = path.open("w+")
        words = ["ui", name, "--port", str(port), *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words],
            start_new_session=True,
            cwd=folder,
            env=dict(env),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 120
        text = ""
        while text.count("http") < 3 or not text.endswith("\n"):
            assert time.monotonic() < deadline, text
            assert self.process.poll() is None, text
            time.sleep(0.1)
            text = path.read_text()
        self.links = re.findall(r"http://\S+/#/\S+", text)

    def kill(self) -> None:
        """Kill its processes, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._log.close()


@contextlib.contextmanager
def study_ui(folder: Path, name: str) -> Iterator[StudyUI]:
    """Have the UI of a study while the block runs."""
    shown = StudyUI(folder, name, port=free_port(), env=os.environ)
    try:
        yield shown
    finally:
        shown.kill()
