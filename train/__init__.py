"""Host work: photographs in, a run folder out."""
