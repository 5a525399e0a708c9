"""Studies of the project itself: run from a clone, not installed."""
