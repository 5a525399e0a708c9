"""Quantization: from the float network to the int8 network the file computes."""
