"""The mailbox of trials on a Ray cluster: messages come in order, questions are answered or given up."""

import asyncio

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")

from pipeline.engines.on_ray.mailbox import Mailbox


def test_letters_come_in_order():
    """All that was told is taken at once, in order; who finds nothing waits for the next."""

    async def play():
        mailbox = Mailbox()
        await mailbox.tell("a", 1)
        await mailbox.tell("b", 2)
        assert await mailbox.take() == [("a", 1), ("b", 2)]
        next_one = asyncio.ensure_future(mailbox.take())
        await asyncio.sleep(0)
        assert not next_one.done()
        await mailbox.tell("a", 3)
        assert await next_one == [("a", 3)]

    asyncio.run(play())


def test_each_question_gets_its_own_answer():
    """Who asks waits until that question is answered, whatever others are told."""

    async def play():
        mailbox = Mailbox()
        questions = [asyncio.ensure_future(mailbox.ask(name, "?")) for name in "ab"]
        assert await mailbox.take() == [("a", "?"), ("b", "?")]
        await mailbox.answer("b", answer=True)
        await asyncio.sleep(0)
        assert [question.done() for question in questions] == [False, True]
        await mailbox.answer("a", answer=False)
        assert [await question for question in questions] == [False, True]

    asyncio.run(play())


def test_who_is_gone_is_forgotten():
    """A question of a trial that is gone is given up; an answer that comes too late goes nowhere."""

    async def play():
        mailbox = Mailbox()
        question = asyncio.ensure_future(mailbox.ask("a", "?"))
        await mailbox.take()
        await mailbox.forget("a")
        with pytest.raises(asyncio.CancelledError):
            await question
        await mailbox.answer("a", answer=True)
        await mailbox.forget("a")

    asyncio.run(play())
