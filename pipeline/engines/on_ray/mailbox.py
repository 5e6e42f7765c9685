"""Where messages of trials on a Ray cluster wait for the process that asked for them. Knows not what they say."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Mailbox:
    """An actor beside that process, on its node: what a trial has told stays when the trial's node is lost."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Any, ...]] = []
        self._arrival = asyncio.Event()
        self._answers: dict[str, asyncio.Future[Any]] = {}

    async def tell(self, *letter: Any) -> None:
        """Keep a letter of a trial until it is taken."""
        self._waiting.append(letter)
        self._arrival.set()

    async def ask(self, sender: str, *rest: Any) -> Any:
        """The same with one that is answered; a sender has one such at a time."""
        answer = self._answers[sender] = asyncio.get_running_loop().create_future()
        await self.tell(sender, *rest)
        return await answer

    async def take(self) -> list[tuple[Any, ...]]:
        """All letters in order, once there is one."""
        await self._arrival.wait()
        self._arrival.clear()
        taken = self._waiting
        self._waiting = []
        return taken

    async def answer(self, sender: str, answer: Any) -> None:
        """Answer what a sender has asked."""
        if sender in self._answers:
            self._answers.pop(sender).set_result(answer)

    async def forget(self, sender: str) -> None:
        """Wait no longer with an answer for a sender that is gone."""
        if sender in self._answers:
            self._answers.pop(sender).cancel()


def open_mailbox(senders: int) -> Any:
    """Start one on this process's node, for so many senders at a time. It ends with this process."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # Each that waits for an answer takes a place, and a few must be left for those who bring it.
    places = 2 * senders + 10
    return (
        ray.remote(Mailbox)
        .options(num_cpus=0, max_concurrency=places, scheduling_strategy=here)
        .remote()
    )
