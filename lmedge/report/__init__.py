"""Plots, tables and pages for people, drawn with matplotlib and jinja2."""
