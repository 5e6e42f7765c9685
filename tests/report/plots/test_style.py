from pipeline.report.plots.style import drawable_text


def test_drawable_text():
    """Undrawable characters are escaped, and long text is cut in the middle to keep its ends."""
    assert drawable_text("x\x1b\n\x00\U0001f996") == "x\\x1b\\n\\x00\\U0001f996"
    assert drawable_text("$a_b^c") == "$a_b^c"
    shortened = {drawable_text(f"{start}{'x' * 50}{end}", 20) for start in "ab" for end in "cd"}
    assert {len(text) for text in shortened} == {20}
    assert len(shortened) == 4
