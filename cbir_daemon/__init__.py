"""Reverse image search for private photo albums: a daemon (`cbir-daemon`) and its client (`cbir`)."""

__version__ = "0.1.0"
