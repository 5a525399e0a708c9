"""Teach a file new landmarks in closed form, on its own features and without TensorFlow."""
