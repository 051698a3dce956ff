"""Pictures of equal size become one film: an .mp4 that everything plays, written by an ffmpeg that the user has.

unrender ships no encoder. It takes the ``ffmpeg`` on PATH, else the one that the extra ``[video]`` (imageio-ffmpeg)
brings. H.264 where that ffmpeg has it, 4:2:0, tagged BT.709 in limited range, with the index in front so that it
plays while it loads. Chroma has half the resolution, so an odd last row or column is left out.
"""

from __future__ import annotations

import importlib
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from unrender.errors import SettingsError, UnrenderError

__all__ = ["FFmpeg", "check_rate", "find_ffmpeg"]

_ENCODERS = {
    "libx264": ("-crf", "18"),
    "libopenh264": ("-b:v", "8M"),
    "mpeg4": ("-q:v", "2"),
}
"""Encoders in the order of preference, and how each is asked for nearly what the pictures hold."""
_FILTER = (
    "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0,"
    "scale=flags=bicubic+accurate_rnd+full_chroma_inp:out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
)
_TAGS = ("-color_range", "tv", "-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709")
_REPEATABLE = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact")


@dataclass(frozen=True)
class FFmpeg:
    """A program that encodes films, and the encoder of its that we use."""

    program: str
    encoder: str

    def encode(self, path: Path, pictures: Iterable[Path], rate: float, threads: int | None = None) -> None:
        """Make the film ``path`` of PNG files [H, W] of one size, shown ``rate`` a second, encoded by ``threads``.

        The files are read one at a time. ``path`` is replaced by the whole film or stays as it was, also when this is
        interrupted. Raises SettingsError for a rate that is not positive, UnrenderError with ffmpeg's last line when
        ffmpeg fails.
        """
        part = path.with_name(f".{path.name}.part")
        try:
            self._run(self._command(part, check_rate(rate), threads), pictures, path)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _command(self, part: Path, rate: float, threads: int | None) -> list[str]:
        read = ("-f", "image2pipe", "-c:v", "png", "-framerate", f"{rate:g}", "-i", "pipe:0")
        made = ("-an", "-vf", _FILTER, "-c:v", self.encoder, *_ENCODERS[self.encoder], *_TAGS, *_REPEATABLE)
        made += () if threads is None else ("-threads", str(threads))
        whole = ("-movflags", "+faststart", "-f", "mp4", str(part.absolute()))
        return [self.program, "-hide_banner", "-loglevel", "error", "-y", *read, *made, *whole]

    def _run(self, command: list[str], pictures: Iterable[Path], path: Path) -> None:
        with tempfile.TemporaryFile() as said:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
            try:
                took_all = _feed(child, pictures)
                status = child.wait()
            finally:
                _end(child)
            if status != 0 or not took_all:
                reason = _last_line(said) or f"exit status {status}"
                raise UnrenderError(f"ffmpeg failed ({reason})", where=path, do="the pictures are kept")


def check_rate(rate: float) -> float:
    """The pictures per second of a film. Raises SettingsError when they are not a positive number, 1000 at most."""
    if not (math.isfinite(rate) and 0.001 <= rate <= 1000):
        raise SettingsError("pictures per second", where="--fps", expected="a number from 0.001 to 1000", got=rate)
    return rate


def find_ffmpeg() -> FFmpeg:
    """The ffmpeg on PATH, else the one of the extra ``[video]``. Raises SettingsError when neither can make a film."""
    programs = [program for program in (shutil.which("ffmpeg"), _bundled_program()) if program is not None]
    for program in programs:
        encoder = _encoder_of(program)
        if encoder is not None:
            return FFmpeg(program, encoder)
    raise SettingsError(
        "no ffmpeg can be found that makes an .mp4" if not programs else "this ffmpeg cannot make an .mp4",
        where=programs[0] if programs else None,
        expected=f"one with the encoder {' or '.join(_ENCODERS)}" if programs else None,
        do="install ffmpeg such that PATH finds it, or `pip install 'unrender[video]'`; pictures in a folder "
        "(an output that does not end in .mp4) need neither",
    )


def _bundled_program() -> str | None:
    with suppress(ImportError, RuntimeError, OSError):  # RuntimeError: the package without its program
        return importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    return None


def _encoder_of(program: str) -> str | None:
    """The best of our encoders that a program lists; lines of the list are ``flags name text``."""
    try:
        answer = subprocess.run(
            [program, "-hide_banner", "-encoders"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    listed = {
        words[1] for line in answer.stdout.decode(errors="replace").splitlines() if len(words := line.split()) > 1
    }
    return next((encoder for encoder in _ENCODERS if encoder in listed), None)


def _feed(child: subprocess.Popen[bytes], pictures: Iterable[Path]) -> bool:
    """Hand over file after file. False when the child took no more; why, its last words say."""
    pipe = child.stdin
    assert pipe is not None  # we asked for one
    try:
        for picture in pictures:
            pipe.write(picture.read_bytes())
        pipe.close()
    except BrokenPipeError:
        return False
    return True


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child that has not ended. Only then is its pipe closed, which could wait for it."""
    child.kill()
    child.wait()
    with suppress(BrokenPipeError):
        if child.stdin is not None:
            child.stdin.close()


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")
