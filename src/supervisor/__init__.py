"""The Supervisor: the process in front of a Calculator on the Buldozer platform."""

__version__ = "0.2.0"
