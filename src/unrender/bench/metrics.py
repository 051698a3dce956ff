"""What the columns of a benchmark mean: unit, and whether less or more of it is better."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["METRICS", "Metric", "Row", "metric_table"]


@dataclass(frozen=True)
class Metric:
    """``better``: ``lower``, ``higher``, or ``neither`` where it describes the work and not its speed."""

    unit: str
    better: str
    says: str


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, by what, and how it went. ``METRICS`` has the units."""

    points: int
    layers: int
    discard: bool
    direction: str
    backend: str
    threads: int
    median_ms: float
    spread_ms: float
    floor_ms: float
    peak_bytes: int
    cpu_ms: float
    calls: int
    drawn: int
    blended: int
    points_per_s: float
    bytes_per_s: float


METRICS: dict[str, Metric] = {
    "median_ms": Metric("ms", "lower", "median over calls, after one that is not counted"),
    "spread_ms": Metric("ms", "lower", "from the first to the third quartile"),
    "floor_ms": Metric("ms", "neither", "the larger of moving what must move and projecting"),
    "peak_bytes": Metric("bytes", "lower", "highest memory above the process before the scene was made"),
    "cpu_ms": Metric("ms", "lower", "least processor time of all threads"),
    "calls": Metric("1", "neither", "calls that count"),
    "drawn": Metric("points", "neither", "neither culled nor discarded in every layer"),
    "blended": Metric("points", "neither", "seen in some pixel"),
    "points_per_s": Metric("points/s", "higher", "points of the scene over the median"),
    "bytes_per_s": Metric("bytes/s", "higher", "bytes that must move over the median"),
}
"""By column."""


def metric_table() -> dict[str, dict[str, str]]:
    """``METRICS`` as plain values."""
    return {name: asdict(metric) for name, metric in METRICS.items()}
