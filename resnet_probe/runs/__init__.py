"""Studies as rows of one catalogue, and the one way in which each is run and kept."""
