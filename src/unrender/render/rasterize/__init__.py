"""Renderers that project geometry into pixels, one file per representation."""
