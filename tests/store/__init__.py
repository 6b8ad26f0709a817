"""Tests of the store, by its objects."""
