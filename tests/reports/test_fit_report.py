"""The report of a run says what is in the run, stays small, and leaves the run alone."""

import json
import re
from dataclasses import replace
from html import unescape

import pytest
import torch

from unrender.errors import RunError, SettingsError
from unrender.fit.lock import RunLock
from unrender.fit.run import Run
from unrender.messages import Note, Reported, Saved
from unrender.reports import fit_report as module
from unrender.reports.fit_photos import PhotoRow, table_section
from unrender.reports.fit_report import LIMIT, REPORT, fit_report
from unrender.reports.measured import LargeView, MeasuredView
from unrender.reports.page import page
from unrender.reports.pictures import embedded

SECTIONS = ("summary", "next", "photos", "exposures", "table", "curves", "light", "cameras", "settings", "versions")
CHARTS = (
    "Loss",
    "Exposure of each photo",
    "Fitted less EXIF",
    "White point of each photo",
    "Vignette",
    "Vignette over the photo",
    "Response",
)


def text_of(run):
    """What stands in the page of a run, without the tags."""
    return unescape(re.sub(r"<[^>]+>", " ", (run.folder / REPORT).read_text("utf-8")))


def test_all_that_was_asked_for_is_there(finished):
    html, said = (finished.folder / REPORT).read_text("utf-8"), text_of(finished)
    assert tuple(re.findall(r'<section id="([^"]*)"', html)) == SECTIONS
    assert html.count('<figure class="compare"') == 8 + 1, "training photos and the held-out ones, large"
    scores = finished.load_scores()["test"]
    assert f"{scores['psnr']:.2f} dB" in said
    for title in CHARTS:
        assert f"<h3>{title}</h3>" in html
    assert "Not refined" in said
    assert re.search(r"crop\.\s*size\s+32", said)
    assert "finished" in said
    for name in finished.names:
        assert name in said


def test_it_is_small_and_needs_nothing(finished):
    html = (finished.folder / REPORT).read_text("utf-8")
    assert len(html) < 1_000_000
    assert not re.search(r'(?:src|href)="(?!data:|#)', html)


def test_the_same_state_gives_the_same_page_and_the_run_is_only_read(copied):
    before = {path.name: path.read_bytes() for path in copied.folder.iterdir() if path.is_file()}
    said = list(fit_report(copied))
    after = {path.name: path.read_bytes() for path in copied.folder.iterdir() if path.is_file()}
    assert [type(message) for message in said] == [Reported] * 9 + [Saved]
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"report.html", ".report.lock.holder"}
    folder = str(copied.folder.resolve()).encode()
    assert after["report.html"].count(folder) == 1
    list(fit_report(copied))
    assert (copied.folder / REPORT).read_bytes() == after["report.html"]


@pytest.mark.parametrize(("photos", "figures", "rows"), [(0, 0, 9), (3, 3, 9)])
def test_fewer_photos_are_said_to_be_fewer(copied, photos, figures, rows):
    list(fit_report(copied, photos))
    html = (copied.folder / REPORT).read_text("utf-8")
    assert html.count('<figure class="compare"') == figures
    assert html.count('<tr id="row-') == rows
    assert f"{photos} of 9 were rendered" in text_of(copied)


@pytest.mark.parametrize("photos", [-1, 301])
def test_an_impossible_number_of_photos_is_refused(finished, photos):
    with pytest.raises(SettingsError, match="photos to measure"):
        next(fit_report(finished, photos))


def test_an_unscored_or_older_score_is_not_taken_for_that_of_this_state(copied):
    older = copied.load_scores() | {"seconds": 0.5, "test": {"psnr": 77.0, "ssim": 1.0, "flip": 0.0}}
    copied.scores_path.write_text(json.dumps(older))
    list(fit_report(copied))
    assert "77.00 dB" not in text_of(copied)
    assert "Scores are of the photos that were rendered" in text_of(copied)
    copied.scores_path.unlink()
    list(fit_report(copied))
    assert "Scores are of the photos that were rendered" in text_of(copied)


def test_a_run_without_a_log_has_a_report_without_curves(copied):
    (copied.folder / "log.jsonl").unlink()
    (copied.folder / "machine.toml").write_text("rubbish")
    list(fit_report(copied))
    assert "No log of the fit was found" in text_of(copied)
    assert "<h3>Loss</h3>" not in (copied.folder / REPORT).read_text("utf-8")


def test_a_replaced_photo_is_refused_and_the_page_stays(copied, monkeypatch):
    before = (copied.folder / REPORT).read_bytes()

    def refuse(self, views):
        raise RunError("this photo is not the one that the run began with")

    monkeypatch.setattr(Run, "refuse_replaced", refuse)
    with pytest.raises(RunError, match="not the one"):
        list(fit_report(copied))
    assert (copied.folder / REPORT).read_bytes() == before


def test_two_at_once_are_refused(copied):
    with RunLock(copied.folder, ".report.lock", "x"), pytest.raises(RunError, match="making the report of this run"):
        list(fit_report(copied))


def test_too_little_memory_leaves_the_renderings_out(copied, monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda: 1000)
    said = list(fit_report(copied))
    assert any(isinstance(message, Note) and "no renderings" in message.text for message in said)
    assert "No photo was rendered for this page" in text_of(copied)


def test_three_hundred_noisy_photos_stay_under_the_limit(finished, monkeypatch):
    """Noise is what packs worst: as many thumbnails, and as many photos shown large, as there can be."""
    noise = torch.rand(3, 540, 720, generator=torch.Generator().manual_seed(0))
    picture, thumb = embedded(noise), embedded(noise, 96, 70)
    views = [
        MeasuredView(view, f"photo_{view:04}.jpg", view % 8 == 0, None, 0.1, 0.1, thumb, noise.byte())
        for view in range(300)
    ]
    large = [LargeView("worst", view, picture, picture, picture) for view in (*views[:64:8], *views[1:8], views[9])]
    rows = [PhotoRow(view.view, view.name, view.held_out, view) for view in views]
    assert len(page("x", [table_section(rows, 300)]).encode()) < LIMIT / 2
    told = module._told(finished, finished.load_checkpoint(), finished.load_model(), [], [])
    crowded = replace(told, large=tuple(large))
    monkeypatch.setattr("unrender.reports.fit_sections.table_section", lambda *_: table_section(rows, 300))
    text = module._small_enough(crowded)
    assert len(text.encode()) <= LIMIT
    assert 1 < text.count('<figure class="compare"') < len(large)
