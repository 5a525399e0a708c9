"""Runtimes in processes of their own, asked for one timed run at a time."""
