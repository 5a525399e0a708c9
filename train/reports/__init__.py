"""Reports of a run: curves, predictions, mistakes and activation maps."""
