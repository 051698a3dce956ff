"""The report in a real browser: it opens without the network, says nothing in the console, and what moves moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from unrender.fit.run import Run
from unrender.reports.fit_report import REPORT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Opened:
    """A page, what it said in the console, and what it asked the network for."""

    def __init__(self, page: Page, run: Run) -> None:
        self.page, self.said, self.asked = page, list[str](), list[str]()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto((run.folder / REPORT).as_uri())

    def names(self) -> list[str]:
        """The photos that the table shows, from the top."""
        return self.page.locator("#table tbody tr:visible .named span").all_inner_texts()


@pytest.fixture(params=[(DESK, "light"), (PHONE, "dark")], ids=["desk, light", "phone, dark"])
def opened(request: pytest.FixtureRequest, browser: Browser, finished: Run) -> Iterator[Opened]:
    """The report on a screen; at its end nothing must have been said or asked for."""
    size, scheme = request.param
    context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
    found = Opened(context.new_page(), finished)
    yield found
    assert found.said == []
    assert [url for url in found.asked if not url.startswith("data:")] == [(finished.folder / REPORT).as_uri()]
    context.close()


def test_nothing_is_wider_than_the_screen(opened):
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_all_pictures_open(opened):
    broken = "[...document.images].filter(image => image.complete && !image.naturalWidth).length"
    assert opened.page.locator("img").count() > 9
    assert opened.page.evaluate(broken) == 0


def test_the_slider_moves_the_line_and_the_edge_of_the_rendering(opened):
    stage = opened.page.locator(".stage:visible").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    before = stage.locator(".line").bounding_box()
    stage.locator("input").click(position={"x": box["width"] * 0.25, "y": box["height"] / 2})
    after = stage.locator(".line").bounding_box()
    assert before["x"] - box["x"] == pytest.approx(box["width"] / 2, abs=3)
    assert after["x"] - box["x"] == pytest.approx(box["width"] / 4, abs=6)
    cut = stage.locator(".over").evaluate("image => getComputedStyle(image).clipPath")
    assert 22 < float(cut.removeprefix("inset(0px 0px 0px ").removesuffix("%)")) < 28
    stage.locator("input").press("ArrowRight")
    assert stage.locator(".line").bounding_box()["x"] > after["x"]


def test_the_table_sorts_both_ways_by_number_and_by_name(opened):
    head = opened.page.locator("#table th", has_text="PSNR")
    values = "[...document.querySelectorAll('#table tbody tr')].map(row => Number(row.cells[2].dataset.value))"
    assert head.get_attribute("aria-sort") == "ascending"
    assert opened.page.evaluate(values) == sorted(opened.page.evaluate(values))
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert opened.page.evaluate(values) == sorted(opened.page.evaluate(values), reverse=True)
    opened.page.locator("#table th", has_text="photo").locator("button").click()
    assert opened.names() == sorted(opened.names())
    assert head.get_attribute("aria-sort") is None


def test_what_is_missing_stands_at_the_end_either_way(opened):
    """The held-out photos have no fitted exposure."""
    button = opened.page.locator("#table th", has_text="EXIF").locator("button")
    for _ in range(2):
        button.click()
        parts = [text.split()[0] for text in opened.page.locator("#table tbody tr td:nth-child(2)").all_inner_texts()]
        assert parts == ["training"] * 7 + ["held"] * 2


def test_a_photo_of_the_table_is_shown_large(opened):
    opened.page.locator("#table .named").last.click()
    name = opened.names()[-1]
    assert name in opened.page.locator("figure.compare:visible .fine").inner_text()
    assert opened.page.locator("figure.compare:visible").count() == 1
    opened.page.get_by_label("next").click()
    assert name not in opened.page.locator("figure.compare:visible .fine").inner_text()


def test_a_dot_of_a_chart_names_its_photo_and_leads_to_it(opened):
    dot = opened.page.locator("#light svg a").first
    name = dot.locator("title").text_content().split(":")[0]
    dot.dispatch_event("click")
    assert name in opened.page.locator("figure.compare:visible .fine").inner_text()


def test_letters_stand_out_from_what_is_behind_them(opened):
    """Ink on its card, in both schemes: a contrast of 7 and more, and 4.5 for what explains."""
    script = """name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"""
    ink, muted, card = (luminance(opened.page.evaluate(script, name)) for name in ("--ink", "--muted", "--card"))
    assert contrast(ink, card) >= 7
    assert contrast(muted, card) >= 4.5
    for name in ("--accent", "--good", "--warn", "--bad", "--series-1"):
        assert contrast(luminance(opened.page.evaluate(script, name)), card) >= 4.5, name


def luminance(color: str) -> float:
    """Relative luminance of an sRGB colour #rrggbb."""
    channels = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    """Of two luminances, 1 to 21."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_without_javascript_everything_can_be_read(browser, finished):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((finished.folder / REPORT).as_uri())
    assert page.locator("figure.compare:visible").count() == 9
    assert page.locator("#table tbody tr:visible").count() == 9
    context.close()
