"""A checkpoint gives back the model and every bit of the fit, or says in one line why it cannot."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unrender.datasets.read_capture import read_capture
from unrender.errors import RunError
from unrender.fit.checkpoint import (
    model_metadata,
    model_tensors,
    newest_checkpoint,
    previous_of,
    read_checkpoint,
    write_checkpoint,
)
from unrender.fit.fit import Fit, start_model
from unrender.render.shade.settings import UNetSettings


@pytest.fixture(scope="module")
def capture(tiny_capture):
    return read_capture(tiny_capture)


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

    def full(part, data):
        part.write_bytes(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unrender.fit.checkpoint._write_through", full)
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


def test_a_flipped_bit_is_found(fit, tmp_path):
    path = save(fit, tmp_path / "c.safetensors")
    data = bytearray(path.read_bytes())
    data[-1000] ^= 4
    path.write_bytes(data)
    with pytest.raises(RunError, match="damaged \\(its checksum is wrong\\)"):
        read_checkpoint(path)


def test_a_changed_digit_of_the_metadata_is_found(fit, tmp_path):
    path = save(fit, tmp_path / "c.safetensors")
    path.write_bytes(path.read_bytes().replace(b'\\"step\\": 3', b'\\"step\\": 4', 1))
    with pytest.raises(RunError, match="its checksum is wrong"):
        read_checkpoint(path)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs a list of mapped files")
def test_a_read_checkpoint_holds_no_file(fit, tmp_path):
    checkpoint = read_checkpoint(save(fit, tmp_path / "held.safetensors"))
    assert checkpoint.step == 3
    assert "held.safetensors" not in Path("/proc/self/maps").read_text()


def test_the_digest_follows_the_state(fit, tmp_path):
    first = read_checkpoint(save(fit, tmp_path / "a.safetensors")).digest
    assert read_checkpoint(save(fit, tmp_path / "b.safetensors")).digest == first
    list(fit.run(stop=lambda: True))
    assert read_checkpoint(save(fit, tmp_path / "c.safetensors")).digest != first


def test_the_state_before_is_kept_and_used_when_the_newest_is_damaged(fit, tmp_path):
    path = save(fit, tmp_path / "c.safetensors")
    first = path.read_bytes()
    list(fit.run(stop=lambda: True))
    save(fit, path)
    assert previous_of(path).read_bytes() == first
    assert newest_checkpoint(path).step == 4
    assert newest_checkpoint(path).note is None
    path.write_bytes(path.read_bytes()[:-1])
    found = newest_checkpoint(path)
    assert found.step == 3
    assert found.note == f"{path}: the checkpoint is damaged, using the one before it"
    path.unlink()  # killed between the two renames
    assert newest_checkpoint(path).note is None


def test_of_two_damaged_ones_neither_is_used(fit, tmp_path):
    path = save(fit, tmp_path / "c.safetensors")
    save(fit, path)
    path.write_bytes(b"")
    previous_of(path).write_bytes(b"")
    with pytest.raises(RunError, match="c\\.previous\\.safetensors: the checkpoint is damaged"):
        newest_checkpoint(path)


def test_a_newer_release_is_not_gone_behind(fit, tmp_path, monkeypatch):
    path = save(fit, tmp_path / "c.safetensors")
    monkeypatch.setattr("unrender.fit.checkpoint.CHECKPOINT_VERSION", 99)
    save(fit, path)
    monkeypatch.undo()
    with pytest.raises(RunError, match="another version"):
        newest_checkpoint(path)


def test_a_state_that_is_not_finite_is_never_written(fit, tmp_path):
    path = save(fit, tmp_path / "c.safetensors")
    good = path.read_bytes()
    with torch.no_grad():
        fit.model.scene.descriptors[0, 0] = torch.inf
    with pytest.raises(RunError, match=r"step 3: scene\.points\.descriptors is not finite"):
        save(fit, path)
    assert path.read_bytes() == good


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
    with pytest.raises(RunError, match="another version, expected 4, got 99"):
        read_checkpoint(path)


def test_a_checkpoint_without_a_tensor_names_it(fit, tmp_path):
    checkpoint = read_checkpoint(save(fit, tmp_path / "c.safetensors"))
    for name in ("scene.points.position", "cameras.response", "cameras.lens.0"):
        tensors = {key: tensor for key, tensor in checkpoint.tensors.items() if key != name}
        with pytest.raises(RunError, match=name):
            replace(checkpoint, tensors=tensors).load_model()
