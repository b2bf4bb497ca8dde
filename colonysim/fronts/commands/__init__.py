"""Commands of the command line, a file each: what is heavy is imported when one is run."""
