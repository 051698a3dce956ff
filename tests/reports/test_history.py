"""What the messages of several sittings tell of the state that they led to."""

import math

import numpy as np
import pytest

from unrender.fit.log import RunLog, read_log
from unrender.messages import Finished, Note, Skipped, Started, Stepped
from unrender.reports.history import binned, history


def started(step):
    return Started(8, 1, 100, 1000, 64, 48, step, 10, None)


def stepped(step, loss=0.5, psnr=20.0, elapsed=None):
    return Stepped(step, loss, psnr, step / 10, float(step if elapsed is None else elapsed), 1.0)


def test_steps_that_were_lost_and_made_again_count_once_as_they_were_made_last():
    first = [started(0), *(stepped(step, loss=1.0) for step in range(6))]
    second = [started(3), *(stepped(step, loss=2.0) for step in range(3, 8)), Finished(8, 8.0, interrupted=False)]
    told = history([*first, *second])
    assert told.steps.tolist() == list(range(8))
    assert told.losses.tolist() == [1.0] * 3 + [2.0] * 5
    assert told.sittings == 2
    assert told.finished is not None


def test_steps_after_the_state_do_not_belong_to_it():
    told = history([started(0), *map(stepped, range(6))], step=4)
    assert told.steps.tolist() == [0, 1, 2, 3]


def test_a_sitting_that_was_killed_has_no_end():
    told = history([started(0), stepped(0), Finished(1, 1.0, interrupted=True), started(1), stepped(1)])
    assert told.finished is None


def test_notes_come_once_and_steps_left_out_are_counted():
    told = history(
        [Note("a"), started(0), Skipped(0, "the loss", ("x",), 1), Skipped(1, "the loss", ("x",), 2), Note("a")]
    )
    assert told.notes == ("a",)
    assert told.skipped == 2


def test_the_gain_is_that_of_the_last_quarter():
    rises = [stepped(step, psnr=20.0 + (4.0 if step >= 150 else 0.0)) for step in range(200)]
    assert history(rises).gain() == pytest.approx(4.0)
    assert math.isnan(history(rises[:99]).gain())


def test_bins_hold_the_mean_and_the_spread():
    bins = binned(np.arange(100.0), np.arange(100.0), 10)
    assert len(bins.mean) == 10
    assert bins.mean[0] == 4.5
    assert bins.low[0] < bins.mean[0] < bins.high[0]
    assert len(binned(np.arange(3.0), np.arange(3.0), 10).mean) == 3
    assert len(binned(np.zeros(0), np.zeros(0)).mean) == 0


def test_a_log_gives_back_the_messages_that_were_written(tmp_path):
    said = [
        started(0),
        stepped(0, loss=math.nan),
        Note("x"),
        Skipped(1, "the loss", ("a", "b"), 1),
        Finished(2, 2.0, True),
    ]
    with RunLog(tmp_path / "log.jsonl") as log:
        for message in said:
            log.write(message)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"type": "Unheard"}\n{"type": "Note"}\n[]\n{"type": "Stepp')
    read = list(read_log(tmp_path / "log.jsonl"))
    assert read[0] == said[0]
    assert isinstance(read[1], Stepped)
    assert math.isnan(read[1].loss)
    assert read[2:] == said[2:]
    assert list(read_log(tmp_path / "none.jsonl")) == []
