"""What runs many edited networks, or follows many paths, fast."""
