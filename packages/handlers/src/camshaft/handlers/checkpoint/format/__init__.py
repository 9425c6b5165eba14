"""The file format: what a checkpoint file is made of, how it is written, verified and read safely."""
