"""The Supervisor: the process in front of a Calculator on the Buldozer platform."""
