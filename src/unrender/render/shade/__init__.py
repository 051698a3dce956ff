"""Shaders: from what was gathered per pixel to linear radiance."""
