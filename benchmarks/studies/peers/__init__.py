"""The same network in other runtimes, each in a virtual environment of its own."""
