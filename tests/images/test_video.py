"""Films: what goes in comes out again, and a film is whole or not there."""

import os
import stat
import subprocess

import pytest
import torch

from unrender.errors import SettingsError, UnrenderError
from unrender.images import video
from unrender.images.io import write_png
from unrender.images.video import FFmpeg, find_ffmpeg

COLORS = torch.tensor([[200, 40, 30], [30, 160, 60], [40, 60, 190], [235, 235, 235], [16, 16, 16]], dtype=torch.uint8)


@pytest.fixture(scope="session")
def ffmpeg():
    """A real one."""
    try:
        return find_ffmpeg()
    except SettingsError:
        pytest.skip("no ffmpeg on PATH and no imageio-ffmpeg")


@pytest.fixture
def pictures(tmp_path):
    """Five plain pictures of odd size, 63 x 47, each of another colour, its left third black."""
    paths = []
    for index, color in enumerate(COLORS):
        image = color.expand(47, 63, 3).clone()
        image[:, :21] = 0
        paths.append(tmp_path / f"view {index}.png")
        write_png(paths[-1], image)
    return paths


def script(folder, text):
    """A program that is called as ffmpeg is."""
    if os.name != "posix":
        pytest.skip("the script needs a POSIX shell")
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\nfor last; do :; done\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def decoded(ffmpeg, path):
    """All frames, uint8 [F, H, W, 3], of a film 62 x 46."""
    command = [ffmpeg.program, "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    answer = subprocess.run(command, capture_output=True, check=True)
    return torch.frombuffer(bytearray(answer.stdout), dtype=torch.uint8).view(-1, 46, 62, 3)


def test_pictures_come_back(ffmpeg, pictures, tmp_path):
    ffmpeg.encode(tmp_path / "film.mp4", pictures, 25, threads=1)
    frames = decoded(ffmpeg, tmp_path / "film.mp4")
    assert len(frames) == len(pictures)
    for frame, color in zip(frames.float(), COLORS.float(), strict=True):
        assert torch.allclose(frame[4:-4, 32:-4].mean((0, 1)), color, atol=3)
        assert float(frame[4:-4, 4:14].mean()) < 4


def test_the_film_says_its_colours_and_rate_and_starts_with_its_index(ffmpeg, pictures, tmp_path):
    ffmpeg.encode(tmp_path / "film.mp4", pictures, 12.5)
    told = subprocess.run([ffmpeg.program, "-hide_banner", "-i", str(tmp_path / "film.mp4")], capture_output=True)
    line = next(line for line in told.stderr.decode().splitlines() if "Video:" in line)
    assert "yuv420p(tv, bt709" in line
    assert "62x46" in line
    assert "12.50 fps" in line
    data = (tmp_path / "film.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_equal_pictures_give_equal_films(ffmpeg, pictures, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        ffmpeg.encode(tmp_path / name, pictures, 25, threads=1)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_damaged_picture_is_no_film(ffmpeg, pictures, tmp_path):
    for picture in pictures:
        picture.write_bytes(b"no picture")
    with pytest.raises(UnrenderError, match=r"film\.mp4: ffmpeg failed \(.+\); the pictures are kept"):
        ffmpeg.encode(tmp_path / "film.mp4", pictures, 25)
    assert not list(tmp_path.glob("*film*"))


def test_nothing_of_a_film_remains_when_its_pictures_end_in_ctrl_c(pictures, tmp_path):
    """The program does not even read, so that handing over more than a pipe holds would wait for ever."""
    program = script(tmp_path, f'echo half > "$last"; echo $$ > "{tmp_path}/pid"; exec sleep 100')
    (tmp_path / "film.mp4").write_bytes(b"earlier")

    def stopped():
        yield pictures[0]
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            pass
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FFmpeg(str(program), "mpeg4").encode(tmp_path / "film.mp4", stopped(), 25)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert (tmp_path / "film.mp4").read_bytes() == b"earlier"
    assert [path.name for path in tmp_path.glob("*film*")] == ["film.mp4"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('echo "first line" >&2; echo "Unknown encoder" >&2; exit 1', "Unknown encoder"),
        ("cat > /dev/null; exit 7", "exit status 7"),
        ('echo whole > "$last"; exec 0<&-; sleep 0.2; exit 0', "exit status 0"),  # took not all, yet is content
    ],
)
def test_a_failure_is_one_line_and_the_earlier_film_stays(pictures, tmp_path, text, reason):
    (tmp_path / "film.mp4").write_bytes(b"earlier")
    big = tmp_path / "big.png"
    big.write_bytes(bytes(1 << 20))  # more than a pipe holds
    with pytest.raises(UnrenderError) as caught:
        FFmpeg(str(script(tmp_path, text)), "mpeg4").encode(tmp_path / "film.mp4", [*pictures, big], 25)
    assert str(caught.value) == f"{tmp_path / 'film.mp4'}: ffmpeg failed ({reason}); the pictures are kept"
    assert (tmp_path / "film.mp4").read_bytes() == b"earlier"
    assert [path.name for path in tmp_path.glob("*film*")] == ["film.mp4"]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_rate_that_no_film_has(pictures, tmp_path, rate):
    with pytest.raises(SettingsError, match="--fps"):
        FFmpeg("ffmpeg", "mpeg4").encode(tmp_path / "film.mp4", pictures, rate)


LISTED = "echo ' V....D {0}  text about libx264'"


@pytest.mark.parametrize("encoder", ["libx264", "libopenh264", "mpeg4"])
def test_the_ffmpeg_on_path_comes_first_with_what_it_has(tmp_path, monkeypatch, encoder):
    program = script(tmp_path, LISTED.format(encoder))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_ffmpeg() == FFmpeg(str(program), encoder)


def test_an_ffmpeg_that_cannot_gives_way_to_the_extra_or_is_named(tmp_path, monkeypatch):
    lame, able = tmp_path / "lame", tmp_path / "able"
    lame.mkdir()
    able.mkdir()
    monkeypatch.setenv("PATH", f"{lame}{os.pathsep}{os.environ['PATH']}")
    useless = script(lame, LISTED.format("gif"))
    useful = str(script(able, LISTED.format("mpeg4")))
    monkeypatch.setattr(video, "_bundled_program", lambda: useful)
    assert find_ffmpeg() == FFmpeg(useful, "mpeg4")
    monkeypatch.setattr(video, "_bundled_program", lambda: None)
    with pytest.raises(SettingsError, match="libx264 or libopenh264 or mpeg4") as caught:
        find_ffmpeg()
    assert str(useless) in str(caught.value)
