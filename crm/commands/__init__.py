"""The commands of the hafailover program, one module each, thin."""
