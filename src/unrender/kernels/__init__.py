"""The operations that everything waits for. Each has a readable PyTorch twin, ``reference.py``, that is its oracle."""
