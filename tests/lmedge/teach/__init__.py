"""Tests of lmedge/teach/."""
