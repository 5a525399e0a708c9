"""`lmedge compare`: settings beside each other on the same photographs."""
