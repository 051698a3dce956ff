"""Which photos the paths of other programs mean, and that nothing outside a capture is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from unrender.cameras.lens import make_lens
from unrender.datasets.listed_photos import complete_labels, find_listed, photo_sizes, share_lenses
from unrender.errors import CaptureError


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A capture with photos in two folders, and a photo outside it."""
    for name in ("capture/images/a.jpg", "capture/images/left/b.jpg", "outside/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path / "capture"


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (["a.jpg", "left/b.jpg"], ("a.jpg", "left/b.jpg")),
        (["./a.jpg", "left//b.jpg"], ("a.jpg", "left/b.jpg")),
        (["a.jpg", "left\\b.jpg"], ("a.jpg", "left/b.jpg")),
        (["C:\\x\\a.jpg", "C:\\x\\left\\b.jpg"], ("a.jpg", "left/b.jpg")),
        (["/elsewhere/in/a.jpg", "/elsewhere/in/left/b.jpg"], ("a.jpg", "left/b.jpg")),
        (["../../in/a.jpg", "../../in/left/b.jpg"], ("a.jpg", "left/b.jpg")),
    ],
)
def test_paths_of_all_kinds(capture, listed, names):
    for images in (None, capture / "images"):
        found = find_listed(listed, capture / "list.txt", capture, images)
        assert (found.names, found.folder) == (names, capture / "images")


def test_absolute_paths_within(capture):
    listed = [str(capture.resolve() / "images" / "a.jpg"), str(capture.resolve() / "images" / "left" / "b.jpg")]
    found = find_listed(listed, capture / "list.txt", capture, None, split=True)
    assert (found.names, found.folder) == (("a.jpg", "left/b.jpg"), capture / "images")


@pytest.mark.parametrize("path", ["../outside/a.jpg", "images/../../outside/a.jpg", "{}/../outside/a.jpg"])
def test_nothing_outside_is_named(capture, path):
    path = path.format(capture.resolve())
    found = find_listed([path], capture / "list.txt", capture, None)
    assert (found.folder / found.names[0]).resolve() == (capture / "images" / "a.jpg").resolve()
    (capture / "images" / "a.jpg").unlink()
    with pytest.raises(CaptureError, match="is not in this capture"):
        find_listed([path], capture / "list.txt", capture, None)


def test_photos_that_are_not_there_yet(capture):
    found = find_listed(["q.jpg", "r/s.jpg"], capture / "list.txt", capture, None)
    assert (found.names, found.folder) == (("q.jpg", "r/s.jpg"), capture / "images")
    elsewhere = find_listed(["in/q.jpg", "in/s.jpg"], capture / "list.txt", capture, None, split=True)
    assert (elsewhere.names, elsewhere.folder) == (("q.jpg", "s.jpg"), capture / "in")


def test_labels(capture):
    (capture / "images" / "left" / "a.jpg").write_bytes(b"")
    (capture / "images" / "b.txt").write_bytes(b"")
    assert complete_labels(["b", "left/a", "none"], capture / "images", capture) == ("left/b.jpg", "left/a.jpg", "none")
    assert complete_labels(["b"], capture / "nowhere", capture) == ("b",)


def test_equal_lenses_become_one():
    first, other = (make_lens("PINHOLE", 10, 8, [focal, 9, 5, 4]) for focal in (9, 7))
    again = make_lens("PINHOLE", 10, 8, [9, 9, 5, 4])
    lenses, index = share_lenses([first, other, again])
    assert lenses == (first, other)
    assert index.tolist() == [0, 1, 0]


def test_a_name_that_no_system_holds_is_not_there(tmp_path):
    with pytest.raises(CaptureError, match="1 of 1 photos are not there"):
        photo_sizes(["a" * 5000], tmp_path, tmp_path / "list.txt")
