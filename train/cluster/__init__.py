"""Several workers of one training: how they meet, compare, exchange arrays and end together."""
