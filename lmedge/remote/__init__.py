"""Another machine over ssh: its folder, what travels there, and what goes wrong on the way."""
