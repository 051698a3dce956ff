"""Bundles, Metashape's XML and RealityCapture's tables: one clear line and status 2; and out and back by command."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unrender.datasets.formats import read_reconstruction

XML = '<?xml version="1.0"?><document version="2.0.0"><chunk><cameras>{}</cameras></chunk></document>'
BOMB = '<!DOCTYPE document [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><document><chunk>&b;</chunk></document>'
TABLE = "#name,x,y,alt,heading,pitch,roll,f\n"

# files of the folder, what is said
FILES: dict[str, tuple[dict[str, str], str]] = {
    "a bundle cut short": ({"bundle.out": "# Bundle file v0.3\n3 9\n"}, "cut short: 3 cameras and 9 points"),
    "a bundle alone": ({"bundle.out": "# Bundle file v0.3\n0 0\n"}, "no list of photos beside the bundle"),
    "a bundle of nothing": ({"bundle.out": "# Bundle file v0.3\n0 0\n", "list.txt": ""}, "no photo with a pose"),
    "entities": ({"cameras.xml": XML.format("")[:21] + BOMB}, "an XML file with a document type is not read"),
    "no camera": ({"cameras.xml": XML.format("")}, "cameras.xml: no camera with a pose"),
    "deep XML": ({"cameras.xml": XML.format("<group>" * 9999)}, "elements within elements, more than 64"),
    "a table of nothing": ({"c.csv": TABLE}, "c.csv: no cameras in this table"),
    "a table of words": ({"c.csv": TABLE + "a.jpg,1,2,3,4,5,6,wide\n"}, "c.csv: line 2: f is no number"),
    "a table without photos": ({"c.csv": TABLE + "a.jpg,1,2,3,4,5,6,7\n"}, "1 of 1 photos are not there"),
}


@pytest.mark.parametrize(("files", "message"), FILES.values(), ids=FILES)
def test_refusal(unrender, tmp_path, files, message):
    folder = tmp_path / "capture"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    said = unrender("convert", folder, "-o", tmp_path / "out", "--to", "colmap")
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("unrender: error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert [child.name for child in tmp_path.iterdir()] == ["capture"]


@pytest.mark.parametrize("kind", ["bundler", "metashape", "realitycapture"])
def test_out_and_back(unrender, tiny_capture, tmp_path, kind):
    there, back = tmp_path / "there", tmp_path / "back"
    assert unrender("convert", tiny_capture, "-o", there, "--to", kind).status == 0
    assert unrender("convert", there, "-o", back, "--to", "colmap").status == 0
    expected, found = read_reconstruction(Path(tiny_capture)), read_reconstruction(back)
    assert found.names == expected.names
    torch.testing.assert_close(found.camera_from_world, expected.camera_from_world, rtol=0, atol=1e-9)
    assert len(found.points) == len(expected.points)
