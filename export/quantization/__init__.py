"""Quantization: from the float network to the int8 network that the file computes."""
