"""Files, locks, threads and text: what the machine offers, wrapped once."""
