"""The synthetic room: a capture of which every truth is known.

``room`` says what is there (``furniture``, ``plants``, ``books``, made of ``shapes``, ``materials`` and ``textures``),
``light`` how it is lit, ``raycast`` what reaches a camera (by ``casting`` rays), ``viewpoints`` where cameras stand,
``photography`` and ``scanner`` what is recorded; ``capture`` writes it all.
"""

from unrender.datasets.synthetic.capture import Photographed, RoomSettings, Truth, load_truth, make_room_capture

__all__ = ["Photographed", "RoomSettings", "Truth", "load_truth", "make_room_capture"]
