"""The real daemon as a process."""
