"""Everything about the package is in pyproject.toml; this keeps an editable install quiet."""

import warnings

from setuptools import setup

# Setuptools warns of a folder in the clone that is named like the package. Here that folder is
# the package.
warnings.filterwarnings("ignore", message="Editable installation")
setup()
