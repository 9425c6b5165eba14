"""Where files are kept: durable writing, one writer per directory, and what a directory holds."""
