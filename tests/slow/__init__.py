"""Tests that fit a real map."""
