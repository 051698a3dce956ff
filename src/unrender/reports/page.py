"""The frame of every page that we write: one HTML file that needs nothing else, on any screen, light or dark.

A page is a title, sections and a footer. Everything that comes from outside (names of photos, texts of notes) goes
through ``Markup.format``, which escapes it. Style and behaviour are ``page.css`` and ``page.js`` beside this file and
become part of the page; its own policy forbids the browser to load anything. Without JavaScript everything can be read;
with it tables sort, and photo and rendering slide over each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from unrender.reports.pictures import Picture, image_tag

__all__ = [
    "Advice",
    "Fact",
    "Section",
    "Tone",
    "advice_list",
    "before_after",
    "code",
    "collapsed",
    "fact_tiles",
    "gallery",
    "note",
    "page",
    "pairs_table",
    "paragraph",
]

Tone = Literal["", "good", "warn", "bad"]
"""How a fact is coloured: not at all, or as good news, something to look at, or bad news."""
_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Section:
    """A part of a page: its ``title``, also in the navigation; what stands in it; a line of explanation above that.

    ``anchor``: the name that links give it, from the title when empty; ``short``: what the navigation calls it.
    """

    title: str
    body: Markup
    lead: str | Markup = ""
    anchor: str = ""
    short: str = ""

    @property
    def name(self) -> str:
        """What a link to it says after the #."""
        return self.anchor or re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Fact:
    """One number that matters, with its ``label``, and a smaller ``note`` below."""

    label: str
    value: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Advice:
    """What to try: a ``title`` that says what to do, the ``evidence`` for it, and what more there is to say."""

    title: str
    evidence: str
    do: str | Markup = ""
    tone: Tone = "warn"


def page(title: str, sections: Sequence[Section], *, subtitle: str | Markup = "", footer: str | Markup = "") -> str:
    """A whole HTML page."""
    links = Markup("\n").join(
        Markup('<a href="#{}">{}</a>').format(each.name, each.short or each.title) for each in sections
    )
    return _PAGE.format(
        title=title,
        policy=_POLICY,
        style=_file("page.css"),
        behaviour=_file("page.js"),
        subtitle=Markup('<p class="subtitle">{}</p>').format(subtitle) if subtitle else "",
        links=links,
        sections=Markup("\n").join(map(_section, sections)),
        footer=footer,
        version=version("unrender"),
    )


def paragraph(text: str | Markup) -> Markup:
    """Running text."""
    return Markup("<p>{}</p>").format(text)


def code(text: str) -> Markup:
    """Something that one types, such as an option."""
    return Markup("<code>{}</code>").format(text)


def note(text: str | Markup, tone: Tone = "") -> Markup:
    """A remark set apart from what is around it."""
    return Markup('<p class="note {}">{}</p>').format(tone, text)


def fact_tiles(facts: Iterable[Fact]) -> Markup:
    """Numbers in a row of tiles, as many as the screen has room for."""
    tiles = (
        Markup('<div class="fact {}"><dt>{}</dt><dd>{}</dd>{}</div>').format(
            fact.tone, fact.label, fact.value, Markup('<dd class="fine">{}</dd>').format(fact.note) if fact.note else ""
        )
        for fact in facts
    )
    return Markup('<dl class="facts">{}</dl>').format(Markup("").join(tiles))


def pairs_table(pairs: Iterable[tuple[str, str | Markup]]) -> Markup:
    """Names and values, one pair a line."""
    rows = (Markup('<tr><th scope="row">{}</th><td>{}</td></tr>').format(_breakable(name), of) for name, of in pairs)
    return Markup('<div class="wide"><table class="pairs"><tbody>{}</tbody></table></div>').format(
        Markup("\n").join(rows)
    )


def collapsed(summary: str, body: Markup, *, is_open: bool = False) -> Markup:
    """Something that opens when its ``summary`` is clicked."""
    return Markup("<details{}><summary>{}</summary>{}</details>").format(
        Markup(" open") if is_open else "", summary, body
    )


def advice_list(items: Iterable[Advice]) -> Markup:
    """What to try, the most promising first."""
    entries = (
        Markup('<li class="{}"><strong>{}</strong><span class="evidence">{}</span>{}</li>').format(
            item.tone, item.title, item.evidence, _span("do", item.do)
        )
        for item in items
    )
    return Markup('<ul class="advice">{}</ul>').format(Markup("\n").join(entries))


def before_after(
    anchor: str,
    pictures: tuple[Picture, Picture],
    labels: tuple[str, str],
    *,
    beside: Markup | str = "",
    title: str = "",
) -> Markup:
    """Two pictures of one size, one over the other, with a line between them that slides.

    ``anchor``: the name that links give it; ``labels``: what each picture is; ``beside``: what stands next to them;
    ``title``: what a ``gallery`` calls it.
    """
    before, after = pictures
    return _BEFORE_AFTER.format(
        anchor=anchor,
        title=title,
        width=before.width,
        height=before.height,
        before=before.src,
        after=after.src,
        left=labels[0],
        right=labels[1],
        beside=beside,
    )


def strip(pictures: Sequence[tuple[str, Picture]]) -> Markup:
    """Pictures under their names beside each other, as many as the screen has room for."""
    figures = (
        Markup('<figure>{}<span class="tag left">{}</span></figure>').format(image_tag(picture, name), name)
        for name, picture in pictures
    )
    return Markup('<div class="strip">{}</div>').format(Markup("\n").join(figures))


def gallery(figures: Sequence[Markup], label: str) -> Markup:
    """Several ``before_after`` of which one is shown at a time, chosen from a list; all, where there is no JavaScript.

    ``label``: what the list chooses.
    """
    return Markup('<div class="gallery" data-label="{}">{}</div>').format(label, Markup("\n").join(figures))


def _breakable(name: str) -> Markup:
    """A dotted name that may go on in the next line after a dot."""
    return Markup(".<wbr>").join(name.split("."))


def _span(style: str, text: str | Markup) -> Markup | str:
    return Markup('<span class="{}">{}</span>').format(style, text) if text else ""


def _section(section: Section) -> Markup:
    lead = Markup('<p class="lead">{}</p>').format(section.lead) if section.lead else ""
    return Markup('<section id="{}"><h2>{}</h2>{}{}</section>').format(section.name, section.title, lead, section.body)


def _file(name: str) -> Markup:
    """One of our own files, which is markup already."""
    return Markup((_HERE / name).read_text(encoding="utf-8").strip())


_PAGE = Markup(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="unrender {version}">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
{subtitle}
</header>
<nav aria-label="Sections"><div>
{links}
</div></nav>
<main>
{sections}
</main>
<footer>{footer} <span>Made by unrender {version}.</span></footer>
<script>
{behaviour}
</script>
</body>
</html>
"""
)

_BEFORE_AFTER = Markup(
    """<figure class="compare" id="{anchor}" data-title="{title}">
<div class="stage" style="aspect-ratio: {width} / {height}">
<img src="{before}" width="{width}" height="{height}" alt="{left}">
<img class="over" src="{after}" width="{width}" height="{height}" alt="{right}">
<span class="tag left">{left}</span><span class="tag right">{right}</span>
<span class="line" aria-hidden="true"></span>
<input type="range" min="0" max="100" step="0.1" value="50" aria-label="{left} left of here, {right} right of here">
</div>
<div class="beside">{beside}</div>
</figure>"""
)
