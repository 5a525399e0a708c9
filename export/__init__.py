"""Host work: a run folder in, one verified .tflite out.

The facts about the formats stand here, for `--help` to quote without TensorFlow.
"""

FORMATS = {
    "int8": "calibrated and fine-tuned by lmedge",
    "int8-ptq": "TensorFlow's post-training quantization",
    "dynamic": "int8 weights, float activations",
    "float16": "float16 weights",
    "float32": "nothing quantized",
    "int16x8": "int16 activations, int8 weights",
}
IO = ("uint8", "int8")
