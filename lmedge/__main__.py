"""`python -m lmedge`: the same as `lmedge`."""

from .cli import main

main()
