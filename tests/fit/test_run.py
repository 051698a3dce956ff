"""A run folder: made once, never overwritten, resumed to the same bytes, readable from anywhere."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from unrender.errors import CaptureError, RunError
from unrender.fit.run import CaptureSource, Run
from unrender.messages import Finished, Note, Saved, Started, Stepped


@pytest.fixture
def run(tiny_capture, small, tmp_path):
    return Run.create(tmp_path / "run", tiny_capture, small)


def logged(run):
    return [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]


def end_of(messages):
    """The last message, which says how a fit ended."""
    *_, last = messages
    assert isinstance(last, Finished)
    return last


def test_a_run_says_all_it_was_made_from(run, tiny_capture, small):
    again = Run.open(run.folder)
    assert again.settings == small
    assert again.source.folder == tiny_capture
    assert list(again.views("test")) == ["photo_0.jpg", "photo_8.jpg"]
    assert len(again.views("train")) == 7
    assert again.views("train")["photo_3.jpg"] == again.capture.names.index("photo_3.jpg")


def test_what_was_held_out_stays_held_out(tiny_capture, small, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("photo_4.jpg\n")
    run = Run.create(tmp_path / "run", CaptureSource(tiny_capture, test_names=names), small)
    names.write_text("photo_5.jpg\n")
    assert list(Run.open(run.folder).capture.test) == [run.capture.names.index("photo_4.jpg")]


def test_fitting_says_saves_and_logs_everything(run):
    messages = list(run.fit())
    kinds = [type(message) for message in messages]
    steps = [message.step for message in messages if isinstance(message, Stepped)]
    assert steps == list(range(6))
    assert kinds[0] is Note
    assert kinds.index(Started) < kinds.index(Stepped)
    assert kinds[-2:] == [Saved, Finished]
    assert [entry["type"] for entry in logged(run)] == [kind.__name__ for kind in kinds]
    assert run.load_checkpoint().step == 6


@pytest.mark.parametrize("stops", [[1], [2, 5], [1, 2, 3, 4, 5]])
def test_an_interrupted_run_ends_with_the_same_bytes(run, tiny_capture, small, tmp_path, stops):
    list(run.fit())
    other = Run.create(tmp_path / "other", tiny_capture, small)
    for stop in stops:
        taken = iter(range(stop - _done(other), -1, -1))
        next(taken)
        last = end_of(Run.open(other.folder).fit(stop=lambda taken=taken: next(taken) == 0))
        assert last == Finished(stop, last.elapsed, interrupted=True)
    list(Run.open(other.folder).fit())
    assert other.checkpoint_path.read_bytes() == run.checkpoint_path.read_bytes()


def _done(run):
    return run.load_checkpoint().step if run.checkpoint_path.exists() else 0


def test_elapsed_time_goes_on_after_a_resume(run):
    first = end_of(run.fit(stop=lambda: True))
    last = end_of(Run.open(run.folder).fit())
    assert last.elapsed > first.elapsed > 0


def test_a_damaged_log_does_not_stop_a_resume(run):
    list(run.fit(stop=lambda: True))
    with (run.folder / "log.jsonl").open("a") as log:
        log.write('{"type": "Stepped", "st')
    assert end_of(Run.open(run.folder).fit()).step == 6
    (run.folder / "log.jsonl").unlink()
    assert end_of(Run.open(run.folder).fit()).step == 6


def test_a_model_needs_neither_capture_nor_initialisation(tiny_capture, small, tmp_path):
    capture = shutil.copytree(tiny_capture, tmp_path / "capture")
    run = Run.create(tmp_path / "run", capture, small)
    list(run.fit())
    shutil.rmtree(capture)
    model = Run.open(run.folder).load_model()
    assert model.image(model.cameras.select([2])).shape == (1, 3, 48, 64)


def test_the_end_of_a_run_can_be_moved(run):
    list(run.fit())
    run.extend(steps=8)
    assert end_of(Run.open(run.folder).fit()).step == 8


def test_a_run_is_never_overwritten(run, tiny_capture, small):
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(RunError, match="there is a run here already; add --resume"):
        Run.create(run.folder, tiny_capture, small)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_folders_of_others_are_left_alone(tiny_capture, small, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"holds 'thesis\.tex'"):
        Run.create(tmp_path / "mine", tiny_capture, small)
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "mine" / "thesis.tex", tiny_capture, small)
    with pytest.raises(RunError, match="there is no run here"):
        Run.open(tmp_path / "mine")


def test_a_capture_that_cannot_be_read_leaves_no_folder(small, tmp_path):
    with pytest.raises(CaptureError):
        Run.create(tmp_path / "run", tmp_path / "nowhere", small)
    assert not (tmp_path / "run").exists()


def test_a_run_that_never_began_may_begin(tiny_capture, small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "capture.toml").touch()
    assert Run.exists(Run.create(tmp_path / "run", tiny_capture, small).folder)


def test_a_changed_capture_is_refused(tiny_capture, small, tmp_path):
    capture = shutil.copytree(tiny_capture, tmp_path / "capture")
    run = Run.create(tmp_path / "run", capture, small)
    (capture / "images" / "photo_3.jpg").unlink()
    with pytest.raises(RunError, match="photos have changed since the run began"):
        list(Run.open(run.folder).fit())


def test_every_setting_reaches_the_model(tiny_capture, small, tmp_path):
    run = Run.create(tmp_path / "run", tiny_capture, replace(small, width=32, steps=1))
    started = next(message for message in run.fit() if isinstance(message, Started))
    assert (started.width, started.height, started.steps) == (32, 24, 1)
    list(Run.open(run.folder).fit())
    assert torch.equal(run.load_model().cameras.sizes[0], torch.tensor([24, 32]))
