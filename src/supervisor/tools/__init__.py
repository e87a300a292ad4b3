"""The commands: what a person, a probe or a script asks of the Supervisor beside running it. One file for each."""
