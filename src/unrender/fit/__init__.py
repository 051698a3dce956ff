"""The training loop: from a capture to a fitted model, as a stream of messages."""
