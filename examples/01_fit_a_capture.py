"""From a COLMAP folder to held-out scores and a new view, in ten lines.

    python examples/01_fit_a_capture.py CAPTURE RUN MINUTES

RUN is the same folder that ``unrender fit`` writes: ``unrender eval RUN`` and ``unrender render RUN`` take it.
"""

import sys

import unrender

folder, output, minutes = sys.argv[1], sys.argv[2], float(sys.argv[3])
run = unrender.Run.create(output, folder, unrender.FitSettings(minutes=minutes))
for message in run.fit():
    if isinstance(message, unrender.Stepped) and message.step % 100 == 0:
        print(f"step {message.step}: {message.psnr:.2f} dB, {message.remaining:.0f} s left")
for message in run.evaluate():
    print(message)
print("held out, exposure from EXIF:", run.load_scores()["test"])
model = run.load_model()
flight = unrender.orbit(model.cameras, count=8)
unrender.write_png(f"{output}/new_view.png", model.image(flight.select([1]))[0].permute(1, 2, 0))
