"""What is out there: scenes of points, later of other things; they know nothing of rendering, files or fitting."""
