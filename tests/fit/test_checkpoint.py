"""A checkpoint gives back the model and every bit of the fit, or says in one line why it cannot."""

import json
import struct
from dataclasses import replace

import pytest
import torch

from unrender.datasets.colmap import read_colmap
from unrender.errors import RunError
from unrender.fit.checkpoint import model_metadata, model_tensors, read_checkpoint, write_checkpoint
from unrender.fit.fit import Fit, start_model
from unrender.render.shade.settings import UNetSettings


@pytest.fixture(scope="module")
def capture(tiny_capture):
    return read_colmap(tiny_capture)


@pytest.fixture
def fit(capture, small):
    model, _ = start_model(capture, small)
    fit = Fit(model, capture, small)
    list(fit.run(stop=lambda: fit.step == 3))
    return fit


def save(fit, path):
    write_checkpoint(path, fit.model, fit.state(), fit.settings, fit.step)
    return path


def metadata_of(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])["__metadata__"]


def test_a_model_comes_back_whole(fit, tmp_path):
    checkpoint = read_checkpoint(save(fit, tmp_path / "c.safetensors"))
    model = checkpoint.load_model()
    assert checkpoint.step == 3
    assert checkpoint.settings == fit.settings
    assert model_metadata(model) == model_metadata(fit.model)
    before, after = model_tensors(fit.model), model_tensors(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    some = fit.model.cameras.select([0])
    assert torch.equal(fit.model.image(some), model.image(model.cameras.select([0])))


def test_every_network_comes_back(capture, small, tmp_path):
    settings = replace(small, network=UNetSettings(widths=(8, 16)))
    model, _ = start_model(capture, settings)
    write_checkpoint(tmp_path / "c.safetensors", model, {}, settings, 0)
    loaded = read_checkpoint(tmp_path / "c.safetensors").load_model()
    assert torch.equal(model.image(model.cameras.select([1])), loaded.image(loaded.cameras.select([1])))


def test_a_restored_fit_goes_on_bit_for_bit(fit, capture, tmp_path):
    checkpoint = read_checkpoint(save(fit, tmp_path / "half.safetensors"))
    resumed = Fit(checkpoint.load_model(), capture, checkpoint.settings)
    resumed.restore(checkpoint.tensors, checkpoint.step, 0.0)
    list(fit.run())
    list(resumed.run())
    assert save(fit, tmp_path / "a.safetensors").read_bytes() == save(resumed, tmp_path / "b.safetensors").read_bytes()


def test_one_metadata_entry_of_sorted_json_and_no_clock(fit, tmp_path):
    fit.elapsed = 1234.5
    first = save(fit, tmp_path / "a.safetensors").read_bytes()
    fit.elapsed = 5432.1
    assert save(fit, tmp_path / "b.safetensors").read_bytes() == first
    (text,) = metadata_of(tmp_path / "a.safetensors").values()
    assert text == json.dumps(json.loads(text), sort_keys=True)


def test_a_failed_write_leaves_the_last_good_one(fit, tmp_path, monkeypatch):
    path = save(fit, tmp_path / "c.safetensors")
    good = path.read_bytes()

    def full(tensors, filename, metadata=None):
        filename.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unrender.fit.checkpoint.save_file", full)
    with pytest.raises(RunError, match=r"c\.safetensors: cannot write .*No space left"):
        save(fit, path)
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, -1])
def test_a_file_cut_short_is_refused(fit, tmp_path, keep):
    path = save(fit, tmp_path / "c.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(RunError, match=r"c\.safetensors: the checkpoint is damaged") as refusal:
        read_checkpoint(path)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"there is no checkpoint.*unrender fit"):
        read_checkpoint(tmp_path / "nowhere.safetensors")


def test_files_of_others_and_of_other_versions_are_refused(fit, tmp_path, monkeypatch):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(RunError, match="not a checkpoint of unrender"):
        read_checkpoint(tmp_path / "other.safetensors")
    monkeypatch.setattr("unrender.fit.checkpoint.CHECKPOINT_VERSION", 99)
    path = save(fit, tmp_path / "c.safetensors")
    monkeypatch.undo()
    with pytest.raises(RunError, match="another version, expected 1, got 99"):
        read_checkpoint(path)


def test_a_checkpoint_without_a_tensor_names_it(fit, tmp_path):
    checkpoint = read_checkpoint(save(fit, tmp_path / "c.safetensors"))
    for name in ("scene.points.position", "cameras.response", "cameras.lens.0"):
        tensors = {key: tensor for key, tensor in checkpoint.tensors.items() if key != name}
        with pytest.raises(RunError, match=name):
            replace(checkpoint, tensors=tensors).load_model()
