"""Damaged and malicious files, and a runner of commands on them."""
