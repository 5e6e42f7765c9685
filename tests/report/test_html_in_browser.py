"""The page as its reader sees it: in a real Chromium, wide and narrow, light and dark, with and without script."""

import dataclasses

import pytest
from support.browser import browse, watch
from support.records import mixed_study
from support.reports import PICTURE, study_with_thumbnails

from pipeline.report.contents import ReportContents
from pipeline.report.html import page as html
from sweeps.analysis.ranking import find_best_trial

pytestmark = pytest.mark.slow

ROWS = "table.sortable tbody tr"
ATTACK = "<script>document.title='x'</script><img src=x onerror=\"document.title='x'\">{{ 7*7 }}"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the page of a study of 80 trials lies, in which every name is an attack."""
    study, pictures = mixed_study(80, classes=(ATTACK, *"123456789")), study_with_thumbnails()
    won = find_best_trial(study.results)
    results = [
        dataclasses.replace(result, mistakes=pictures.results[0].mistakes)
        if result is won
        else result
        for result in study.results
    ]
    names = dict.fromkeys(("name", "study", "dataset"), ATTACK)
    record = dataclasses.replace(
        study, results=tuple(results), thumbnails=pictures.thumbnails, **names
    )
    file = tmp_path_factory.mktemp("page") / "report.html"
    marked = dataclasses.replace(PICTURE, marks=((0.5, 0.5, 3), (0.25, 0.25, 7)))
    file.write_text(html(ReportContents(record), [marked]))
    return file.as_uri()


def column(page, name):
    """The texts of a column of the ranked table, as far as it is seen."""
    names = page.locator("table.sortable thead th").all_inner_texts()
    cells = page.locator(f"{ROWS} > :nth-child({names.index(name) + 1})")
    return cells.all_inner_texts()


def test_it_asks_for_nothing_and_runs_nothing_of_others(address):
    """The page is drawn from itself alone, its own script runs, and no name in it is executed."""
    with browse() as page:
        asked, wrong = watch(page)
        page.goto(address)
        title = page.title()
        page.wait_for_timeout(300)
        assert (asked, wrong) == ([], [])
        assert title == page.title() == f"{ATTACK}: sweep report"
        assert page.locator("h1").inner_text() == ATTACK
        assert page.locator("th button").count() == page.locator("table.sortable th").count()
        broken = (
            "[...document.images].filter(image => !image.complete || !image.naturalWidth).length"
        )
        assert page.evaluate(broken) == 0
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/'}))"
        )
        page.wait_for_timeout(300)
        assert "Content Security Policy" in wrong[0]


def test_sorting_by_keyboard(address):
    """A header that has the focus sorts by Enter and by Space, up and then down, blank cells last, all rows kept."""
    with browse() as page:
        page.goto(address)
        assert page.locator(f"{ROWS}:visible").count() == 50
        page.locator("label[for=all-columns]").click()
        button = page.locator("th button", has_text="seconds")
        header = page.locator("th", has_text="seconds")
        button.focus()
        page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") == "ascending"
        up = [float(text) for text in column(page, "seconds")]
        assert up == sorted(up)
        page.keyboard.press("Space")
        assert header.get_attribute("aria-sort") == "descending"
        down = [float(text) for text in column(page, "seconds")]
        assert down == sorted(up, reverse=True)
        page.locator("th button", has_text="trial").click()
        assert header.get_attribute("aria-sort") is None
        assert column(page, "trial") == [str(number) for number in range(len(up))]
        page.locator("th button", has_text="momentum").click()
        momentum = column(page, "momentum")
        assert "" in momentum
        assert momentum.index("") == sum(text != "" for text in momentum)
        page.locator("label[for=all-rows]").click()
        assert page.locator(f"{ROWS}:visible").count() == len(up)


def test_it_fits(address):
    """No page scrolls to the side: wide tables scroll in boxes of their own, which the keyboard reaches."""
    with browse() as page:
        page.goto(address)
        for width in (1280, 375, 320):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == width
        page.set_viewport_size({"width": 700, "height": 800})
        page.locator("label[for=all-columns]").click()
        box = page.locator(".box:has(table.sortable)")
        assert box.get_attribute("tabindex") == "0"
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")


def test_a_plot_tells_its_trials(address):
    """The pointer and the arrow keys reveal the settings of a trial; a click marks its row."""
    with browse() as page:
        page.goto(address)
        # The plot of these tests is a single pixel.
        size = "Object.assign(image.style, {width: '400px', height: '300px'})"
        page.locator(".plot img").evaluate(f"image => {size}")
        picture = page.locator(".picture")
        picture.hover()  # in the middle, where trial 3 is
        tip = page.locator(".tip")
        assert tip.inner_text().startswith("Trial 3")
        assert "lr " in tip.inner_text()
        picture.click()
        assert "3" in page.locator("tr.picked").get_attribute("data-trials").split(" ")
        picture.focus()
        page.keyboard.press("ArrowRight")
        assert tip.inner_text().startswith("Trial 7")
        page.keyboard.press("Escape")
        assert not tip.is_visible()


def test_a_narrow_screen_shows_whole_trials(address):
    """On a phone a trial is some lines of named values inside the screen, and so is each plot."""
    with browse(width=375) as page:
        page.goto(address)
        row = page.locator(ROWS).first
        assert "state" in row.locator("td[data-name=state]").evaluate(
            "cell => getComputedStyle(cell, '::before').content"
        )
        for cell in row.locator("td:visible").all():
            box = cell.bounding_box()
            assert box["x"] + box["width"] <= 375
        plot = page.locator(".plot img").first
        box = plot.bounding_box()
        assert box["x"] + box["width"] <= 375
        page.locator("input.larger").first.check()
        assert plot.bounding_box()["width"] > 700  # and it can be scrolled
        assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_dark(address):
    """Who prefers dark pages gets one: its plots are turned, its photographs are not."""
    grounds = {}
    for dark in (False, True):
        with browse(dark=dark) as page:
            page.goto(address)
            grounds[dark] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            filters = [
                page.locator(where).first.evaluate("image => getComputedStyle(image).filter")
                for where in (".plot img", ".examples img")
            ]
            assert filters == ["invert(1) hue-rotate(180deg)" if dark else "none", "none"]
    assert grounds == {False: "rgb(255, 255, 255)", True: "rgb(20, 25, 31)"}


def test_without_script(address):
    """Without script nothing is lost: no button that does nothing, and all rows can be seen."""
    with browse(script=False) as page:
        page.goto(address)
        assert page.locator("button").count() == 0
        shown = page.locator(f"{ROWS}:visible").count()
        page.locator("label[for=all-rows]").click()
        assert (shown, page.locator(f"{ROWS}:visible").count() > 50) == (50, True)


def test_print(address, tmp_path):
    """It prints: in light colours, without contents and switches, heads of tables on every sheet."""
    with browse(dark=True) as page:
        page.goto(address)
        assert page.pdf().startswith(b"%PDF")
        page.emulate_media(media="print")
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert not page.locator("nav").is_visible()
        assert not page.locator("#all-rows").is_visible()
        assert (
            page.locator("thead").first.evaluate("head => getComputedStyle(head).display")
            == "table-header-group"
        )


def test_the_keyboard_begins_at_the_content(address):
    """The first stop of the Tab key skips the contents."""
    with browse() as page:
        page.goto(address)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement.id === 'content'")
