"""XML of strangers: what is read is what the standard library reads, and what is dangerous is refused in one line."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from unrender.datasets.xml_tree import number, numbers, parse_xml, whole
from unrender.errors import CaptureError

GOOD = """<?xml version="1.0" encoding="UTF-8"?><!-- no --><a:r xmlns:a="uri:a" xmlns="uri:b" k="1" a:l="&lt;é&#228;">
<b>x<![CDATA[<y>]]></b>tail<?note?></a:r>"""


def test_reads_what_the_standard_library_reads(tmp_path):
    file = tmp_path / "f.xml"
    for encoding in ("utf-8", "utf-16", "latin-1"):
        file.write_bytes(GOOD.replace("UTF-8", encoding).encode(encoding))
        ours, theirs = parse_xml(file, "do"), ElementTree.parse(file).getroot()
        assert ElementTree.tostring(ours) == ElementTree.tostring(theirs)


BOMB = "<!DOCTYPE r [{}]><r>&e9;</r>".format(
    "<!ENTITY e0 'ha'>" + "".join(f"<!ENTITY e{n + 1} '{f'&e{n};' * 10}'>" for n in range(9))
)
BAD = {
    "nothing": (b"", "this is no XML (no element found"),
    "entities in entities": (BOMB.encode(), "document type"),
    "a file of the machine": (b"<!DOCTYPE r [<!ENTITY e SYSTEM 'file:///etc/hostname'>]><r>&e;</r>", "document type"),
    "an outer document type": (b"<!DOCTYPE r SYSTEM 'http://localhost/r.dtd'><r/>", "document type"),
    "an entity that is none": (b"<r>&who;</r>", "this is no XML (undefined entity"),
    "elements without end": (b"<r>" * 100_000, "elements within elements, more than 64"),
    "cut short": (b"<r><s>", "this is no XML"),
    "an encoding that is none": (b"<?xml version='1.0' encoding='klingon'?><r/>", "this is no XML"),
    "an encoding of several bytes": (b"<?xml version='1.0' encoding='gbk'?><r>\xd6\xd0</r>", "this is no XML"),
    "an encoding of no text": (b"<?xml version='1.0' encoding='base64'?><r/>", "this is no XML"),
    "bytes of no text": (b"<r>\xff\xfe</r>", "this is no XML"),
    "zeros": (b"\0" * 99, "this is no XML"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_refusal(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "f.xml").write_bytes(content)
    with pytest.raises(CaptureError) as said:
        parse_xml(tmp_path / "f.xml", "write it again")
    assert message in str(said.value)
    assert str(said.value).endswith("; write it again")


def test_numbers():
    assert number(" -1.5e-3\n", "it", "here") == -0.0015
    assert numbers("1\t2\n3", 3, "they", "here") == [1, 2, 3]
    assert whole("7", "it", "here") == 7
    for text in ("", None, "nan", "inf", "1e999", "1_0", "zwei", "1,5", "0x10"):
        with pytest.raises(CaptureError, match="here: it is no number"):
            number(text, "it", "here")
    for text in ("1.5", "-1", "1e300", str(2**31)):
        with pytest.raises(CaptureError, match="here: it is none"):
            whole(text, "it", "here")
    with pytest.raises(CaptureError, match="expected 3 numbers, got 2"):
        numbers("1 2", 3, "they", "here")
