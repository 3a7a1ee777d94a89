"""Back-testing: what a scorecard would have said of the orders of the past, judged by the stream's own code."""
