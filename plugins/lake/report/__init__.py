"""The report of one reconciliation: a page for people, a document for programs, both kept on S3 for ever."""
