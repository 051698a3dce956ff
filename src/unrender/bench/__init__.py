"""How fast the hot operations are: workloads, metrics with unit and direction, other implementations, and the floor."""
