"""Every verb from end to end on a tiny capture: what it writes, what it says where, and its exit status."""

import json
import shutil

import pytest

from unrender.fit.run import Run


def test_fit_prints_the_table_and_nothing_else(fitted):
    run, said = fitted
    assert said.status == 0
    assert "2 held-out photos, 64 x 48" in said.out
    assert "exif" in said.out
    assert "fitted" in said.out
    assert "step" not in said.out
    assert "fitting 100 %  step 6" in said.err
    assert "scoring 100 %" in said.err
    assert sorted(path.name for path in run.iterdir() if ".lock" not in path.name) == [
        "capture.toml",
        "checkpoint.safetensors",
        "eval",
        "eval.json",
        "log.jsonl",
        "machine.toml",
        "report.html",
        "settings.toml",
    ]


def test_eval_writes_the_same_scores_again(unrender, fitted, tmp_path):
    run = shutil.copytree(fitted[0], tmp_path / "run")
    (run / "eval.json").unlink()
    said = unrender("eval", run)
    assert said.status == 0
    assert "photo_0.jpg" in said.out
    assert (run / "eval.json").read_bytes() == (fitted[0] / "eval.json").read_bytes()
    assert {path.name for path in (run / "eval").iterdir()} == {"photo_0.png", "photo_8.png"}


def test_eval_json_has_the_promised_keys(fitted):
    table = json.loads((fitted[0] / "eval.json").read_text())
    promised = {"test", "images", "fitted_exposure", "definition", "seconds", "width", "height", "contrast_from"}
    assert set(table) == promised
    assert table["contrast_from"] == "prior"
    assert set(table["test"]) == set(table["fitted_exposure"]) == {"psnr", "ssim", "flip"}
    assert [set(image) for image in table["images"]] == [{"name", "psnr", "ssim", "flip"}] * 2
    assert table["test"]["psnr"] == pytest.approx(sum(image["psnr"] for image in table["images"]) / 2)
    assert table["seconds"] > 0


def test_json_is_one_object_and_quiet_is_silence_in_every_verb(unrender, tiny_capture, fitted, small, tmp_path):
    """The demo's is in test_demo.py."""
    run, again = tmp_path / "new", shutil.copytree(fitted[0], tmp_path / "run")
    verbs = {
        "fit": (run, (tiny_capture, "-o", run, "--config", small, "--steps", 1)),
        "eval": (again, (again,)),
        "render": (fitted[0], (fitted[0], "-o", tmp_path / "pictures")),
    }
    for verb, (folder, arguments) in verbs.items():
        said = unrender(verb, *arguments, "--json", "--quiet", "--seed", 0, "--threads", 1, "--device", "cpu")
        assert (said.status, said.err) == (0, "")
        assert said.out.count("\n") == 1
        result = json.loads(said.out)
        assert result["run"] == str(folder)
        if verb != "render":
            assert result.items() >= json.loads((folder / "eval.json").read_text()).items()


def test_without_quiet_and_a_terminal_progress_is_plain_lines_on_stderr(fitted):
    said = fitted[1]
    assert "\x1b" not in said.err + said.out
    assert all(line.isprintable() for line in said.err.splitlines())


def test_a_run_without_held_out_photos_says_so(unrender, tiny_capture, small, tmp_path):
    said = unrender("fit", tiny_capture, "-o", tmp_path / "r", "--config", small, "--steps", 1, "--test-every", 0)
    assert said.status == 0
    assert "nothing to score" in said.out
    said = unrender("fit", tiny_capture, "-o", tmp_path / "r", "--steps", 2, "--resume", "--json")
    page = str(tmp_path / "r" / "report.html")
    assert json.loads(said.out) == {"run": str(tmp_path / "r"), "interrupted": False, "step": 2, "report": page}


def test_a_resumed_run_may_skip_what_is_not_finite(unrender, tiny_capture, fitted, tmp_path):
    run = shutil.copytree(fitted[0], tmp_path / "run")
    assert Run.open(run).settings.on_nonfinite == "stop"
    said = unrender("fit", tiny_capture, "-o", run, "--resume", "--on-nonfinite", "skip")
    assert said.status == 0
    assert Run.open(run).settings.on_nonfinite == "skip"


def test_resume_moves_the_end_and_begins_what_never_began(unrender, tiny_capture, small, tmp_path):
    command = ("fit", tiny_capture, "-o", tmp_path / "run", "--config", small, "--resume")
    assert unrender(*command, "--steps", 2).status == 0
    assert Run.open(tmp_path / "run").load_checkpoint().step == 2
    said = unrender(*command, "--steps", 4)
    assert said.status == 0
    assert "resumed after step 2" in said.err
    assert Run.open(tmp_path / "run").load_checkpoint().step == 4


def test_version_and_help(unrender):
    import unrender as package

    assert unrender("--version").out == f"unrender {package.__version__}\n"
    for arguments in (
        (),
        ("--help",),
        ("fit", "--help"),
        ("render", "--help"),
        ("eval", "--help"),
        ("demo", "--help"),
        ("bench", "--help"),
    ):
        said = unrender(*arguments)
        assert said.status == 0
        assert "unrender" in said.out
        assert said.err == ""
