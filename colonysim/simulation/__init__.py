"""The object that users hold: the simulation, its typed client and the stock colony."""
