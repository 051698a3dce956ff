"""One-file HTML pages: what a fit did, what a capture holds."""
