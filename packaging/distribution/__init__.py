"""Wheels and the directory for any image; make starts it with ``packaging`` on the path."""
