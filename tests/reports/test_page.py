"""A page is one file that needs nothing else, in which what comes from outside is text and nothing but text."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
import torch
from markupsafe import Markup

from unrender.reports.charts import RED, SERIES, chart
from unrender.reports.page import (
    Advice,
    Fact,
    Section,
    advice_list,
    before_after,
    fact_tiles,
    gallery,
    page,
    pairs_table,
)
from unrender.reports.pictures import embedded
from unrender.reports.tables import Cell, Column, Row, number, sortable_table

NASTY = "<img src=x onerror=\"alert('1')\">&"


class Elements(HTMLParser):
    """What a browser would find in a page: sources of pictures, and names of attributes."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.attributes = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes |= {name for name, _ in attrs}
        self.pictures += [dict(attrs)["src"]] if tag == "img" else []


def test_what_comes_from_outside_is_escaped_wherever_it_goes():
    picture = embedded(torch.zeros(3, 4, 4))
    everywhere = [
        fact_tiles([Fact(NASTY, NASTY, NASTY)]),
        advice_list([Advice(NASTY, NASTY, NASTY)]),
        pairs_table([(NASTY, NASTY)]),
        gallery([before_after(NASTY, (picture, picture), (NASTY, NASTY), title=NASTY, beside=NASTY)], NASTY),
        sortable_table([Column(NASTY, hint=NASTY)], [Row([Cell(NASTY, NASTY)], NASTY)]),
        chart(NASTY, lambda axes: axes.set_title(NASTY), axes=(NASTY, NASTY), caption=NASTY),
    ]
    text = page(NASTY, [Section(NASTY, body, NASTY) for body in everywhere], subtitle=NASTY, footer=NASTY)
    found = Elements(text)
    assert len(found.pictures) == 2
    assert all(source.startswith("data:image/") for source in found.pictures)
    assert "onerror" not in found.attributes


def test_a_page_asks_for_nothing():
    text = page("title", [Section("A part", Markup("<p>x</p>"))])
    assert "default-src 'none'" in unescape(text)
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert "@import" not in text
    assert "url(" not in text


def test_the_navigation_has_the_short_name_of_each_section():
    text = page("title", [Section("How the fit went", Markup(), short="Curves"), Section("Light", Markup())])
    assert '<a href="#how-the-fit-went">Curves</a>' in text
    assert '<section id="how-the-fit-went"><h2>How the fit went</h2>' in text
    assert '<a href="#light">Light</a>' in text


@pytest.mark.parametrize(("size", "edge", "expected"), [((30, 60), 20, (20, 10)), ((30, 60), 100, (60, 30))])
def test_pictures_are_made_smaller_but_never_larger(size, edge, expected):
    picture = embedded(torch.rand(3, *size), edge)
    assert (picture.width, picture.height) == expected
    assert picture.src.startswith("data:image/")


def test_a_chart_wears_the_colours_of_the_page_and_is_the_same_every_time():
    def draw(axes):
        axes.plot([1, 2, 3], color=SERIES[0], label="ours")
        axes.scatter([1, 2], [1, 2], color=RED).set_urls(["#row-1", "#row-2"])

    drawn = chart("Loss", draw, axes=("step", "loss"), tips={"#row-1": "the <first>"})
    assert drawn == chart("Loss", draw, axes=("step", "loss"), tips={"#row-1": "the <first>"})
    assert "var(--series-1)" in drawn
    assert "var(--red)" in drawn
    assert not re.search(r"#010a0\d", drawn)
    assert '<a href="#row-1"><title>the &lt;first&gt;</title>' in drawn
    assert "font-family" not in drawn
    assert "<metadata" not in drawn
    assert "<style" not in drawn
    assert ">ours</text>" in drawn, "letters are letters"


def test_no_two_things_of_two_charts_have_one_name():
    charts = [chart(title, lambda axes: axes.scatter([1, 2], [3, 4], color=SERIES[0])) for title in ("one", "two")]
    first, second = (set(re.findall(r' id="([^"]*)"', drawn)) for drawn in charts)
    assert first
    assert not first & second


@pytest.mark.parametrize(
    ("value", "shows", "sorts"),
    [
        (1.234, "1.23", "1.234"),
        (-0.5, "\N{MINUS SIGN}0.50", "-0.5"),
        (-0.001, "0.00", "-0.001"),
        (None, "\N{EN DASH}", ""),
        (float("inf"), "\N{EN DASH}", ""),
    ],
)
def test_numbers_show_what_they_are_and_sort_by_all_of_it(value, shows, sorts):
    table = sortable_table([Column("x", numeric=True)], [Row([number(value)])])
    assert f'<td class="number" data-value="{sorts}">{shows}</td>' in table
