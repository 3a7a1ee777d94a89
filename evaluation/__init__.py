"""How well do the scorecards tell fraud from honest orders, beside plain boosted trees? ``make evaluate``."""
