"""Random numbers: one seed for every consumer, and the generators of the process and its devices."""
