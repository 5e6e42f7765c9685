"""The description of a run, which a user may edit in MLflow."""

import pytest

from pipeline.tracking.notes import OURS, description_tags

NOTE = "mlflow.note.content"
FIRST = "[The report](a) and the winner"
SECOND = "[The report](a) and another winner, which is better"


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        (FIRST, SECOND),
        ("", SECOND),
        (f"Mine, before.\n\n{FIRST}", f"Mine, before.\n\n{SECOND}"),
        (f"{FIRST}\n\nMine, after.", f"{SECOND}\n\nMine, after."),
        ("Mine instead.", f"Mine instead.\n\n---\n\n{SECOND}"),
        (
            FIRST.replace("winner", "WINNER"),
            f"{FIRST.replace('winner', 'WINNER')}\n\n---\n\n{SECOND}",
        ),
    ],
    ids=["ours", "empty", "before", "after", "instead", "inside"],
)
def test_what_a_user_wrote_is_kept(edited, expected):
    """Our former text is replaced where it stands; all else stays, however often it is written."""
    tags = description_tags(FIRST, {})
    assert tags[NOTE] == FIRST
    tags = description_tags(SECOND, tags | {NOTE: edited})
    assert tags[NOTE] == expected
    assert description_tags(SECOND, tags) == tags


def test_the_description_of_0_1_0_is_replaced():
    """Version 0.1.0 did not mark its text; a user's text of that time is kept."""
    assert description_tags(SECOND, {NOTE: FIRST})[NOTE] == SECOND
    assert description_tags(SECOND, {NOTE: "Mine."})[NOTE] == f"Mine.\n\n---\n\n{SECOND}"


def test_a_long_text_of_a_user_leaves_less_room_for_ours():
    """MLflow cuts long tags: ours is what is cut."""
    tags = description_tags(SECOND, {NOTE: "x" * 7980, OURS: "3 abc"})
    assert len(tags[NOTE]) == 8000
    assert tags[NOTE].startswith("x" * 7980)
