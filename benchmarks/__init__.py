"""Latency and accuracy of a .tflite, measured on its very bytes; never TensorFlow."""
