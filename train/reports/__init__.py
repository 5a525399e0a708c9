"""What people look at after training: curves, confusion, reports, mistakes, activation maps."""
