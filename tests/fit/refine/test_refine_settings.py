"""What a user may name, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from unrender.errors import SettingsError
from unrender.fit.refine.settings import FAMILIES, PHOTOMETRY, RefineSettings, family_of, named_families
from unrender.fit.settings import FitSettings
from unrender.fit.settings_file import read_settings, write_settings


def test_words_of_the_command_line() -> None:
    assert named_families("all") == FAMILIES
    assert named_families("none") == ()
    assert named_families("lens,photometry, poses") == (*PHOTOMETRY, "poses", "lens")
    with pytest.raises(SettingsError, match=r"nothing to refine is called 'pose'.*did you mean 'poses'"):
        named_families("pose")
    with pytest.raises(SettingsError, match="nothing to refine is called ''"):
        named_families("")


def test_names_of_parameters_have_families() -> None:
    assert family_of("cameras.vignette_center") == "vignette"
    assert family_of("cameras.lens.3") == "lens"
    assert family_of("scene.points.position") == "points"
    assert family_of("scene.points.descriptors") is None
    assert family_of("shader.network.0.weight") is None


def test_they_come_back_from_a_file(tmp_path: Path) -> None:
    settings = FitSettings(refine=RefineSettings(what=("poses", "lens"), along="all", judged=0.5))
    write_settings(tmp_path / "a.toml", settings)
    assert read_settings(tmp_path / "a.toml") == settings


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean 'points'"):
        RefineSettings(what=("point",))
    with pytest.raises(SettingsError, match=r"refine\.kept_back, expected 0 to 1"):
        RefineSettings(kept_back=1.5)
    with pytest.raises(SettingsError, match="ghosts, expected more than 0"):
        FitSettings(ghosts=0.0, refine=RefineSettings(what=("poses",)))
    FitSettings(ghosts=0.0, refine=RefineSettings(what=("poses",), spatial="rendered"))
