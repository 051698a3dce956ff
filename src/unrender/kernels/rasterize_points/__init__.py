"""One-pixel point rasterisation (ADOP section IV)."""
