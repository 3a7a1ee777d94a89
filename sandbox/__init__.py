"""Local stand-ins for the systems of a merchant, each speaking the real one's dialect."""
