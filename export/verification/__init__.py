"""Verification: the file against the float network, and what is not shipped."""
