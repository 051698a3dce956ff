"""A run folder: made once, never overwritten, resumed to the same bytes, readable from anywhere."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from unrender.errors import CaptureError, RunError
from unrender.fit.checkpoint import UnsavedError, write_checkpoint
from unrender.fit.run import Run
from unrender.fit.settings_file import read_table
from unrender.fit.source import CaptureSource
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
    run.change(replace(run.settings, steps=8))
    assert end_of(Run.open(run.folder).fit()).step == 8


def test_the_end_cannot_be_moved_behind_the_run(run):
    list(run.fit())
    before = run.settings_path.read_bytes()
    for end in ({"steps": 5}, {"steps": None, "minutes": 1e-9}):
        with pytest.raises(RunError, match="behind it already"):
            run.change(replace(run.settings, **end))
    assert run.settings_path.read_bytes() == before
    run.change(replace(run.settings, steps=100))
    run.change(replace(run.settings, steps=6))  # where it stands


def test_what_a_run_computes_cannot_be_changed(run):
    before = run.settings_path.read_bytes()
    with pytest.raises(RunError, match=r"the run began with another seed, expected 0, got 1"):
        run.change(replace(run.settings, seed=1))
    assert run.settings_path.read_bytes() == before


def test_a_run_is_never_overwritten(run, tiny_capture, small):
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(RunError, match="there is a run here already; add --resume"):
        Run.create(run.folder, tiny_capture, small)
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_folders_of_others_are_left_alone(tiny_capture, small, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"holds 'thesis\.tex' and is no run"):
        Run.create(tmp_path / "mine", tiny_capture, small)
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "mine" / "thesis.tex", tiny_capture, small)
    with pytest.raises(RunError, match="there is no run here"):
        Run.open(tmp_path / "mine")


def test_a_capture_that_cannot_be_read_leaves_no_folder(small, tmp_path):
    with pytest.raises(CaptureError):
        Run.create(tmp_path / "run", tmp_path / "nowhere", small)
    assert not (tmp_path / "run").exists()


def test_a_start_that_is_refused_leaves_no_run(run, tiny_capture, small, monkeypatch):
    def refuse(*_):
        raise CaptureError("no such light")

    with monkeypatch.context() as patch:
        patch.setattr("unrender.fit.run.start_model", refuse)
        with pytest.raises(CaptureError, match="no such light"):
            list(run.fit())
    assert not Run.exists(run.folder)
    assert end_of(Run.create(run.folder, tiny_capture, replace(small, seed=3)).fit()).step == 6


def test_a_picture_replaced_between_sittings_is_noticed(tiny_capture, small, tmp_path):
    capture = shutil.copytree(tiny_capture, tmp_path / "capture")
    shutil.copytree(capture / "images", tmp_path / "masks")
    run = Run.create(tmp_path / "run", CaptureSource(capture, masks=tmp_path / "masks"), small)
    list(run.fit(stop=lambda: True))
    shutil.copy(capture / "images" / "photo_2.jpg", tmp_path / "masks" / "photo_3.jpg")
    with pytest.raises(RunError, match=r"masks/photo_3\.jpg: this mask is not the one that the run began with; put"):
        list(Run.open(run.folder).fit())
    shutil.copy(capture / "images" / "photo_3.jpg", tmp_path / "masks" / "photo_3.jpg")
    assert end_of(Run.open(run.folder).fit()).step == 6


def test_a_run_that_never_began_may_begin(tiny_capture, small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "capture.toml").touch()
    assert Run.exists(Run.create(tmp_path / "run", tiny_capture, small).folder)


def test_a_run_without_its_settings_is_not_taken_for_one_that_never_began(run, tiny_capture, small):
    list(run.fit())
    run.settings_path.unlink()
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(RunError, match=r"holds 'checkpoint\.safetensors' and is no run \(it has no settings\.toml\)"):
        Run.create(run.folder, tiny_capture, replace(small, seed=9))
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_the_settings_of_a_fit_that_goes_on_stay(run):
    messages = run.fit()
    next(messages)
    before = run.settings_path.read_bytes()
    with pytest.raises(RunError, match="another process is fitting into this run"):
        Run.open(run.folder).change(replace(run.settings, steps=2))
    assert run.settings_path.read_bytes() == before
    messages.close()


def test_a_run_whose_settings_file_was_edited_is_not_gone_on_with(run):
    list(run.fit(stop=lambda: True))
    run.settings_path.write_text(run.settings_path.read_text().replace("alpha = 0.01", "alpha = 0.5"))
    with pytest.raises(RunError, match=r"the run began with another alpha, expected 0\.01, got 0\.5"):
        list(Run.open(run.folder).fit())


def test_what_was_measured_is_not_asked_for_again(run, small):
    run.change(replace(small, steps=8, network=replace(small.network, precision="auto")))
    assert Run.open(run.folder).settings == replace(small, steps=8)


def test_an_error_after_the_arithmetic_of_a_step_makes_no_step_twice(run, tiny_capture, small, tmp_path, monkeypatch):
    list(run.fit())
    other = Run.create(tmp_path / "other", tiny_capture, small)
    with monkeypatch.context() as patch:
        answers = iter([20.0, 20.0])
        patch.setattr("unrender.fit.fit._psnr", lambda *_: next(answers))
        with pytest.raises(RuntimeError):  # a generator turns StopIteration into it
            list(other.fit())
    assert other.load_checkpoint().step == 2
    list(other.fit())
    assert other.checkpoint_path.read_bytes() == run.checkpoint_path.read_bytes()


def test_a_checkpoint_that_cannot_be_read_today_is_not_called_damaged(run, monkeypatch):
    list(run.fit())
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with monkeypatch.context() as patch:

        def refuse(*arguments, **named):
            raise PermissionError(13, "Permission denied")

        patch.setattr("unrender.fit.checkpoint.safe_open", refuse)
        with pytest.raises(RunError, match=r"cannot read the checkpoint \(Permission denied\)"):
            Run.open(run.folder).load_checkpoint()
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_every_damaged_checkpoint_is_put_aside(run):
    run.change(replace(run.settings, checkpoint_every=0.0))
    list(run.fit())
    for name in ("checkpoint.damaged.safetensors", "checkpoint.damaged-2.safetensors"):
        run.checkpoint_path.write_bytes(name.encode())
        list(Run.open(run.folder).fit())
        assert (run.folder / name).read_bytes() == name.encode()


def test_a_state_that_is_not_finite_ends_the_fit_at_the_next_save(run, monkeypatch):
    run.change(replace(run.settings, checkpoint_every=0.0))
    messages = run.fit()
    next(message for message in messages if isinstance(message, Stepped) and message.step == 2)
    broken = {"scene.points.descriptors": torch.tensor([torch.nan])}
    monkeypatch.setattr("unrender.fit.fit.Fit.state", lambda self: broken)
    with pytest.raises(RunError, match=r"scene\.points\.descriptors is not finite"):
        list(messages)
    assert run.load_checkpoint().step == 2


def test_a_run_that_began_is_not_refused_for_memory(run, monkeypatch):
    list(run.fit(stop=lambda: True))
    monkeypatch.setattr("unrender.fit.run.available_memory", lambda: 2**20)
    assert end_of(Run.open(run.folder).fit()).step == 6


def test_one_process_at_a_time_scores(run):
    list(run.fit())
    first = run.evaluate()
    next(first)
    with pytest.raises(RunError, match="another process is scoring this run"):
        list(Run.open(run.folder).evaluate())
    list(first)
    assert run.load_scores()["images"]


def test_a_path_that_no_file_can_name_is_refused(small, tmp_path):
    with pytest.raises(CaptureError, match="not UTF-8"):
        Run.create(tmp_path / "run", tmp_path / "ti\udcffny", small)
    assert not (tmp_path / "run").exists()


def test_a_changed_capture_is_refused(tiny_capture, small, tmp_path):
    capture = shutil.copytree(tiny_capture, tmp_path / "capture")
    run = Run.create(tmp_path / "run", capture, small)
    model = capture / "sparse" / "0" / "images.txt"
    model.write_text(model.read_text().replace("photo_3.jpg", "other.jpg"))
    (capture / "images" / "photo_3.jpg").rename(capture / "images" / "other.jpg")
    with pytest.raises(RunError, match="photos have changed since the run began"):
        list(Run.open(run.folder).fit())


def test_every_setting_reaches_the_model(tiny_capture, small, tmp_path):
    run = Run.create(tmp_path / "run", tiny_capture, replace(small, width=32, steps=1))
    started = next(message for message in run.fit() if isinstance(message, Started))
    assert (started.width, started.height, started.steps) == (32, 24, 1)
    list(Run.open(run.folder).fit())
    assert torch.equal(run.load_model().cameras.sizes[0], torch.tensor([24, 32]))


def test_one_process_at_a_time(run, tiny_capture, small):
    messages = run.fit()
    next(messages)
    with pytest.raises(RunError, match=r"another process is fitting into this run \(process \d+ on "):
        list(Run.open(run.folder).fit())
    assert end_of([*messages]).step == 6
    assert end_of(Run.open(run.folder).fit()).step == 6


def test_a_damaged_checkpoint_costs_one_save_and_is_kept(run, tiny_capture, small, tmp_path):
    run.change(replace(small, checkpoint_every=0.0))
    list(run.fit())
    other = Run.create(tmp_path / "other", tiny_capture, run.settings)
    list(other.fit(stop=lambda: True))
    list(Run.open(other.folder).fit(stop=lambda: True))
    other.checkpoint_path.write_bytes(b"rubbish")
    notes = [message.text for message in Run.open(other.folder).fit() if isinstance(message, Note)]
    assert any("damaged, using the one before it" in note for note in notes)
    assert "resumed after step 1" in notes
    assert (other.folder / "checkpoint.damaged.safetensors").read_bytes() == b"rubbish"
    assert other.load_checkpoint().step == 6
    assert other.load_checkpoint().digest == run.load_checkpoint().digest


def test_a_full_disk_does_not_end_a_fit_before_its_end(run, monkeypatch):
    run.change(replace(run.settings, checkpoint_every=0.0))
    written = []

    def full_at_first(*arguments, **named):
        written.append(None)
        if len(written) < 3:
            raise UnsavedError("cannot write the checkpoint (disk full)")
        return write_checkpoint(*arguments, **named)

    monkeypatch.setattr("unrender.fit.saver.write_checkpoint", full_at_first)
    notes = [message.text for message in run.fit() if isinstance(message, Note)]
    assert sum("going on, and trying again" in note for note in notes) == 1
    assert run.load_checkpoint().step == 6


def test_a_disk_that_stays_full_is_an_error_at_the_end(run, monkeypatch):
    def full(*arguments, **named):
        raise UnsavedError("cannot write the checkpoint (disk full)")

    monkeypatch.setattr("unrender.fit.saver.write_checkpoint", full)
    with pytest.raises(RunError, match="disk full"):
        list(run.fit())


@pytest.mark.parametrize("error", [CaptureError("gone"), MemoryError(), RuntimeError("of torch")])
def test_an_error_in_the_middle_costs_no_step(run, error):
    messages = run.fit()
    reached = next(message for message in messages if isinstance(message, Stepped) and message.step == 3)
    with pytest.raises(type(error)):
        messages.throw(error)
    assert run.load_checkpoint().step == reached.step + 1


def test_whoever_stops_listening_loses_no_step(run):
    for message in (messages := run.fit()):
        if isinstance(message, Stepped) and message.step == 2:
            break
    messages.close()
    assert run.load_checkpoint().step == 3


def test_a_step_that_is_not_finite_keeps_what_was_good(run, monkeypatch):
    answers = iter([[], [], [], [], ["scene.points.descriptors"]])
    with monkeypatch.context() as patch:
        patch.setattr("unrender.fit.fit.Optimizer.broken_gradients", lambda self: next(answers))
        with pytest.raises(RunError, match=r"step 4, .*: the gradient of scene\.points\.descriptors is not finite"):
            list(run.fit())
    assert run.load_checkpoint().step == 4
    assert end_of(Run.open(run.folder).fit()).step == 6


def test_what_cannot_fit_is_refused_before_anything_is_made(tiny_capture, small, tmp_path, monkeypatch):
    monkeypatch.setattr("unrender.fit.run.available_memory", lambda: 2**20)
    with pytest.raises(RunError, match=r"would need about .* GiB of memory"):
        Run.create(tmp_path / "run", tiny_capture, small)
    assert not (tmp_path / "run").exists()


def test_a_fit_says_what_memory_it_needs_and_scoring_is_refused_when_it_cannot_fit(run, monkeypatch):
    notes = [message.text for message in run.fit() if isinstance(message, Note)]
    assert any(note.startswith("needs about 0.") and "GiB are free" in note for note in notes)
    monkeypatch.setattr("unrender.fit.run.available_memory", lambda: 2**20)
    with pytest.raises(RunError, match="scoring would need about"):
        next(run.evaluate())
    assert not run.scores_path.exists()


def test_photos_are_kept_within_the_budget_that_was_set(tiny_capture, small, tmp_path):
    run = Run.create(tmp_path / "run", tiny_capture, replace(small, photo_memory=7))
    assert run.capture.store.budget == 7 * 2**20


def test_a_run_names_what_it_was_computed_with(run):
    table = read_table(run.folder / "machine.toml")
    assert table["versions"]["torch"] == torch.__version__
    assert table["threads"] == 1
    text = (run.folder / "machine.toml").read_text()
    (run.folder / "machine.toml").write_text(text.replace("threads = 1", "threads = 5"))
    notes = [message.text for message in run.fit() if isinstance(message, Note)]
    assert "the last bits may differ from a run that was never stopped (threads: 5, now 1)" in notes


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_text("=")])
def test_a_lost_machine_file_does_not_matter(run, spoil):
    spoil(run.folder / "machine.toml")
    assert end_of(run.fit()).step == 6
