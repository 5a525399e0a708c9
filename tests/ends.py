"""The float operations of an int8 file: what stands behind its logits and features."""

ENDS = {"DEQUANTIZE": 2, "MUL": 2, "SOFTMAX": 2}
# The features and their products with the means; what they are multiplied with; and the complement.
KNOWN_ENDS = {
    "DEQUANTIZE": 4,
    "MUL": 6,
    "SOFTMAX": 2,
    "SQUARE": 2,
    "SUM": 2,
    "ADD": 2,
    "RSQRT": 1,
    "FULLY_CONNECTED": 1,
}
