"""One order's story: everything that any system says of it, from both halves, in time order."""
