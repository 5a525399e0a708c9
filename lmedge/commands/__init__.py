"""Commands of the device: one module a verb."""
