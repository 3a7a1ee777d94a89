"""Copies what analysts ask for from the lake into a warehouse that speaks PostgreSQL's protocol."""
