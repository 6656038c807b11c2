"""A package with extension modules."""
