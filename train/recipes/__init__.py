"""The recipes that come with lmedge, as TOML files."""
