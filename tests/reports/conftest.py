"""A finished run, its report, and a browser to read it in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unrender.fit.run import Run
from unrender.fit.settings import CropSettings, FitSettings
from unrender.initialize.points import PointSettings
from unrender.render.shade.settings import DecoderSettings
from unrender.reports.fit_report import fit_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")


@pytest.fixture(scope="session")
def finished(tiny_capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 30 steps, fitted and scored, with its report. Not to be written to."""
    settings = FitSettings(
        steps=30,
        crop=CropSettings(size=32),
        points=PointSettings(count=2000),
        network=DecoderSettings(levels=2, width=8, precision="float32"),
    )
    run = Run.create(tmp_path_factory.mktemp("finished") / "run", tiny_capture, settings)
    for message in run.fit():
        assert message is not None
    for stage in (run.evaluate(), fit_report(run)):
        list(stage)
    return run


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    """A copy of the finished run that a test may spoil."""
    return Run.open(shutil.copytree(finished.folder, tmp_path / "run"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright to drive a browser with")
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("no Chromium here to open pages in")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_QUIET))
        yield browser
        browser.close()
