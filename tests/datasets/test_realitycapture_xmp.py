"""XMP files of RealityCapture: attributes and elements, lens models, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from posed_room import refuses_any_damage
from reality_tables import ANGLES, HAS_RATIONAL, LAST, ROTATION, table

from unrender.datasets.formats import find_format, read_reconstruction
from unrender.datasets.realitycapture import is_realitycapture
from unrender.errors import CaptureError

TURN = ROTATION.format(LAST)
GIVEN = {
    "Rotation": TURN,
    "Position": "1 2 3",
    "FocalLength35mm": "18",
    "Skew": "0",
    "AspectRatio": "1",
    "PrincipalPointU": "0.01",
    "PrincipalPointV": "-0.02",
    "DistortionModel": "brown3t2",
    "DistortionCoeficients": "-0.05 0.01 0 0 0.0003 -0.0002",
}


def sidecar(folder: Path, *, elements: tuple[str, ...] = ("Rotation", "Position"), **change: str) -> Path:
    """A photo with the file that RealityCapture puts beside it; what is empty in ``change`` is left out."""
    (folder / "images").mkdir(exist_ok=True)
    Image.new("L", (640, 480)).save(folder / "images" / "a.jpg")
    said = {name: value for name, value in (GIVEN | change).items() if value}
    inside = "".join(f"<xcr:{name}>{said[name]}</xcr:{name}>" for name in elements if name in said)
    beside = "".join(f' xcr:{name}="{value}"' for name, value in said.items() if name not in elements)
    (folder / "images" / "a.xmp").write_text(
        f"""<?xpacket begin="" id=""?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xcr:Version="3" xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#"{beside}>{inside}
</rdf:Description></rdf:RDF></x:xmpmeta>"""
    )
    return folder


@pytest.mark.parametrize("elements", [("Rotation", "Position"), (), tuple(GIVEN)])
def test_says_the_same_as_the_table(tmp_path, elements):
    """The same camera as the program exported it both ways; see ``reality_tables``."""
    found = read_reconstruction(sidecar(tmp_path, elements=elements))
    assert find_format(tmp_path)[0] == "realitycapture"
    assert found.names == ("a.jpg",)
    rows = f"a.jpg,1,2,3,{ANGLES},18,0.01,-0.02,-0.05,0.01,0,0,0.0003,-0.0002\n"
    listed = read_reconstruction(table(tmp_path, rows) / "cameras.csv", images=tmp_path / "images")
    torch.testing.assert_close(found.camera_from_world, listed.camera_from_world, rtol=0, atol=1e-7)
    assert torch.equal(found.lenses[0].params, listed.lenses[0].params)


def test_lenses(tmp_path):
    plain = read_reconstruction(sidecar(tmp_path, DistortionModel="perspective", AspectRatio="1.01")).lenses[0]
    assert (plain.model, plain.params.tolist()) == ("PINHOLE", [320, 323.2, 326.4, 227.2])
    three = read_reconstruction(sidecar(tmp_path, DistortionModel="brown3")).lenses[0]
    assert (three.model, three.params.tolist()[3:]) == ("RADIAL", [-0.05, 0.01])


@HAS_RATIONAL
def test_the_division_model(tmp_path):
    found = read_reconstruction(
        sidecar(tmp_path, DistortionModel="division", DistortionCoeficients="0.12 0 0 0 0 0")
    ).lenses[0]
    x, y = 0.4, -0.3
    expected = np.array([x, y]) / (1 + 0.12 * (x**2 + y**2)) * 320 + [326.4, 227.2]
    pixel, _ = found.project(torch.tensor([[x, y, 1.0]], dtype=torch.float64))
    assert np.abs(pixel.numpy() - expected).max() < 1e-9


def test_files_without_a_pose(tmp_path):
    sidecar(tmp_path)
    (tmp_path / "images" / "b.xmp").write_text("<x/>")
    assert read_reconstruction(tmp_path).notes == ("1 XMP files without a pose: left out",)
    assert not is_realitycapture(tmp_path / "images" / "a.xmp")


BAD = {
    "no pose": ({"Rotation": ""}, "no XMP file with a pose"),
    "a rotation cut short": ({"Rotation": "1 0 0"}, "a.xmp: xcr:Rotation is cut short or too long"),
    "no rotation": ({"Rotation": "2 0 0 0 1 0 0 0 1"}, "not a rigid motion"),
    "a word": ({"Position": "1 2 here"}, "xcr:Position is no number"),
    "no focal length": ({"FocalLength35mm": ""}, "no xcr:FocalLength35mm"),
    "skew": ({"Skew": "0.1"}, "no lens has skew"),
    "another model": ({"DistortionModel": "rationalP2D1"}, "no lens here for the distortion model 'rationalp2d1'"),
    "too few coefficients": ({"DistortionCoeficients": "1 2 3"}, "the coefficients is cut short"),
    "a negative focal length": ({"FocalLength35mm": "-18"}, "a.xmp: OPENCV"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_refusal(tmp_path, change, message):
    with pytest.raises(CaptureError) as said:
        read_reconstruction(sidecar(tmp_path, **change))
    assert message in str(said.value)


def test_any_damage_is_one_line(tmp_path):
    sidecar(tmp_path)
    file = tmp_path / "images" / "a.xmp"
    assert refuses_any_damage(file, lambda: read_reconstruction(tmp_path, "realitycapture"), seed=4) > 20
