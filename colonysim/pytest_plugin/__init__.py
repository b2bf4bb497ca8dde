"""The pytest plugin: fixtures, marker, options and reports."""
