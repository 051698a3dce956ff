"""What photos, points and tracks say of a reconstruction: measures, and readings of its numbers to try."""
