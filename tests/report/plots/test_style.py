from pipeline.report.plots.style import drawable_text


def test_plain_text():
    """Text is escaped where it cannot be drawn, and cut in the middle, so that both ends can be told apart."""
    assert drawable_text("x\x1b\n\x00\U0001f996") == "x\\x1b\\n\\x00\\U0001f996"
    assert drawable_text("$a_b^c") == "$a_b^c"
    cut = {drawable_text(f"{start}{'x' * 50}{end}", 20) for start in "ab" for end in "cd"}
    assert {len(text) for text in cut} == {20}
    assert len(cut) == 4
