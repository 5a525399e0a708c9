"""Damaged and malicious files: how they are made, and what the commands do with them."""
