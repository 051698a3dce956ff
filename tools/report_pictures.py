"""Makes the pictures of docs/report.md: the report of a run of the synthetic room, in the system's Chromium.

.venv/bin/unrender demo -o demo && .venv/bin/python tools/report_pictures.py demo/run
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESK_WIDTH, PHONE, GAP = 1120, (390, 844), 24
SHOWN_ON_PHONE = ("photos", "table", "curves", "light")
_MOVE = """place => {
  const range = document.querySelector(".stage input");
  range.value = place;
  range.dispatchEvent(new Event("input"));
}"""


def desk(browser: Browser, address: str) -> Image.Image:
    """The page from its top to the photo beside its rendering, light."""
    context = browser.new_context(
        viewport={"width": DESK_WIDTH, "height": 900}, color_scheme="light", device_scale_factor=1.25
    )
    page = context.new_page()
    page.goto(address)
    page.evaluate(_MOVE, "44")
    box = page.locator("#photos").bounding_box()
    height = box["y"] + box["height"] + 14 if box else 900
    clip = {"x": 0, "y": 0, "width": DESK_WIDTH, "height": height}
    return Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))  # pyright: ignore[reportArgumentType]


def phone(browser: Browser, address: str) -> Image.Image:
    """Four places of the page side by side, dark."""
    width, height = PHONE
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark", device_scale_factor=1.5, is_mobile=True
    )
    page = context.new_page()
    page.goto(address)
    shots = []
    for anchor in SHOWN_ON_PHONE:
        page.evaluate("name => document.getElementById(name).scrollIntoView({behavior: 'instant'})", anchor)
        shots.append(Image.open(io.BytesIO(page.screenshot())))
    wide = shots[0].width + GAP
    row = Image.new("RGB", (wide * len(shots) - GAP, shots[0].height), "white")
    for place, shot in enumerate(shots):
        row.paste(shot, (place * wide, 0))
    return row.resize((row.width * 3 // 5, row.height * 3 // 5), Image.Resampling.LANCZOS)


def main(run: Path) -> None:
    """Make both."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        for name, make in (("report.jpg", desk), ("report-phone.jpg", phone)):
            picture = make(browser, (run / "report.html").resolve().as_uri()).convert("RGB")
            picture.save(PICTURES / name, quality=84, optimize=True, progressive=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
