"""The page for phones: the same file in a browser, with its camera and without a network."""
