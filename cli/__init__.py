"""The command line: one module per command, drawn by `cli.render`."""
