"""The page of an inspection: whole, offline, safe with any name, and alive in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unrender.datasets.findings import Finding
from unrender.fit.inspection import Inspection, inspect_for_fit
from unrender.fit.source import CaptureSource
from unrender.reports.capture_page import capture_page
from unrender.reports.capture_pictures import shown_views

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ALARM = Finding("unknown", "alarm", "nothing <fits>", ("5 & 6",), "look", ("photo_2.jpg", "photo_7.jpg"))


@pytest.fixture(scope="module")
def found(tiny_capture: Path) -> Inspection:
    """What is found in the tiny capture, with an alarm about two photos put in."""
    kept: list[Inspection] = []

    def looking() -> Iterator[object]:
        kept.append((yield from inspect_for_fit(CaptureSource(tiny_capture))))

    list(looking())
    diagnosis = kept[0].diagnosis
    return replace(kept[0], diagnosis=replace(diagnosis, findings=(ALARM, *diagnosis.findings)))


@pytest.fixture(scope="module")
def html(found: Inspection) -> str:
    return capture_page(found.diagnosis, found.forecast, found.capture)


def test_it_holds_every_photo_and_finding_and_asks_for_nothing(html):
    assert all(f"photo_{view}.jpg" in html for view in range(9))
    assert "nothing &lt;fits&gt;" in html
    assert "5 &amp; 6" in html
    assert "nothing <fits>" not in html
    assert re.search(r'<li class="bad"><strong>nothing', html)
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)


def test_without_an_alarm_it_says_how_to_fit(found):
    sound = capture_page(replace(found.diagnosis, findings=()), found.forecast, found.capture)
    assert "bear each other out" in sound
    assert "unrender fit" in sound


def test_with_an_alarm_it_does_not(html):
    assert "unrender fit" not in html


def test_what_could_not_be_read_has_a_page_too(found):
    bare = replace(found.diagnosis, facts=None, photos=())
    assert "nothing &lt;fits&gt;" in capture_page(bare)


def test_photos_of_alarms_are_shown_first(found):
    assert {found.diagnosis.photos[place].name for place in shown_views(found.diagnosis)[:2]} == set(ALARM.photos)


def test_a_name_from_outside_is_no_markup(found):
    spoilt = replace(found.diagnosis.photos[0], name="<script>alert(1)</script>.jpg")
    text = capture_page(replace(found.diagnosis, photos=(spoilt, *found.diagnosis.photos[1:])))
    assert "<script>alert" not in text


@pytest.fixture(params=["light", "dark"])
def opened(request: pytest.FixtureRequest, browser: Browser, html: str, tmp_path: Path) -> Iterator[Page]:
    """The page on a phone in the system's Chromium, with nothing said on its console."""
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    said: list[str] = []
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=request.param)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    yield page
    page.close()
    assert said == []


def test_the_table_sorts_and_the_slider_moves(opened):
    def first() -> str:
        return opened.locator("table.sortable tbody tr").first.inner_text()

    head = opened.locator("table.sortable th button", has_text="photo").first
    head.click()
    assert "photo_0.jpg" in first()
    head.click()
    assert "photo_8.jpg" in first()
    stage = opened.locator(".compare:not([hidden]) .stage")
    before = stage.evaluate("stage => getComputedStyle(stage).getPropertyValue('--cut')")
    stage.locator("input").evaluate("range => { range.value = 20; range.dispatchEvent(new Event('input')); }")
    after = stage.evaluate("stage => getComputedStyle(stage).getPropertyValue('--cut')")
    assert before.strip() == "50%"
    assert after.strip() == "20%"


def test_nothing_is_wider_than_a_phone_and_the_ground_is_dark_in_the_dark(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = opened.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    level = max(map(int, re.findall(r"\d+", ground)[:3]))
    assert level < 64 if dark else level > 192
