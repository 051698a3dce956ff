"""The log survives crashes and full disks, remembers the time, and is strict JSON."""

import json
import math
from pathlib import Path

import pytest

from unrender.fit.log import RunLog, elapsed_at, json_text
from unrender.messages import Note, Saved, Stepped


def stepped(step, elapsed):
    return Stepped(step, 0.5, math.inf, 0.1, elapsed, math.inf)


def test_every_message_is_a_line_of_strict_json(tmp_path):
    with RunLog(tmp_path / "log.jsonl") as log:
        for message in (Note("ü"), stepped(0, 1.0), Saved(tmp_path / "x", "y")):
            log.write(message)
    entries = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "log.jsonl").open(encoding="utf-8")]
    assert [entry["type"] for entry in entries] == ["Note", "Stepped", "Saved"]
    assert entries[0]["text"] == "ü"
    assert entries[1]["psnr"] is None
    assert entries[2]["path"] == str(tmp_path / "x")


def test_a_cut_line_is_ended_before_the_next(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"type": "Stepped", "st')
    with RunLog(path) as log:
        log.write(Note("again"))
    first, second = path.read_text().splitlines()
    assert first == '{"type": "Stepped", "st'
    assert json.loads(second) == {"type": "Note", "text": "again"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_silences_the_log_and_nothing_else():
    with RunLog(Path("/dev/full")) as log:
        log.write(Note("lost"))
        log.write(Note("lost too"))
    assert log.failure is not None
    assert "space" in str(log.failure)


def test_a_log_that_cannot_be_opened_is_silent(tmp_path):
    with RunLog(tmp_path / "nowhere" / "log.jsonl") as log:
        log.write(Note("lost"))
    assert isinstance(log.failure, FileNotFoundError)


def test_time_is_that_of_the_sitting_that_was_kept(tmp_path):
    path = tmp_path / "log.jsonl"
    with RunLog(path) as log:  # saved after step 2, went on to step 4, was killed, and made steps 3 and 4 again
        for step, elapsed in ((0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (2, 13.0), (3, 14.0)):
            log.write(stepped(step, elapsed))
    assert elapsed_at(path, 2) == 2.0
    assert elapsed_at(path, 4) == 14.0
    assert elapsed_at(path, 0) == 0.0
    assert elapsed_at(tmp_path / "none", 4) == 0.0


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\xff\xfe\n",
        b"[1]\n",
        b"3\n",
        b"\n",
        b'{"type": "Stepped"}\n',
        b'{"type": "Stepped", "step": "0", "elapsed": null}\n',
    ],
)
def test_rubbish_in_a_log_is_passed_over(tmp_path, rubbish):
    path = tmp_path / "log.jsonl"
    path.write_bytes(rubbish)
    with RunLog(path) as log:
        log.write(stepped(0, 1.5))
    assert elapsed_at(path, 1) == 1.5


def test_trees_become_strict_json():
    tree = {"a": [1, math.nan, (2.5, -math.inf)], "b": Path("x"), "c": {"d": True, "e": None}}
    assert json.loads(json_text(tree)) == {"a": [1, None, [2.5, None]], "b": "x", "c": {"d": True, "e": None}}
