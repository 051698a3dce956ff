"""What a pixel means: colour spaces, pyramids, windows, EXIF, resizing, and reading and writing pictures."""
