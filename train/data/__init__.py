"""Data to rely on: findings about the photographs, and a split that travels with them."""
