"""Web analytics, as the Data API of Google Analytics 4 shows them: reports made of dimensions and metrics.

Public documentation: developers.google.com/analytics/devguides/reporting/data/v1, version v1beta.
"""
