"""Wheels and the directory for any image: ``python -m distribution``, started by make with ``packaging`` on its path."""
