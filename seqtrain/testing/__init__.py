"""The contract suites that every plug-in passes, for plug-in authors too."""
