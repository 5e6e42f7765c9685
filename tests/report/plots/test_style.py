from pipeline.report.plots import style


def test_plain_text():
    """Text is escaped where it cannot be drawn, and cut in the middle, so that both ends can be told apart."""
    assert style.plain("x\x1b\n\x00\U0001f996") == "x\\x1b\\n\\x00\\U0001f996"
    assert style.plain("$a_b^c") == "$a_b^c"
    cut = {style.plain(f"{start}{'x' * 50}{end}", 20) for start in "ab" for end in "cd"}
    assert {len(text) for text in cut} == {20}
    assert len(cut) == 4
