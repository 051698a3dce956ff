"""From a capture to the first scene: nothing here is fitted, everything is measured."""
