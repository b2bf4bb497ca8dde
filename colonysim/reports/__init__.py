"""What became of the processes: figures, requests by type, and the HTML report of a run, a journal or a server."""
