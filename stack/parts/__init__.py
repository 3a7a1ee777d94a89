"""The parts of the stack: one file each says how it is started and when it is ready."""
