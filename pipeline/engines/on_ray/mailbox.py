"""A Ray actor that holds the messages of trials until the engine takes them."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Mailbox:
    """Holds messages, and answers to them.

    The actor runs on the node of the engine: a message, once sent, is not lost with the node of the
    trial. A message begins with the name of its sender.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Any, ...]] = []
        self._arrival = asyncio.Event()
        self._answers: dict[str, asyncio.Future[Any]] = {}

    async def tell(self, *letter: Any) -> None:
        """Put in a message from a trial."""
        self._waiting.append(letter)
        self._arrival.set()

    async def ask(self, sender: str, *content: Any) -> Any:
        """Put in a message, and wait for its answer. A sender asks one question at a time."""
        future = asyncio.get_running_loop().create_future()
        self._answers[sender] = future
        await self.tell(sender, *content)
        return await future

    async def take(self) -> list[tuple[Any, ...]]:
        """Wait for a message, and take out all messages in order."""
        await self._arrival.wait()
        self._arrival.clear()
        letters = self._waiting
        self._waiting = []
        return letters

    async def answer(self, sender: str, answer: Any) -> None:
        """Answer the question of a sender, if there is one."""
        if sender in self._answers:
            self._answers.pop(sender).set_result(answer)

    async def forget(self, sender: str) -> None:
        """Cancel the question of a lost sender."""
        if sender in self._answers:
            self._answers.pop(sender).cancel()


def open_mailbox(senders: int) -> Any:
    """Start a mailbox on the node of this process, with which the mailbox also ends.

    Args:
        senders: the number of trials at a time.

    Returns:
        The handle of the actor.
    """
    node_id = ray.get_runtime_context().get_node_id()
    this_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    # Every sender that waits for an answer occupies one call. Some must be free for the answers.
    concurrent_calls = 2 * senders + 10
    actor = ray.remote(Mailbox).options(
        num_cpus=0, max_concurrency=concurrent_calls, scheduling_strategy=this_node
    )
    return actor.remote()
