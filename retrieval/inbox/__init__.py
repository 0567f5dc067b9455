"""Photos that were asked about, kept so that people can say what they show: what is taught, measured and calibrated."""
