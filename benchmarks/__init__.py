"""How good and how fast a .tflite is, measured on its very bytes; never TensorFlow."""
