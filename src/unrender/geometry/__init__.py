"""Pure geometry: no state, no files, no cameras."""
