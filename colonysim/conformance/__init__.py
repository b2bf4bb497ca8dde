"""The conformance player: recorded cases against a simulation, a server of ours, or a real one."""
