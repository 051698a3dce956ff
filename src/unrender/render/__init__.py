"""Renderers: a scene and cameras in, a frame per view out."""
