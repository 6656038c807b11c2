"""Tests, which no image needs."""
