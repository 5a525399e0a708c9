"""Recipes: every default of training and export, in TOML files that come with lmedge."""

from __future__ import annotations

from .loading import Recipe, change_recipe, load_recipe, parse_recipe, recipe_from, recipe_names

__all__ = [
    "Recipe",
    "change_recipe",
    "load_recipe",
    "parse_recipe",
    "recipe_from",
    "recipe_names",
]
