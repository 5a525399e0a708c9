"""Host work: a run folder in, one verified .tflite out."""
