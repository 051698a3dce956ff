"""Settings survive their file, and a file that is wrong is refused by name."""

from dataclasses import replace

import pytest

from unrender.errors import SettingsError
from unrender.fit.settings import CropSettings, FitSettings
from unrender.fit.settings_file import read_settings, settings_to_table, write_settings
from unrender.initialize.points import PointSettings
from unrender.render.shade.settings import DecoderSettings, UNetSettings

CASES = [
    FitSettings(),
    FitSettings(width=320, minutes=1.5, seed=3),
    FitSettings(crop=CropSettings(size=64, zoom=(0.5, 2.0), batch=3), gamma=None),
    FitSettings(
        network=UNetSettings(widths=(8, 16)),
        rates={"shader.network": 1e-3, "cameras.exposure": 0.0},
    ),
    FitSettings(network=DecoderSettings(levels=3, precision="bfloat16")),
]


def written(tmp_path, text):
    (tmp_path / "s.toml").write_text(text)
    return tmp_path / "s.toml"


@pytest.mark.parametrize("settings", CASES)
def test_settings_come_back(tmp_path, settings):
    write_settings(tmp_path / "s.toml", settings)
    assert read_settings(tmp_path / "s.toml", base=replace(settings, seed=99)) == settings


def test_every_setting_is_written():
    table = settings_to_table(FitSettings())
    assert set(table) == set(FitSettings.__dataclass_fields__)
    assert set(table["points"]) == set(PointSettings.__dataclass_fields__)
    assert set(table["network"]) - {"kind"} == set(type(FitSettings().network).__dataclass_fields__)


def test_what_a_file_leaves_out_stays(tmp_path):
    path = written(tmp_path, 'decay = 1\n[crop]\nsize = 64\n[rates]\ncameras.exposure = 0\n"cameras.vignette" = 1e-2')
    base = FitSettings(seed=5)
    settings = read_settings(path, base)
    assert settings == replace(
        base,
        decay=1.0,
        crop=replace(base.crop, size=64),
        rates={**base.rates, "cameras.exposure": 0.0, "cameras.vignette": 1e-2},
    )


def test_another_kind_of_network_starts_from_its_own_defaults(tmp_path):
    text = '[points]\nchannels = 6\n[network]\nkind = "unet"\nchannels = 6'
    settings = read_settings(written(tmp_path, text))
    assert settings.network == UNetSettings(channels=6)
    assert settings.raster.layers == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wdith = 3", "unknown setting 'wdith'; did you mean 'width'"),
        ("[crop]\nsise = 3", r"unknown setting 'crop\.sise'; did you mean 'crop\.size'"),
        ("[network]\nkind = 'mlp'", "unknown network.kind 'mlp', expected one of decoder, unet"),
        ("[network]\nhead = 'square'", "head"),
        ("seed = 'x'", "setting seed has the wrong type, expected int, got 'x'"),
        ("seed = true", "setting seed has the wrong type"),
        ("seed = 1.5", "setting seed has the wrong type"),
        ("crop = 3", "setting crop has the wrong type, expected a table"),
        ("rates = 3", "setting rates has the wrong type, expected a table"),
        ("[rates]\nx = 'y'", r"setting rates\.x has the wrong type, expected float"),
        ("[crop]\nzoom = [1]", r"setting crop\.zoom has the wrong type, expected a list of 2"),
        ("width = 'all'", "setting width has the wrong type, expected int"),
        ("steps = 3\nminutes = 2", "steps and minutes exclude each other"),
        ("[points]\ncount = 0", "no points asked for"),
        ("width 3", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message) as refusal:
        read_settings(written(tmp_path, text))
    assert str(refusal.value).startswith(f"{tmp_path / 's.toml'}: ")
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="cannot read the settings"):
        read_settings(tmp_path / "none.toml")


def test_a_new_end_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "end.toml"
    path.write_text("minutes = 2.0")
    assert read_settings(path, FitSettings(steps=5)) == FitSettings(minutes=2.0)
    path.write_text("steps = 7")
    assert read_settings(path, FitSettings(minutes=2.0)) == FitSettings(steps=7)
    path.write_text('minutes = "none"')
    assert read_settings(path, FitSettings(steps=5)) == FitSettings(steps=5)
