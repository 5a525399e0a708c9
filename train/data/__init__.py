"""Data you can trust: what is wrong with the photographs, and a split that travels with them."""
